//! How much memory a thread holds: a counting allocator for the whole of these tests.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// Counts the bytes that each thread holds, and their peak.
struct Counting;

thread_local! {
    static HELD: Cell<usize> = const { Cell::new(0) };
    static PEAK: Cell<usize> = const { Cell::new(0) };
}

fn count(freed: usize, taken: usize) {
    // A thread that is ending has no counters any more.
    let _ = HELD.try_with(|held| {
        held.set(held.get().saturating_sub(freed).saturating_add(taken));
        let _ = PEAK.try_with(|peak| peak.set(peak.get().max(held.get())));
    });
}

#[allow(unsafe_code, reason = "counting allocations takes an allocator; each call goes to the system's, unchanged")]
// SAFETY: `System` upholds the contract, and gets exactly what this gets.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(0, layout.size());
        unsafe { System.alloc(layout) }
    }
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(0, layout.size());
        unsafe { System.alloc_zeroed(layout) }
    }
    unsafe fn realloc(&self, old: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(layout.size(), size);
        unsafe { System.realloc(old, layout, size) }
    }
    unsafe fn dealloc(&self, old: *mut u8, layout: Layout) {
        count(layout.size(), 0);
        unsafe { System.dealloc(old, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What `work` returns, and how many bytes it held at its peak beyond those held before.
pub fn peak<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let before = HELD.get();
    PEAK.set(before);
    let result = work();
    (result, PEAK.get() - before)
}

#[test]
fn the_counter_counts() {
    let ((), held) = peak(|| drop(std::hint::black_box(vec![1u8; 3 << 20])));
    assert!((3 << 20..4 << 20).contains(&held), "{held}");
    let ((), held) = peak(|| {
        let mut grown = vec![1u8; 1000];
        grown.reserve_exact(5 << 20);
        std::hint::black_box(grown);
    });
    assert!((5 << 20..6 << 20).contains(&held), "{held}");
}
