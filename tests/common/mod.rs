//! What several tests share: the adapters to test on.
#![allow(dead_code, reason = "each test binary uses its part")]

use wgrad::Device;

/// Whether a run without any adapter is a failure.
pub fn gpu_required() -> bool {
    std::env::var("WGRAD_REQUIRE_GPU").is_ok_and(|v| v == "1")
}

/// The adapters to test on: the one that `WGRAD_DEVICE` names, else every adapter of this machine. None is a failure where
/// `WGRAD_REQUIRE_GPU=1`, and is said otherwise.
pub fn adapters() -> Vec<Device> {
    let named = std::env::var("WGRAD_DEVICE").ok().filter(|word| !matches!(word.trim(), "" | "auto" | "cpu"));
    let words = match named {
        Some(word) => vec![word],
        None => {
            let mut words: Vec<_> =
                Device::list().iter().map(|a| format!("{}:{}", a.info.backend, a.info.name)).collect();
            words.dedup();
            words
        }
    };
    let devices: Vec<_> = words.iter().map(|word| Device::named(word).expect("an adapter that exists opens")).collect();
    if devices.is_empty() {
        println!("SKIPPED: this machine shows no adapter");
        assert!(!gpu_required(), "WGRAD_REQUIRE_GPU=1, but there is no adapter");
    }
    devices
}

/// The first adapter, for tests that need one.
pub fn adapter() -> Option<Device> {
    adapters().into_iter().next()
}
