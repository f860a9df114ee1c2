//! The clock that submissions are measured by.

use std::time::Duration;

// In a browser the standard library's clock panics.
#[cfg(not(target_arch = "wasm32"))]
use std::time::Instant;
#[cfg(target_arch = "wasm32")]
use web_time::Instant;

/// How long one submission should keep the device busy: long enough to hide the host, short enough for every watchdog.
pub(crate) const TARGET: Duration = Duration::from_millis(100);

/// Measures a submission. A browser may round its clock to a millisecond and more, so what it says may be nothing.
pub(crate) struct Stopwatch {
    start: Instant,
}

impl Stopwatch {
    pub(crate) fn start() -> Self {
        Self { start: Instant::now() }
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }
}
