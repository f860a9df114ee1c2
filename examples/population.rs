//! Thirty-two small networks at once: which learning rate is best, and what do they know together?
//! `cargo run --release --example population` needs no files; `--data DIR` takes MNIST's.

mod common;

use std::path::PathBuf;
use std::time::Instant;

use clap::Parser;
use common::{fail_with, say};
use wgrad::plan::PlanKind;
use wgrad::{Activation, Cost, Dataset, Device, Network, NetworkBuilder, Population, Sgd, Trainer, data};

/// Trains many networks of the notes' kind (784-30-10, sigmoid, quadratic cost) at once, with learning rates from 0.1 to 30, and
/// prints how each does and how they do together.
#[derive(Debug, Parser)]
struct Options {
    /// Networks.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..))]
    networks: u16,
    /// Hidden neurons of each.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u16).range(1..))]
    hidden: u16,
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..))]
    epochs: u16,
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..))]
    batch_size: u16,
    /// Images to train on.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..))]
    train_limit: u32,
    /// cpu, gpu, auto, or a part of an adapter's name.
    #[arg(long, default_value = "auto")]
    device: String,
    /// A folder with MNIST's four files, in place of made-up digits.
    #[arg(long)]
    data: Option<PathBuf>,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Also trains each network alone, one after another, and compares time and bits.
    #[arg(long)]
    compare: bool,
}

fn main() {
    run(&Options::parse()).unwrap_or_else(|error| fail_with(&error));
}

fn run(options: &Options) -> wgrad::Result<()> {
    let (train, test) = digits(options)?;
    let device = Device::named(&options.device)?;
    say!("device    {device}, because {}", device.reason());
    let [batch, epochs] = [options.batch_size, options.epochs].map(usize::from);

    let mut population = Population::new(&device, Cost::Quadratic).batch_size(batch).epochs(epochs);
    let members: Vec<_> = (0..options.networks).map(|i| Member::new(options, i)).collect();
    for member in &members {
        population.add(member.network(options), Sgd::new(member.eta), member.seed)?;
    }
    let report = population.fit(&train)?;
    say!(
        "trained   {} networks of {} parameters, {} at once by the {} plan, in {:.2} s\n",
        members.len(),
        population.networks()[0].parameter_count(),
        report.at_once,
        report.plan,
        report.seconds
    );

    say!("network     eta  seed  training cost   test accuracy");
    let mut best: Option<(f64, &Member)> = None;
    for ((member, network), result) in members.iter().zip(population.networks()).zip(&report.members) {
        let front = format!("{:>7}  {:>6.2}  {:>4}", member.number, member.eta, member.seed);
        match result {
            Ok(history) => {
                let accuracy = network.evaluate(&test, Cost::Quadratic)?.accuracy;
                let cost = history.epochs.last().map_or(f64::NAN, |epoch| epoch.train_cost);
                say!("{front}  {cost:>13.4}  {:>12.2} %", 100.0 * accuracy);
                if best.is_none_or(|(most, _)| accuracy > most) {
                    best = Some((accuracy, member));
                }
            }
            Err(error) => say!("{front}  {error}"),
        }
    }
    if let Some((accuracy, member)) = best {
        say!("\nbest      network {} with eta {:.2}: {:.2} %", member.number, member.eta, 100.0 * accuracy);
    }
    let together = population.evaluate_ensemble(&test)?.accuracy;
    say!("together  the mean of all outputs has {:.2} % right", 100.0 * together);
    if options.compare { compare(options, &device, &train, &members, &population, report.seconds) } else { Ok(()) }
}

/// A network's place in the search.
struct Member {
    number: u16,
    eta: f32,
    seed: u64,
}

impl Member {
    /// Learning rates from 0.1 to 30, evenly on a logarithmic scale.
    fn new(options: &Options, i: u16) -> Self {
        let place = f32::from(i) / f32::from(options.networks.max(2) - 1);
        Self { number: i + 1, eta: 0.1 * 300_f32.powf(place), seed: options.seed + u64::from(i) }
    }

    fn network(&self, options: &Options) -> NetworkBuilder {
        let hidden = usize::from(options.hidden);
        Network::new(784).dense(hidden, Activation::Sigmoid).dense(10, Activation::Sigmoid).seed(self.seed)
    }
}

/// Training and test images.
fn digits(options: &Options) -> wgrad::Result<(Dataset, Dataset)> {
    let most = options.train_limit as usize;
    let Some(folder) = &options.data else {
        return data::synthetic_digits(most + 2000, options.seed)?.split_at(most);
    };
    let (train, test) = data::load_mnist_dir(folder)?;
    Ok((train.take(most)?, test))
}

/// The same networks one after another, with the same kernel and with the device's own choice. On the CPU they are not asked for a
/// plan: its members train as they would alone.
fn compare(
    options: &Options,
    device: &Device,
    train: &Dataset,
    members: &[Member],
    population: &Population,
    together: f64,
) -> wgrad::Result<()> {
    let [batch, epochs] = [options.batch_size, options.epochs].map(usize::from);
    let own = (" with the device's own choice of plan", None);
    let ways = match device.kind() {
        "cpu" => vec![("", None)],
        _ => vec![(" with the persistent plan", Some(PlanKind::Persistent)), own],
    };
    for (name, kind) in ways {
        let (mut same, watch) = (0, Instant::now());
        for (member, trained) in members.iter().zip(population.networks()) {
            let mut network = member.network(options);
            if let Some(kind) = kind {
                network = network.plan(kind);
            }
            let mut network = network.build(device)?;
            let mut trainer = Trainer::new(Cost::Quadratic, Sgd::new(member.eta));
            trainer = trainer.batch_size(batch).epochs(epochs).seed(member.seed);
            let _ = trainer.fit(&mut network, train, None);
            let bits = |network: &Network| -> wgrad::Result<Vec<u32>> {
                Ok(network.parameters()?.into_iter().map(f32::to_bits).collect())
            };
            same += usize::from(bits(&network)? == bits(trained)?);
        }
        let alone = watch.elapsed().as_secs_f64();
        say!(
            "alone     one after another{name}: {alone:.2} s, {:.2} times as long; {same} of {} end with the same bits",
            alone / together,
            members.len()
        );
    }
    Ok(())
}
