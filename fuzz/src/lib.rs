//! The client, without the program around it, and an allocator that remembers its largest piece, so that a target can hold the
//! client to a limit.

#[path = "../../src/bus/kafka/mod.rs"]
pub mod kafka;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

struct Measured;

static LARGEST_BYTES: AtomicUsize = AtomicUsize::new(0);

#[global_allocator]
static ALLOCATOR: Measured = Measured;

// SAFETY: everything is left to the system's allocator.
unsafe impl GlobalAlloc for Measured {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LARGEST_BYTES.fetch_max(layout.size(), Ordering::Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        LARGEST_BYTES.fetch_max(layout.size(), Ordering::Relaxed);
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        LARGEST_BYTES.fetch_max(bytes, Ordering::Relaxed);
        unsafe { System.realloc(at, layout, bytes) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        unsafe { System.dealloc(at, layout) }
    }
}

/// Calls `what`, which may allocate no more than `bytes_max` at once.
pub fn within<R>(bytes_max: usize, what: impl FnOnce() -> R) -> R {
    LARGEST_BYTES.store(0, Ordering::Relaxed);
    let result = what();
    let largest = LARGEST_BYTES.load(Ordering::Relaxed);
    assert!(largest <= bytes_max, "{largest} bytes were allocated at once; the limit is {bytes_max}");
    result
}
