//! What several tests share: the devices to test on.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::io::Write;
use std::sync::OnceLock;

use wgrad::Device;
use wgrad::plan::PlanKind;

#[cfg(feature = "gpu")]
pub mod app;
pub mod expect;
pub mod nets;

/// Whether an environment variable is 1.
fn is_set(variable: &str) -> bool {
    std::env::var(variable).is_ok_and(|value| value.trim() == "1")
}

/// Whether a run without any adapter is a failure.
pub fn gpu_required() -> bool {
    is_set("WGRAD_REQUIRE_GPU")
}

/// The adapters to test on: the one that `WGRAD_DEVICE` names, else every adapter of this machine; those that compute on the
/// CPU only where `WGRAD_ALLOW_SOFTWARE=1`. What is left out is said, once in each test program; none at all is a failure where
/// `WGRAD_REQUIRE_GPU=1`. All tests of a program share one device for each adapter.
pub fn adapters() -> Vec<Device> {
    static ADAPTERS: OnceLock<Result<Vec<Device>, String>> = OnceLock::new();
    // A panic in here would poison nothing, but would only show in one test of the program.
    ADAPTERS.get_or_init(open).clone().unwrap_or_else(|problem| panic!("{problem}"))
}

/// The CPU backend, then the adapters.
pub fn devices() -> Vec<Device> {
    std::iter::once(Device::cpu()).chain(adapters()).collect()
}

/// Every device with every kind of plan.
pub fn devices_and_plans() -> Vec<(Device, PlanKind)> {
    devices().into_iter().flat_map(|device| PlanKind::ALL.map(|kind| (device.clone(), kind))).collect()
}

/// Whether threads can work on this adapter at once. By OpenGL they cannot: wgpu's backend gives a context to one thread at a time, and
/// panics where it is not given within a second.
pub fn takes_threads(device: &Device) -> bool {
    !device.adapter().contains("(gl, ")
}

/// Another device of the same adapter, where threads can work on both: a software one compiles shaders on one core a device.
pub fn beside(device: &Device) -> Device {
    if takes_threads(device) {
        pollster::block_on(device.reopen_async()).expect("another device of the adapter")
    } else {
        device.clone()
    }
}

/// Does the work on each part at once, on the first with this device, on the others with one `beside` it. Where threads cannot
/// work at once, on one after the other.
pub fn at_once<P: Send, R: Send>(device: &Device, parts: Vec<P>, work: impl Fn(&Device, P) -> R + Sync) -> Vec<R> {
    if !takes_threads(device) {
        return parts.into_iter().map(|part| work(device, part)).collect();
    }
    std::thread::scope(|scope| {
        let work = &work;
        let begin = |(n, part)| {
            scope.spawn(move || match n {
                0 => work(device, part),
                _ => work(&beside(device), part),
            })
        };
        let begun: Vec<_> = parts.into_iter().enumerate().map(begin).collect();
        let end = |thread: std::thread::ScopedJoinHandle<'_, R>| {
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        begun.into_iter().map(end).collect()
    })
}

/// What a run leaves out has to be seen, so it goes past the test harness, which hides what passing tests print.
pub fn say(what: &str) {
    // One write, so that no other thread's output comes in between.
    let _ = std::io::stderr().write_all(format!("{what}\n").as_bytes());
}

/// Whether a device has less than WebGPU promises, for which every kernel is made: only such a one may leave any out.
pub fn has_less_than_webgpu(device: &Device) -> bool {
    let limits = device.limits();
    limits.max_storage_buffers < 8 || limits.max_workgroup_bytes < 16_384
}

/// Says that this much of a test cannot be under the limits that the adapter was asked for, and what it needs.
pub fn left_out(what: &str, needs: &str) {
    say(&format!("SKIPPED under these limits: {what} needs {needs}"));
}

fn open() -> Result<Vec<Device>, String> {
    let (devices, skipped) = open_all()?;
    if let Ok(word) = std::env::var("WGRAD_LIMITS") {
        for device in &devices {
            say(&format!("WGRAD_LIMITS={word}: {device} has {:?}", device.limits()));
        }
    }
    for reason in &skipped {
        say(&format!("SKIPPED: {reason}"));
    }
    if devices.is_empty() {
        let none = format!("0 adapters tested, {} left out: no test of a GPU runs", skipped.len());
        say(&format!("SKIPPED: {none}"));
        if gpu_required() {
            return Err(format!("WGRAD_REQUIRE_GPU=1, but {none}"));
        }
    }
    Ok(devices)
}

/// The devices, and why others are left out.
#[cfg(feature = "gpu")]
fn open_all() -> Result<(Vec<Device>, Vec<String>), String> {
    use pollster::block_on;
    let opened = |word: &str| block_on(Device::named_async(word)).map_err(|error| format!("'{word}': {error}"));
    match std::env::var("WGRAD_DEVICE").unwrap_or_default().trim() {
        "" | "auto" => {}
        "cpu" => return Ok((Vec::new(), vec!["adapters are not looked for: WGRAD_DEVICE is 'cpu'".to_owned()])),
        word => return Ok((vec![opened(word)?], Vec::new())),
    }
    let mut words = Vec::new();
    let mut skipped = Vec::new();
    for adapter in block_on(Device::list_async()) {
        let word = format!("{}:{}", adapter.info.backend, adapter.info.name);
        if adapter.software && !is_set("WGRAD_ALLOW_SOFTWARE") {
            skipped.push(format!("{word} computes on the CPU; WGRAD_ALLOW_SOFTWARE=1 or WGRAD_DEVICE takes it"));
        } else if !words.contains(&word) {
            words.push(word);
        }
    }
    Ok((words.iter().map(|word| opened(word)).collect::<Result<_, _>>()?, skipped))
}

/// The devices, and why others are left out.
#[cfg(not(feature = "gpu"))]
fn open_all() -> Result<(Vec<Device>, Vec<String>), String> {
    Ok((Vec::new(), vec!["adapters are not looked for: this build has no feature 'gpu'".to_owned()]))
}
