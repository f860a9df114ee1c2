//! What this machine can train on, and whether it computes right: lists every adapter, says which one `Device::auto` takes
//! and why, and checks each kernel of the crate on it against an `f64` reference.
//!
//! `cargo run --release --example devices -- --all` checks the CPU backend and every adapter; `--device NAME` one of them.

mod common;

use clap::Parser;
use common::{fail, fail_with, grouped, say};
use wgrad::plan::{Format, Goal, Plan, PlanKind, Source};
use wgrad::verify::{DeviceRunner, Shape, check_kernels, lockstep};
use wgrad::wgpu::{DeviceType, Features};
use wgrad::{Activation, AdapterSummary, Cost, Device, Network, Result};

/// Rows, inputs and outputs of the checked layers: the smallest, odd ones, one past a tile or a workgroup, MNIST's.
const SHAPES: &[Shape] = &[[1, 1, 1], [3, 17, 2], [7, 8, 9], [9, 15, 16], [10, 784, 30], [65, 16, 10]];

/// Lists the adapters of this machine, and checks every kernel on the one that would be taken.
#[derive(Parser)]
struct Options {
    /// Check this device: cpu, gpu, or part of an adapter's name, with its backend if you like (vulkan:radeon)
    #[arg(long, value_name = "NAME", conflicts_with = "all")]
    device: Option<String>,
    /// Check the CPU backend and every adapter
    #[arg(long)]
    all: bool,
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
    let mut passed = true;
    for device in &devices {
        passed &= check(device);
    }
    Ok(passed)
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

/// Checks every kernel by itself, then whole steps of training; prints both, and says whether they passed. What a device
/// reports is printed too, so that the next one has its turn.
fn check(device: &Device) -> bool {
    let shaders = match (device.kind(), device.is_checked()) {
        ("cpu", _) => "",
        (_, true) => ", shaders with run-time checks",
        (_, false) => ", shaders without run-time checks",
    };
    say!("Checking {device}{shaders}");
    let kernels = match check_kernels(device, SHAPES, 1) {
        Ok(report) => {
            say!("{report}");
            report.passed()
        }
        Err(error) => {
            say!("FAILED: {error}\n");
            false
        }
    };
    let mut steps = true;
    for kind in PlanKind::ALL {
        steps &= match side_by_side(device, kind) {
            Ok(line) => {
                say!("{kind} plan: {line}");
                true
            }
            Err(error) => {
                say!("{kind} plan FAILED: {error}");
                false
            }
        };
    }
    say!("{}\n", if kernels && steps { "passed" } else { "FAILED" });
    kernels && steps
}

/// Three mini-batches of training on this device and on the CPU, compared after each step with the other and with the reference.
fn side_by_side(device: &Device, kind: PlanKind) -> Result<String> {
    let net = Network::new(19)
        .dense(33, Activation::Tanh)
        .dense(9, Activation::Relu)
        .dense(5, Activation::Sigmoid)
        .build(device)?;
    // 27 examples in mini-batches of 10: the third is cut short.
    let source = Source::Dataset { len: 27, inputs: Format::U8, targets: Format::Label };
    let plan = Plan::new(kind, &net.request(Goal::Train, Cost::Quadratic, source, 10))?;
    let cpu = Device::cpu();
    let (mut here, mut there) = (DeviceRunner::new(device, &plan)?, DeviceRunner::new(&cpu, &plan)?);
    let report = lockstep(&plan, &mut here, &mut there, 1, 3)?;
    let beside = if device.kind() == "cpu" { "the f64 reference" } else { "the CPU backend and the f64 reference" };
    let (steps, worst) = (report.steps, report.worst.ratio);
    Ok(format!("{steps} steps of training beside {beside}, worst error {worst:.4} of its bound"))
}
