//! What this machine can train on, and whether it computes right: lists every adapter, says which one `Device::auto` takes
//! and why, and checks it: `Device::self_check`, then every kernel on more shapes.
//!
//! `cargo run --release --example devices -- --all` checks the CPU backend and every adapter; `--device NAME` one of them; `--quick`
//! leaves it at the self-check. `--report DIR` also writes what was found as `report.md` and `report.json`, for a bug report.

#[path = "../common/mod.rs"]
mod common;
mod report;
mod timing;

use std::path::PathBuf;

use clap::Parser;
use common::{fail, fail_with, grouped, say};
use report::Checked;
use wgrad::verify::{Shape, check_kernels};
use wgrad::wgpu::{DeviceType, Features};
use wgrad::{AdapterSummary, Device, Result};

/// Rows, inputs and outputs of the checked layers: the smallest, odd ones, one past a tile or a workgroup, MNIST's.
const SHAPES: &[Shape] = &[
    [1, 1, 1],
    [3, 17, 2],
    [7, 8, 9],
    [9, 15, 16],
    [10, 784, 30],
    [65, 16, 10],
    [23, 3, 1],
    [17, 63, 64],
    [63, 33, 31],
    [2, 7, 131],
];

/// Lists the adapters of this machine, and checks the one that would be taken.
#[derive(Parser)]
struct Options {
    /// Check this device: cpu, gpu, or part of an adapter's name, with its backend if you like (vulkan:radeon)
    #[arg(long, value_name = "NAME", conflicts_with = "all")]
    device: Option<String>,
    /// Check the CPU backend and every adapter
    #[arg(long)]
    all: bool,
    /// The self-check alone, without every kernel on more shapes
    #[arg(long)]
    quick: bool,
    /// Time each plan too, and write report.md and report.json into this folder, which is made if there is none
    #[arg(long, value_name = "DIR")]
    report: Option<PathBuf>,
}

fn main() {
    match run(&Options::parse()) {
        Ok(true) => {}
        Ok(false) => fail("a check failed: do not trust results of that device, and please report it", 1),
        Err(error) => fail_with(&error),
    }
}

/// Whether every check passed.
fn run(options: &Options) -> Result<bool> {
    if let Some(folder) = &options.report {
        // A folder that cannot be written is found before minutes of work.
        report::open(folder)?;
    }
    let adapters = Device::list();
    for adapter in &adapters {
        describe(adapter);
    }
    if adapters.is_empty() {
        say!("No adapter: no driver for Vulkan, Metal, DX12 or OpenGL shows a GPU.\n");
    }

    let devices = if options.all {
        // Adapters that show themselves twice under one name and backend cannot be told apart by name.
        let mut names: Vec<_> = adapters.iter().map(|a| format!("{}:{}", a.info.backend, a.info.name)).collect();
        names.dedup();
        let named = names.iter().map(|name| Device::named(name));
        std::iter::once(Ok(Device::cpu())).chain(named).collect::<Result<Vec<_>>>()?
    } else if let Some(name) = &options.device {
        vec![Device::named(name)?]
    } else {
        let device = Device::auto()?;
        say!("Device::auto takes: {device}, because {}\n", device.reason());
        vec![device]
    };
    let mut checked = Vec::with_capacity(devices.len());
    for device in &devices {
        checked.push(check(device, options));
    }
    if let Some(folder) = &options.report {
        let [markdown, json] = report::write(folder, &adapters, &checked)?;
        say!("written: {} and {}", markdown.display(), json.display());
    }
    Ok(checked.iter().all(Checked::passed))
}

/// What an adapter is and can do, as far as it matters here.
fn describe(adapter: &AdapterSummary) {
    let AdapterSummary { info, software, limits, features, .. } = adapter;
    let kind = match info.device_type {
        _ if *software => "software, taken only when it is named",
        DeviceType::DiscreteGpu => "discrete GPU",
        DeviceType::IntegratedGpu => "integrated GPU",
        DeviceType::VirtualGpu => "virtual GPU",
        _ => "does not say what it is",
    };
    let driver = [info.driver.trim(), info.driver_info.trim()].join(" ");
    let driver = if driver.trim().is_empty() { "not told" } else { driver.trim() };
    let has = |feature: Features| if features.contains(feature) { "yes" } else { "no" };
    say!("{}", info.name);
    say!("    backend             {}", info.backend);
    say!("    kind                {kind}");
    say!("    driver              {driver}");
    say!("    storage binding     {}", size(limits.max_storage_buffer_binding_size));
    say!("    buffer              {}", size(limits.max_buffer_size));
    say!("    workgroups          {} a dimension", grouped(limits.max_compute_workgroups_per_dimension.into()));
    say!("    workgroup memory    {}", size(limits.max_compute_workgroup_storage_size.into()));
    say!("    invocations         {} a workgroup", grouped(limits.max_compute_invocations_per_workgroup.into()));
    say!("    storage buffers     {} a shader stage", grouped(limits.max_storage_buffers_per_shader_stage.into()));
    say!(
        "    features            f16: {}, subgroups: {}, timestamps: {}, cooperative matrix: {}\n",
        has(Features::SHADER_F16),
        has(Features::SUBGROUP),
        has(Features::TIMESTAMP_QUERY),
        has(Features::EXPERIMENTAL_COOPERATIVE_MATRIX)
    );
}

/// Bytes in the largest unit that leaves at least 1; limits near 2^64 mean that there is none.
fn size(bytes: u64) -> String {
    match bytes {
        0x1000_0000_0000_0000.. => "no limit".to_owned(),
        0x4000_0000.. => format!("{} GiB", tenths(bytes, 30)),
        0x10_0000.. => format!("{} MiB", tenths(bytes, 20)),
        _ => format!("{} KiB", tenths(bytes, 10)),
    }
}

/// `bytes / 2^shift` with one decimal, rounded down, where it is not whole.
fn tenths(bytes: u64, shift: u32) -> String {
    let tenth = ((bytes & ((1 << shift) - 1)) * 10) >> shift;
    let whole = grouped(bytes >> shift);
    if tenth == 0 { whole } else { format!("{whole}.{tenth}") }
}

/// The self-check, and unless it is to be quick every kernel on more shapes; prints both. What a device reports is printed too, so
/// that the next one has its turn.
fn check(device: &Device, options: &Options) -> Checked {
    say!("Checking {device}");
    let mut checked = Checked::new(device);
    match device.self_check() {
        Ok(found) => {
            say!("{found}");
            checked.self_check = Some(found);
        }
        Err(error) => checked.fail(&error),
    }
    if !options.quick {
        match check_kernels(device, SHAPES, 1) {
            Ok(found) => {
                say!("{found}");
                checked.kernels = Some(found);
            }
            Err(error) => checked.fail(&error),
        }
    }
    if options.report.is_some() {
        match timing::all(device) {
            Ok(timings) => checked.timings = timings,
            Err(error) => checked.fail(&error),
        }
    }
    for problem in &checked.problems {
        say!("FAILED: {problem}");
    }
    say!("{}\n", if checked.passed() { "passed" } else { "FAILED" });
    checked
}
