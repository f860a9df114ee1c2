//! Blocking forms: the calling thread runs the async form to its end.

use std::cell::Cell;

thread_local! {
    /// Whether this thread is inside a blocking form, so that a wait may block it.
    static ALLOWED: Cell<bool> = const { Cell::new(false) };
}

/// Whether the caller asked for a blocking form.
#[cfg_attr(not(feature = "gpu"), allow(dead_code, reason = "the CPU backend never waits"))]
pub(crate) fn allowed() -> bool {
    ALLOWED.get()
}

/// Runs a future to its end on this thread.
#[cfg(all(feature = "blocking", not(target_arch = "wasm32")))]
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    /// Puts the flag back as it was, also when the future panics.
    struct Restore(bool);
    impl Drop for Restore {
        fn drop(&mut self) {
            ALLOWED.set(self.0);
        }
    }
    let _restore = Restore(ALLOWED.replace(true));
    pollster::block_on(future)
}
