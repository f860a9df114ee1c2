//! Measures predictions: `cargo run --release --example serve`, with `-- --help` for what can be set.
//!
//! A net of `relu` layers answers rows of random numbers, one at a time and many at once, by whatever answers so many
//! (`Network::predict_into`), and by the device alone; then it is saved and loaded. Figures are medians of 11 repeats.

mod common;

use std::hint::black_box;
use std::time::{Duration, Instant};

use clap::Parser;
use common::{Random, fail, fail_with, say};
use wgrad::{Activation, Device, Network, Result};

/// Measures how long a net takes to answer, to be saved and to be loaded.
#[derive(Parser)]
struct Options {
    /// Width of the input and of every layer
    #[arg(long, default_value = "784-30-10")]
    sizes: String,
    /// auto, cpu, gpu, or part of an adapter's name
    #[arg(long, default_value = "auto")]
    device: String,
}

fn main() {
    run(&Options::parse()).unwrap_or_else(|error| fail_with(&error));
}

fn run(options: &Options) -> Result<()> {
    let widths: Option<Vec<usize>> =
        options.sizes.split('-').map(|word| word.parse().ok().filter(|width| (1..=1 << 16).contains(width))).collect();
    let Some(widths) = widths.filter(|widths| widths.len() >= 2) else {
        fail("give at least two widths from 1 to 65,536, such as 784-30-10", 2);
    };
    let device = Device::named(&options.device)?;
    let mut builder = Network::new(widths[0]).seed(1);
    for &width in &widths[1..] {
        builder = builder.dense(width, Activation::Relu);
    }
    let net = builder.build(&device)?;
    say!("{} on {device}\n", options.sizes);
    say!("| rows | us a call | us a row | by the device alone, us a call |");
    say!("|---|---|---|---|");
    for rows in [1, 2, 8, 16, 64, 1024, 16_384] {
        let mut random = Random::new(2);
        let x: Vec<_> = (0..rows * net.inputs()).map(|_| random.uniform()).collect();
        let mut outputs = vec![0.0; rows * net.outputs()];
        let mut failed = None;
        let us = median(|| {
            let done = net.predict_into(black_box(&x), black_box(&mut outputs));
            failed = failed.take().or(done.err());
        });
        let alone = median(|| {
            let done = net.predict_on_device(black_box(&x)).map(drop);
            failed = failed.take().or(done.err());
        });
        failed.map_or(Ok(()), Err)?;
        say!("| {rows} | {us:.1} | {:.2} | {alone:.1} |", us / rows as f64);
    }
    let bytes = net.to_bytes()?;
    let file = std::env::temp_dir().join(format!("wgrad serve {}.safetensors", std::process::id()));
    let mut failed = None;
    let encode = median(|| failed = failed.take().or(net.to_bytes().map(drop).err()));
    let save = median(|| failed = failed.take().or(net.save(&file).err()));
    let load = median(|| failed = failed.take().or(Network::load(&file, &device).map(drop).err()));
    failed.map_or(Ok(()), Err)?;
    if let Err(error) = std::fs::remove_file(&file) {
        fail(&format!("{}: {error}", file.display()), 1);
    }
    say!(
        "\n{} bytes: {encode:.0} us to encode, {save:.0} us to save, flushed to the disk, {load:.0} us to load",
        bytes.len()
    );
    Ok(())
}

/// Microseconds of a call: the median of 11 repeats of as many calls as take 20 ms.
fn median(mut call: impl FnMut()) -> f64 {
    let start = Instant::now();
    let mut calls = 0_u32;
    while calls < 3 || start.elapsed() < Duration::from_millis(20) {
        call();
        calls += 1;
    }
    let mut times: Vec<f64> = (0..11)
        .map(|_| {
            let start = Instant::now();
            (0..calls).for_each(|_| call());
            start.elapsed().as_secs_f64() * 1e6 / f64::from(calls)
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}
