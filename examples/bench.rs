//! Measures training steps: `cargo run --release --example bench`, with `-- --help` for what can be set.
//!
//! The work is that of the comparisons in docs/measurements.md: sigmoid layers, quadratic cost, plain SGD, random numbers.
//! First every kernel is checked on the device, then the step is warmed up, then timed several times; figures are medians.

mod common;

use std::fs::File;
use std::path::PathBuf;
use std::time::Instant;

use clap::Parser;
use common::{Random, fail, fail_with, say};
use cpu_time::ProcessTime;
use serde_json::{Value, json};
use wgrad::plan::{Goal, Plan, PlanKind, Source};
use wgrad::verify::{DeviceRunner, check_kernels, lockstep};
use wgrad::{Activation, Cost, Dataset, Device, Network, Result, Sgd, Trainer, wgpu};

/// Measures training steps of a net of sigmoid layers, quadratic cost and SGD.
#[derive(Parser)]
struct Options {
    /// Width of the input and of every layer
    #[arg(long, default_value = "784-30-10", value_parser = sizes)]
    sizes: Sizes,
    /// Rows a mini-batch
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1 << 20))]
    batch: u32,
    /// Steps a repeat [default: about half a second's worth]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    steps: Option<u32>,
    /// Repeats, of which the median is taken
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..=1000))]
    repeats: u32,
    /// Mini-batches that are resident, used in turn [default: 32 on the CPU, 1024 on a GPU, fewer where they would not fit]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    resident: Option<u32>,
    /// auto, cpu, gpu, part of an adapter's name, or noop: wgpu's backend that does nothing, for what the host alone costs
    #[arg(long, default_value = "auto")]
    device: String,
    /// auto, textbook or fused
    #[arg(long, default_value = "auto")]
    plan: String,
    /// The optimiser: sgd
    #[arg(long, default_value = "sgd", value_parser = ["sgd"])]
    optimizer: String,
    /// Write the result to this file, as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Measure the nets of docs/measurements.md on this device, and print them as a table in Markdown
    #[arg(long)]
    suite: bool,
}

#[derive(Clone)]
struct Sizes(Vec<usize>);

fn sizes(word: &str) -> Result<Sizes, String> {
    let widths: Option<Vec<usize>> =
        word.split('-').map(|w| w.parse().ok().filter(|w| (1..=1 << 16).contains(w))).collect();
    match widths {
        Some(widths) if widths.len() >= 2 => Ok(Sizes(widths)),
        _ => Err("give at least two widths from 1 to 65,536, such as 784-30-10".to_owned()),
    }
}

impl std::fmt::Display for Sizes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let widths: Vec<_> = self.0.iter().map(usize::to_string).collect();
        f.write_str(&widths.join("-"))
    }
}

impl Sizes {
    /// Floating-point operations of a step's matrix products: three a layer, but none back to the input.
    fn flop(&self, batch: usize) -> f64 {
        let product = |pair: &[usize]| 2.0 * (pair[0] * pair[1] * batch) as f64;
        3.0 * self.0.windows(2).map(product).sum::<f64>() - product(&self.0)
    }
}

fn main() {
    let options = Options::parse();
    let device = open(&options.device).unwrap_or_else(|error| fail_with(&error));
    say!("device   {device}, because {}", device.reason());
    let jobs = if options.suite {
        [("784-30-10", 10), ("784-128-10", 64), ("1024-1024-1024-10", 256)]
            .map(|(word, batch)| (sizes(word).unwrap_or_else(|error| fail(&error, 2)), batch))
            .to_vec()
    } else {
        vec![(options.sizes.clone(), options.batch as usize)]
    };
    if options.suite {
        say!("\n| net | batch | plan | us/step | steps/s | GFLOP/s | host us/step | dispatches/step |");
        say!("|---|---|---|---|---|---|---|---|");
    }
    let mut results = Vec::new();
    for (sizes, batch) in jobs {
        let result = measure(&options, &device, &sizes, batch).unwrap_or_else(|error| fail_with(&error));
        let number = |key: &str| result[key].as_f64().unwrap_or(f64::NAN);
        let text = |key: &str| result[key].as_str().unwrap_or("-").to_owned();
        if options.suite {
            let [us, steps, gflops] = ["us_per_step", "steps_per_second", "gflops"].map(number);
            let [host, dispatches] = ["host_us_per_step", "dispatches_per_step"].map(number);
            let plan = text("plan");
            say!("| {sizes} | {batch} | {plan} | {us:.1} | {steps:.0} | {gflops:.1} | {host:.1} | {dispatches} |");
        } else {
            let keys = ["us_per_step", "steps_per_second", "gflops", "host_us_per_step", "dispatches_per_step"];
            let more = ["submissions", "bytes_up_per_step", "bytes_down_per_step", "parity_error", "resident"];
            say!("net      {sizes}, batch {batch}, plan {}", text("plan"));
            for key in keys.iter().chain(&more) {
                say!("{key:<20} {}", (number(key) * 1000.0).round() / 1000.0);
            }
        }
        results.push(result);
    }
    if let Some(path) = &options.json {
        let value = if options.suite { Value::Array(results) } else { results.remove(0) };
        let written = File::create(path).map_err(|error| error.to_string());
        let written = written.and_then(|file| serde_json::to_writer_pretty(file, &value).map_err(|e| e.to_string()));
        if let Err(error) = written {
            fail(&format!("{}: {error}", path.display()), 2);
        }
    }
}

