//! Writes the table of shipped scripts and modules, so that adding one is adding a file.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR").unwrap_or_default());
    let mut table = String::from("&[\n");
    for (directory, kind) in [("scripts", "Script"), ("stdlib", "Module")] {
        println!("cargo:rerun-if-changed={directory}");
        for path in rhai_files(&root.join(directory))? {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let text = format!("include_str!(concat!(env!(\"CARGO_MANIFEST_DIR\"), \"/{directory}/{name}\"))");
            let _ = writeln!(table, "    Shipped {{ kind: Kind::{kind}, name: {name:?}, text: {text} }},");
        }
    }
    table.push(']');
    fs::write(PathBuf::from(env::var("OUT_DIR").unwrap_or_default()).join("shipped.rs"), table)
}

fn rhai_files(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(directory)?.map(|entry| entry.map(|e| e.path()));
    let mut paths: Vec<_> = entries.collect::<io::Result<_>>()?;
    // Their tests stay here.
    let is_shipped = |name: &str| name.ends_with(".rhai") && !name.ends_with("_test.rhai");
    paths.retain(|path| path.file_name().is_some_and(|name| is_shipped(&name.to_string_lossy())));
    paths.sort();
    Ok(paths)
}
