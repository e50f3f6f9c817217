//! Starts the program; everything else is in the library.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: pgscript::allocator::Allocator = pgscript::allocator::Allocator;

fn main() -> ExitCode {
    pgscript::cli::main()
}
