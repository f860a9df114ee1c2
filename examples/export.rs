//! Trains a network on the built-in digits, and takes it elsewhere: a Rust module, a WGSL function with its weights, an ONNX model.
//! `cargo run --release --example export -- --out FOLDER`

mod common;

use std::path::{Path, PathBuf};

use clap::Parser;
use common::{expect_folder, fail_with, grouped, say};
use wgrad::export::{Onnx, Weights, Wgsl, WgslFunction};
use wgrad::{Activation, Adam, Cost, Device, Network, Trainer, data};

/// Trains a network on the built-in digits, and writes digits.rs, digits.wgsl with digits.weights, and digits.onnx.
#[derive(Debug, Parser)]
struct Options {
    /// The folder to write to, which is made where it is missing.
    #[arg(long, default_value = "exported")]
    out: PathBuf,
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    epochs: u16,
    /// Neurons of the hidden layer.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u16).range(1..))]
    hidden: u16,
    /// The version of ONNX's operators, from 20 to 28, for runtimes that know no newer one.
    #[arg(long, default_value_t = 28, value_parser = clap::value_parser!(i64).range(20..=28))]
    opset: i64,
    /// cpu, gpu, auto, or a part of an adapter's name.
    #[arg(long, default_value = "auto")]
    device: String,
}

fn main() {
    run(&Options::parse()).unwrap_or_else(|error| fail_with(&error));
}

fn run(options: &Options) -> wgrad::Result<()> {
    let device = Device::named(&options.device)?;
    let (train, test) = data::synthetic_digits(2_500, 1)?.split_at(2_000)?;
    let mut net = Network::new(784)
        .dense(options.hidden.into(), Activation::Gelu)
        .dense(10, Activation::Softmax)
        .seed(1)
        .build(&device)?;
    // Thrown away: it tells what cannot be exported before there is a training to lose.
    exports(&net, options)?;
    expect_folder(&options.out);

    let mut trainer = Trainer::new(Cost::CategoricalCrossEntropy, Adam::new(0.005)).epochs(options.epochs.into());
    let history = trainer.fit(&mut net, &train, Some(&test))?;
    let right = 100.0 * history.final_test_accuracy().unwrap_or_default();
    say!("{:?} on {device}: {right:.1} % of {} test digits right", net.sizes(), test.len());

    let (rust, wgsl, onnx) = exports(&net, options)?;
    let out = &options.out;
    write(out, "digits.rs", rust.as_bytes(), "pub fn forward(x: &[f32; INPUTS]) -> [f32; OUTPUTS]");
    write(out, "digits.wgsl", wgsl.source.as_bytes(), "fn digits(x: array<f32, 784>) -> array<f32, 10>");
    write(out, "digits.weights", &wgsl.bytes(), "the content of its storage buffer");
    let model = write(out, "digits.onnx", &onnx, "from x (rows, 784) to y (rows, 10)");

    // The way back: a model, of this crate or of another, can be trained further here.
    let again = Network::read_onnx(model, &device)?;
    let x = test.input_row(0)?;
    let pairs = net.predict(&x)?.into_iter().zip(again.predict(&x)?);
    let largest = pairs.map(|(before, after)| (before - after).abs()).fold(0.0, f32::max);
    say!("read again, digits.onnx says the same of a test digit but for {largest}");
    Ok(())
}

/// All three, before anything is written: what cannot be exported is found out first.
fn exports(net: &Network, options: &Options) -> wgrad::Result<(String, WgslFunction, Vec<u8>)> {
    let wgsl = Wgsl::new("digits").weights(Weights::Storage { group: 0, binding: 0 });
    Ok((net.to_rust()?, net.to_wgsl(&wgsl)?, net.to_onnx(&Onnx::new().opset(options.opset))?))
}

fn write(folder: &Path, name: &str, bytes: &[u8], what: &str) -> PathBuf {
    let path = folder.join(name);
    common::write(&path, bytes);
    say!("{}: {} bytes, {what}", path.display(), grouped(bytes.len() as u64));
    path
}