/// The device that a word names; `noop` is wgpu's backend without a GPU.
fn open(word: &str) -> Result<Device> {
    match word {
        "auto" => Device::auto(),
        "noop" => {
            let (device, queue) = wgpu::Device::noop(&wgpu::DeviceDescriptor::default());
            let info = device.adapter_info();
            Ok(Device::from_wgpu(device, queue, info))
        }
        _ => Device::named(word),
    }
}

/// How far the device is from the reference, in units of the bound: of every kernel, and of the plan in lockstep with the CPU.
fn parity(options: &Options, device: &Device, net: &Network, batch: usize) -> Result<Option<f64>> {
    if options.device == "noop" {
        return Ok(None); // It computes nothing.
    }
    let check = check_kernels(device, &[[3, 17, 2], [9, 15, 16], [10, 65, 31]], 1)?;
    let request = net.request(Goal::Train, Cost::Quadratic, Source::Direct, 3);
    let plan = Plan::new(net.plan(batch).0, &request)?;
    let steps =
        lockstep(&plan, &mut DeviceRunner::new(device, &plan)?, &mut DeviceRunner::new(&Device::cpu(), &plan)?, 1, 1)?;
    let worst = check.kernels.iter().fold(steps.worst.ratio, |worst, kernel| worst.max(kernel.worst.ratio));
    if !check.passed() {
        fail(&format!("{device} is wrong; nothing is measured:\n{check}"), 1);
    }
    Ok(Some(worst))
}

fn measure(options: &Options, device: &Device, sizes: &Sizes, batch: usize) -> Result<Value> {
    let widths = &sizes.0;
    let (inputs, outputs) = (widths[0], widths[widths.len() - 1]);
    let mut builder = Network::new(inputs).seed(1);
    for &width in &widths[1..] {
        builder = builder.dense(width, Activation::Sigmoid);
    }
    if options.plan != "auto" {
        builder = builder.plan(options.plan.parse::<PlanKind>()?);
    }
    let mut net = builder.build(device)?;
    let parity_error = parity(options, device, &net, batch)?;

    let default = if device.kind() == "cpu" { 32 } else { 1024 };
    let fits = (device.limits().max_binding_bytes.min(64 << 20) as usize / (4 * batch * inputs.max(outputs))).max(1);
    let resident = options.resident.map_or(default, |n| n as usize).min(fits);
    let mut random = Random::new(1);
    let x: Vec<_> = (0..resident * batch * inputs).map(|_| random.uniform()).collect();
    let y: Vec<_> = (0..resident * batch * outputs).map(|_| random.uniform()).collect();
    let data = Dataset::new(x, inputs, y, outputs)?;

    // Whole epochs of the resident mini-batches, as many as the steps asked for, or as half a second holds.
    let mut run = |epochs: usize| -> Result<(f64, f64)> {
        let (wall, host) = (Instant::now(), ProcessTime::now());
        Trainer::new(Cost::Quadratic, Sgd::new(0.5)).batch_size(batch).epochs(epochs).fit(&mut net, &data, None)?;
        let steps = (epochs * resident) as f64;
        Ok((wall.elapsed().as_secs_f64() / steps, host.elapsed().as_secs_f64() / steps))
    };
    let (first, _) = run(1)?;
    let (warm, _) = run((0.1 / (first * resident as f64)).clamp(1.0, 1000.0) as usize)?;
    let wanted = options.steps.map_or(0.5 / warm, f64::from);
    let epochs = (wanted / resident as f64).round().max(1.0) as usize;
    let mut walls = Vec::new();
    let mut hosts = Vec::new();
    for _ in 0..options.repeats {
        let (wall, host) = run(epochs)?;
        walls.push(wall);
        hosts.push(host);
    }
    let before = net.counters();
    Trainer::new(Cost::Quadratic, Sgd::new(0.5)).batch_size(batch).epochs(epochs).fit(&mut net, &data, None)?;
    let after = net.counters();
    let steps = (epochs * resident) as f64;
    let per_step = |count: u64| count as f64 / steps;
    let (wall, host) = (median(walls), median(hosts));
    Ok(json!({
        "sizes": widths,
        "batch": batch,
        "resident": resident,
        "steps": epochs * resident,
        "us_per_step": wall * 1e6,
        "steps_per_second": 1.0 / wall,
        "gflops": sizes.flop(batch) / wall / 1e9,
        "host_us_per_step": host * 1e6,
        "dispatches_per_step": per_step(after.dispatches - before.dispatches),
        "submissions": after.submissions - before.submissions,
        "bytes_up_per_step": per_step(after.bytes_up - before.bytes_up),
        "bytes_down_per_step": per_step(after.bytes_down - before.bytes_down),
        "device": device.kind(),
        "adapter": device.adapter(),
        "plan": net.plan(batch).0.name(),
        "optimizer": options.optimizer,
        "parity_error": parity_error,
    }))
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
