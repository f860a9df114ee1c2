//! The clock that submissions are measured by.

use std::time::Duration;

/// How long one submission should keep the device busy: long enough to hide the host, short enough for every watchdog.
pub(crate) const TARGET: Duration = Duration::from_millis(100);

/// Measures a submission. The standard library has no clock in a browser: each submission is taken to be as long as it should be there.
pub(crate) struct Stopwatch {
    #[cfg(not(target_arch = "wasm32"))]
    start: std::time::Instant,
}

impl Stopwatch {
    pub(crate) fn start() -> Self {
        Self {
            #[cfg(not(target_arch = "wasm32"))]
            start: std::time::Instant::now(),
        }
    }

    pub(crate) fn elapsed(&self) -> Duration {
        #[cfg(not(target_arch = "wasm32"))]
        return self.start.elapsed();
        #[cfg(target_arch = "wasm32")]
        TARGET
    }
}
