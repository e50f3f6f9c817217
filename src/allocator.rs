//! Where the program's memory comes from.

use std::alloc::{GlobalAlloc, Layout, System};

use mimalloc::MiMalloc;

/// Small values come from mimalloc: lives of a drill are made of very many, on several threads. Buffers come from the
/// system, which gives what was freed back: mimalloc keeps pages of megabytes for them on each thread that had one.
pub struct Allocator;

/// Bytes from which on it is a buffer.
const BUFFER: usize = 16 << 10;

const fn is_buffer(size: usize) -> bool {
    size >= BUFFER
}

// SAFETY: whose memory it is follows from the size in its layout alone, so that what one of the two has given goes back
// to the same one; both keep the contract of the trait.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        unsafe { if is_buffer(layout.size()) { System.alloc(layout) } else { MiMalloc.alloc(layout) } }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        unsafe { if is_buffer(layout.size()) { System.alloc_zeroed(layout) } else { MiMalloc.alloc_zeroed(layout) } }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        unsafe {
            if is_buffer(layout.size()) { System.dealloc(memory, layout) } else { MiMalloc.dealloc(memory, layout) }
        }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        unsafe {
            match (is_buffer(layout.size()), is_buffer(size)) {
                (true, true) => System.realloc(memory, layout, size),
                (false, false) => MiMalloc.realloc(memory, layout, size),
                _ => {
                    let moved = self.alloc(Layout::from_size_align_unchecked(size, layout.align()));
                    if !moved.is_null() {
                        memory.copy_to_nonoverlapping(moved, layout.size().min(size));
                        self.dealloc(memory, layout);
                    }
                    moved
                }
            }
        }
    }
}
