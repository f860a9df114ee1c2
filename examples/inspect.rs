//! Says what is in a file of a network or a run: `cargo run --release --example inspect -- FILE`.
//!
//! Exit code 0: it is whole. 1: it is not, and why is said. 2: there is no such file, or it cannot be read.

mod common;

use std::path::PathBuf;

use clap::Parser;
use common::{fail_with, grouped, say};
use wgrad::{Device, Error, History, Network, Result, Trainer, Weights};

/// Says what is in a file of a network or a run: architecture, parameters, history, or what is wrong with it.
#[derive(Parser)]
struct Options {
    /// File that `Network::save`, `Checkpoints` or `Training::save` wrote, or any safetensors file of dense layers
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Show every epoch, not only the last ten
    #[arg(long)]
    history: bool,
}

fn main() {
    run(&Options::parse()).unwrap_or_else(|error| fail_with(&error));
}

fn run(options: &Options) -> Result<()> {
    let device = Device::cpu();
    let size = std::fs::metadata(&options.file).map_or(0, |metadata| metadata.len());
    let head = |what: &str| say!("{}: {what}, {} bytes\n", options.file.display(), grouped(size));
    let why = match Trainer::resume(&options.file, &device) {
        Ok((net, trainer)) => {
            head("a run of training");
            layers(&net)?;
            progress(&net, &trainer, options.history);
            return Ok(());
        }
        Err(error @ Error::File { .. }) => error,
        Err(error) => return Err(error),
    };
    if let Ok(net) = Network::load(&options.file, &device) {
        head("a network");
        return layers(&net);
    }
    // Whatever has the metadata of a checkpoint is one, or a broken one.
    if !why.to_string().contains("no checkpoint of wgrad") {
        return Err(why);
    }
    let weights = Weights::read_converted(&options.file)?;
    head("layers without their activations");
    say!("{}", weights.sizes().iter().map(usize::to_string).collect::<Vec<_>>().join("-"));
    Ok(())
}

/// The layers, with what their numbers are like.
fn layers(net: &Network) -> Result<()> {
    let parameters = net.parameters()?;
    let sizes = net.sizes().iter().map(usize::to_string).collect::<Vec<_>>().join("-");
    say!("{sizes}, {} parameters, {}\n", grouped(parameters.len() as u64), spread(&parameters));
    for (l, layer) in net.layers().iter().enumerate() {
        let (weights, biases) = (&parameters[layer.weights()], &parameters[layer.biases()]);
        let count = grouped((weights.len() + biases.len()) as u64);
        let dropout = match net.dropout_rates()[l] {
            rate if rate > 0.0 => format!(", dropout {rate}"),
            _ => String::new(),
        };
        say!(
            "layer {}: {} -> {}, {}{dropout}, {count} parameters",
            l + 1,
            layer.inputs,
            layer.outputs,
            layer.activation
        );
        say!("    weights  {}", spread(weights));
        say!("    biases   {}", spread(biases));
    }
    if let Some(preparation) = net.preparation() {
        let names = preparation.input_names();
        say!(
            "\npredicts '{}' ({:?}) from {} inputs: {}",
            preparation.target(),
            preparation.task(),
            names.len(),
            list(&names)
        );
        if !preparation.classes().is_empty() {
            say!("classes: {}", list(preparation.classes()));
        }
    }
    Ok(())
}

/// The first few of many names.
fn list<S: AsRef<str>>(names: &[S]) -> String {
    let mut text = names.iter().take(8).map(S::as_ref).collect::<Vec<_>>().join(", ");
    if names.len() > 8 {
        text += ", ...";
    }
    text
}

/// Mean, deviation and range of some numbers, and how many are 0.
fn spread(numbers: &[f32]) -> String {
    let count = numbers.len().max(1) as f64;
    let mean = numbers.iter().map(|&x| f64::from(x)).sum::<f64>() / count;
    let variance = numbers.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / count;
    let (least, largest) = numbers.iter().fold((f32::INFINITY, f32::NEG_INFINITY), |(a, b), &x| (a.min(x), b.max(x)));
    let zeros = numbers.iter().filter(|x| **x == 0.0).count();
    let zeros = if zeros > 0 { format!(", {} of them 0", grouped(zeros as u64)) } else { String::new() };
    format!("mean {mean:.4}, deviation {:.4}, from {least:.4} to {largest:.4}{zeros}", variance.sqrt())
}

/// How far a run has come, and how.
fn progress(net: &Network, trainer: &Trainer<'_>, all: bool) {
    if let Some((epoch, step)) = trainer.position() {
        let steps = grouped(net.optimizer_steps());
        say!("\n{epoch} epochs and {step} steps of the next are done; the optimiser has taken {steps} steps");
    }
    say!("\n{trainer}");
    let Some(History { epochs, stop, .. }) = trainer.history() else { return };
    if let Some(reason) = stop {
        say!("\nit ended: {reason}");
    }
    if epochs.is_empty() {
        return;
    }
    let skipped = if all { 0 } else { epochs.len().saturating_sub(10) };
    say!("\nepoch   training cost   right     test cost   right          eta");
    if skipped > 0 {
        say!("({skipped} earlier epochs: --history)");
    }
    for report in &epochs[skipped..] {
        let (cost, right) = (report.train_cost, 100.0 * report.train_accuracy);
        let test = report
            .test
            .map_or_else(String::new, |test| format!(" {:>11.4} {:>6.2} %", test.cost, 100.0 * test.accuracy));
        say!("{:>5} {cost:>15.4} {right:>6.1} %{test:<21} {:>12.6}", report.epoch, report.eta);
    }
}
