//! Measures training steps: `cargo run --release --example bench`, with `-- --help` for what can be set.
//!
//! The work is that of the comparisons in docs/measurements.md: sigmoid layers, quadratic cost, plain SGD, random numbers.
//! First every kernel is checked on the device, then the step is warmed up, then timed several times; figures are medians.
//! `--suite` measures all that docs/measurements.md has a bar for, and prints it as a table in Markdown.

#[path = "../common/mod.rs"]
mod common;
mod measure;
mod peers;
mod suite;

use std::path::PathBuf;

use clap::Parser;
use common::{expect_writable, fail_with, say};
use measure::{Job, Sizes};
use serde_json::Value;
use wgrad::plan::PlanKind;

/// Measures training steps of a net of sigmoid layers, quadratic cost and SGD.
#[derive(Parser)]
struct Options {
    /// Width of the input and of every layer
    #[arg(long, default_value = "784-30-10")]
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
    /// Bytes of the data that may be on the device at a time; what is more is streamed
    #[arg(long, value_name = "BYTES", conflicts_with = "suite")]
    data_memory: Option<u64>,
    /// auto, cpu, gpu, part of an adapter's name, or noop: wgpu's backend that does nothing, for what the host alone costs
    #[arg(long, default_value = "auto")]
    device: String,
    /// auto, textbook, fused or persistent
    #[arg(long, default_value = "auto")]
    plan: String,
    /// The optimiser: sgd
    #[arg(long, default_value = "sgd", value_parser = ["sgd"])]
    optimizer: String,
    /// Write the result to this file, as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Measure all that docs/measurements.md has a bar for, on the CPU and on every adapter, and print a table in Markdown
    #[arg(long, conflicts_with_all = ["sizes", "batch", "steps", "resident", "device", "plan"])]
    suite: bool,
    /// With --suite: only the rows whose name holds this word
    #[arg(long, value_name = "WORD", requires = "suite")]
    only: Option<String>,
    /// With --suite: the folder of the programs to compare with, which are run in turn with this crate
    #[arg(long, value_name = "FOLDER", requires = "suite")]
    peers: Option<PathBuf>,
    /// With --peers: the Python to run them with; it need not have all that they import
    #[arg(long, value_name = "PROGRAM", default_value = "python3")]
    python: PathBuf,
    /// With --suite: MNIST's folder, for a whole run on a real GPU
    #[arg(long, value_name = "FOLDER", requires = "suite")]
    mnist: Option<PathBuf>,
}

fn main() {
    let options = Options::parse();
    expect_writable(options.json.as_deref());
    let value = if options.suite {
        let settings = suite::Settings {
            repeats: options.repeats,
            only: options.only.as_deref().unwrap_or_default(),
            peers: options.peers.as_ref().map(|folder| peers::Peers::new(folder, &options.python)),
            mnist: options.mnist.as_deref(),
        };
        suite::run(&settings)
    } else {
        one(&options)
    };
    if let Some(path) = &options.json {
        common::write(path, format!("{value:#}"));
    }
}

/// The net that was asked for.
fn one(options: &Options) -> Value {
    let device = measure::open(&options.device).unwrap_or_else(|error| fail_with(&error));
    let device = options.data_memory.map_or(device.clone(), |bytes| device.with_data_memory(bytes));
    say!("device   {device}, because {}", device.reason());
    let plan = match options.plan.as_str() {
        "auto" => None,
        word => Some(word.parse::<PlanKind>().unwrap_or_else(|error| fail_with(&error))),
    };
    let job = Job {
        sizes: options.sizes.clone(),
        batch: options.batch as usize,
        steps: options.steps,
        repeats: options.repeats,
        resident: options.resident,
        plan,
        computes: options.device != "noop",
    };
    let mut result = job.measure(&device).unwrap_or_else(|error| fail_with(&error));
    result["optimizer"] = options.optimizer.as_str().into();
    say!("net      {}, batch {}, plan {}", job.sizes, job.batch, result["plan"].as_str().unwrap_or("-"));
    let keys = ["us_per_step", "steps_per_second", "gflops", "host_us_per_step", "dispatches_per_step", "submissions"];
    let more = ["bytes_up_per_step", "bytes_down_per_step", "parity_error", "resident"];
    for key in keys.iter().chain(&more) {
        say!("{key:<20} {}", rounded(&result[*key]));
    }
    let slices = &result["step_for"];
    say!("{:<20} {}", "spread", result["steps_per_second_of_each"]);
    say!(
        "step_for             asked for {} ms, {} calls of {} ms (median), the longest {} ms too long, {} steps/s of it",
        slices["asked_ms"],
        slices["calls"],
        rounded(&slices["median_ms"]),
        rounded(&slices["longest_overrun_ms"]),
        rounded(&slices["steps_per_second"])
    );
    result
}

fn rounded(value: &Value) -> f64 {
    (value.as_f64().unwrap_or(f64::NAN) * 1000.0).round() / 1000.0
}
