//! XOR, the smallest problem that no net without a hidden layer can learn: `cargo run --release --example xor`.

mod common;

use clap::Parser;
use common::{fail_with, say};
use wgrad::{Activation, Cost, Dataset, Device, Network, Sgd, Trainer};

/// Trains a net to say for two inputs, each 0 or 1, whether they differ.
#[derive(Debug, Parser)]
struct Options {
    /// auto, cpu, gpu, or part of an adapter's name [default: the variable `WGRAD_DEVICE`, else auto]
    #[arg(long, value_name = "NAME")]
    device: Option<String>,
}

fn main() {
    run(&Options::parse()).unwrap_or_else(|error| fail_with(&error));
}

fn run(options: &Options) -> wgrad::Result<()> {
    // All there is to learn: four rows of two inputs, and one target each.
    let xor = Dataset::new(vec![0., 0., 0., 1., 1., 0., 1., 1.], 2, vec![0., 1., 1., 0.], 1)?;

    // Two inputs, four hidden neurons, one output between 0 and 1, on the best GPU or else the CPU.
    let device = match &options.device {
        Some(word) => Device::named(word)?,
        None => Device::auto()?,
    };
    let mut net = Network::new(2).dense(4, Activation::Tanh).dense(1, Activation::Sigmoid).seed(1).build(&device)?;

    // Gradient descent, each step on all four rows.
    let mut trainer = Trainer::new(Cost::BinaryCrossEntropy, Sgd::new(1.0)).batch_size(4).epochs(300);
    let history = trainer.fit(&mut net, &xor, None)?;

    say!("trained on {device}, because {}", device.reason());
    for (step, report) in history.epochs.iter().enumerate().step_by(100) {
        say!("cost before step {:>3}: {:.4}", step + 1, report.train_cost);
    }
    for row in 0..xor.len() {
        let x = xor.input_row(row)?;
        say!("{} xor {} = {}, the net says {:.3}", x[0], x[1], xor.target_row(row)?[0], net.predict(&x)?[0]);
    }
    Ok(())
}
