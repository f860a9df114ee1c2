//! All that docs/measurements.md has a bar for, as a table in Markdown.

use std::path::Path;
use std::thread::available_parallelism;
use std::time::Instant;

use serde_json::{Value, json};
use wgrad::plan::PlanKind;
use wgrad::{Activation, AdapterSummary, Cost, Device, Network, Population, Result, Sgd, Trainer, data};

use crate::common::{fail, say};
use crate::measure::{Job, Sizes, median, open};
use crate::peers::Peers;

/// Rounds in which this crate and its peers take turns.
const ROUNDS: usize = 3;
/// Networks of the population.
const NETWORKS: usize = 32;
/// What Burn 0.22.1 with wgpu did on lavapipe for each step that JAX did on the same machine's CPU, 784-30-10, batch 10.
const BURN_OF_JAX: f64 = 41.0 / 22_800.0;

pub struct Settings<'a> {
    /// Repeats of one measurement.
    pub repeats: u32,
    /// A part of the name that a row has to have.
    pub only: &'a str,
    pub peers: Option<Peers>,
    /// MNIST's folder.
    pub mnist: Option<&'a Path>,
}

/// A row of the table, also as JSON.
struct Table<'a> {
    settings: &'a Settings<'a>,
    rows: Vec<Value>,
    /// Before anything is measured: the names of what there is to measure.
    names: Option<Vec<String>>,
}

impl Table<'_> {
    fn wants(&self, work: &str) -> bool {
        work.contains(self.settings.only)
    }

    fn row(&mut self, work: &str, result: &str, bar: &str, ratio: Option<(f64, f64)>) {
        let verdict = match ratio {
            Some((got, want)) if got >= want => "yes",
            Some(_) => "no",
            None => "open",
        };
        say!("| {work} | {result} | {bar} | {verdict} |");
        self.rows.push(json!({ "work": work, "result": result, "bar": bar, "holds": verdict }));
    }

    /// A row that could not be measured, and why.
    fn open(&mut self, work: &str, why: &str, bar: &str) {
        self.row(work, why, bar, None);
    }
}

/// A net as the table has it.
#[derive(Clone, Copy)]
struct Net {
    widths: &'static [usize],
    batch: usize,
    /// Steps that a peer is asked for.
    steps: usize,
}

const SMALL: Net = Net { widths: &[784, 30, 10], batch: 10, steps: 20_000 };
const MIDDLE: Net = Net { widths: &[784, 128, 10], batch: 64, steps: 4000 };
const LARGE: Net = Net { widths: &[1024, 1024, 1024, 10], batch: 256, steps: 100 };
const SQUARE: Net = Net { widths: &[512, 512, 512], batch: 256, steps: 10 };
const HUGE: Net = Net { widths: &[4096, 4096, 4096], batch: 4096, steps: 20 };

impl Net {
    fn name(self) -> String {
        format!("{}, batch {}", self.sizes(), self.batch)
    }

    fn sizes(self) -> Sizes {
        Sizes(self.widths.to_vec())
    }

    fn job(self, settings: &Settings<'_>, plan: Option<PlanKind>) -> Job {
        let Self { batch, .. } = self;
        Job { sizes: self.sizes(), batch, steps: None, repeats: settings.repeats, resident: None, plan, computes: true }
    }
}

/// Measures row after row and prints each as soon as it is known.
pub fn run(settings: &Settings<'_>) -> Value {
    let adapters = Device::list();
    let mut names = Table { settings, rows: Vec::new(), names: Some(Vec::new()) };
    walk(&mut names, &adapters);
    let names = names.names.unwrap_or_default();
    if !names.iter().any(|name| name.contains(settings.only)) {
        fail(&format!("no row's name holds '{}'; they are:\n{}", settings.only, names.join("\n")), 2);
    }
    let mut table = Table { settings, rows: Vec::new(), names: None };
    say!("\n| work | measured | bar | holds |\n|---|---|---|---|");
    walk(&mut table, &adapters);
    Value::Array(table.rows)
}

/// From row to row.
fn walk(table: &mut Table<'_>, adapters: &[AdapterSummary]) {
    for (net, bars) in [
        (SMALL, &[("jax-scan", 2.0)][..]),
        (MIDDLE, &[("jax-scan", 1.3), ("numpy", 1.3)]),
        (LARGE, &[("jax-scan", 1.0), ("torch", 1.0), ("numpy", 1.0)]),
    ] {
        against_peers(table, "cpu", &format!("CPU, {}", net.name()), net, bars);
    }
    told(table, "host cost (noop), fused plan, 784-30-10", host_cost);
    for adapter in adapters {
        let backend = adapter.info.backend.to_str();
        let name = adapter.info.name.split(" (").next().unwrap_or(&adapter.info.name);
        let word = format!("{backend}:{name}");
        if adapter.software { software(table, &word) } else { real(table, &word) }
    }
    if adapters.iter().all(|adapter| adapter.software) {
        told(table, "every row of a real GPU", |table, work| {
            table.open(work, "there is none here", "see docs/measurements.md");
            Ok(())
        });
    }
}

/// A row that may fail: then the table says why.
fn told(table: &mut Table<'_>, work: &str, measure: impl FnOnce(&mut Table<'_>, &str) -> Result<()>) {
    if let Some(names) = &mut table.names {
        names.push(work.to_owned());
    } else if table.wants(work)
        && let Err(error) = measure(table, work)
    {
        table.open(work, &error.to_string(), "-");
    }
}

/// Steps a second of this crate and of its peers in turn, as ratios of medians.
fn against_peers(table: &mut Table<'_>, device: &str, work: &str, net: Net, bars: &[(&str, f64)]) {
    told(table, work, |table, work| {
        let settings = table.settings;
        let device = open(device)?;
        let job = net.job(settings, None);
        let mut ours = Vec::new();
        let mut theirs: Vec<_> = bars.iter().map(|(which, _)| Ok::<_, String>((*which, Vec::new()))).collect();
        for _ in 0..ROUNDS {
            ours.push(number(&job.measure(&device)?, "steps_per_second"));
            for peer in &mut theirs {
                let Ok((which, seen)) = peer else { continue };
                let run = settings.peers.as_ref().ok_or_else(|| "not asked for: --peers".to_owned());
                match run.and_then(|peers| peers.run(which, &net.sizes().to_string(), net.batch, net.steps)) {
                    Ok(steps) => seen.push(steps),
                    Err(error) => *peer = Err(error),
                }
            }
        }
        let mean = median(ours.clone());
        let (least, most) = ours.iter().fold((f64::MAX, 0.0_f64), |(low, high), &x| (low.min(x), high.max(x)));
        let measured = format!("{mean:.0} steps/s ({least:.0} to {most:.0})");
        for ((which, want), peer) in bars.iter().zip(theirs) {
            let bar = format!("{want} x {which}");
            match peer {
                Ok((_, seen)) => {
                    let other = median(seen);
                    let ratio = mean / other;
                    let result = format!("{measured}; {which} {other:.0}: {ratio:.2} x");
                    table.row(work, &result, &bar, Some((ratio, *want)));
                }
                Err(error) => table.open(work, &format!("{measured}; {error}"), &bar),
            }
        }
        Ok(())
    });
}

fn host_cost(table: &mut Table<'_>, work: &str) -> Result<()> {
    let job = Job { steps: Some(100_000), computes: false, ..SMALL.job(table.settings, Some(PlanKind::Fused)) };
    let us = number(&job.measure(&open("noop")?)?, "host_us_per_step");
    table.row(work, &format!("{us:.2} us of CPU time a step"), "at most 6 us", Some((6.0 / us, 1.0)));
    Ok(())
}

/// The rows of an adapter that computes on the CPU.
fn software(table: &mut Table<'_>, word: &str) {
    let measured = |table: &Table<'_>, net: Net, plan| -> Result<Value> {
        // An epoch of what is resident otherwise would take minutes.
        let resident = (net.widths == SQUARE.widths).then_some(4);
        let job = net.job(table.settings, Some(plan));
        Job { repeats: table.settings.repeats.min(3), resident, ..job }.measure(&open(word)?)
    };
    told(table, &format!("{word}, {}, fused plan", SMALL.name()), |table, work| {
        let fused = measured(table, SMALL, PlanKind::Fused)?;
        let steps = number(&fused, "steps_per_second");
        let dispatches = number(&fused, "dispatches_per_step");
        let result = format!("{steps:.0} steps/s, {dispatches:.1} dispatches a step");
        if word.starts_with("vulkan:llvmpipe") {
            against_burn(table, work, steps, &result);
        } else {
            table.open(work, &result, "none");
        }
        let textbook = number(&measured(table, SMALL, PlanKind::Textbook)?, "steps_per_second");
        let ratio = steps / textbook;
        let result = format!("textbook {textbook:.0} steps/s: {ratio:.1} x");
        table.row(&format!("{work} against textbook"), &result, "3 x", Some((ratio, 3.0)));
        let persistent = measured(table, SMALL, PlanKind::Persistent)?;
        let (steps, us) = (number(&persistent, "steps_per_second"), number(&persistent, "us_per_step"));
        let result = format!("{steps:.0} steps/s, {us:.0} us a step, on one core");
        table.open(&format!("{word}, {}, persistent plan", SMALL.name()), &result, "none");
        Ok(())
    });
    told(table, &format!("{word}, {}, fused plan", SQUARE.name()), |table, work| {
        let gflops = number(&measured(table, SQUARE, PlanKind::Fused)?, "gflops");
        let cores = available_parallelism().map_or(1, usize::from) as f64;
        let result = format!("{gflops:.2} GFLOP/s, {:.2} a core of {cores}", gflops / cores);
        table.row(work, &result, "1.5 GFLOP/s a core", Some((gflops / cores, 1.5)));
        Ok(())
    });
    told(table, &format!("{word}, population of {NETWORKS} against as many one after another"), |table, work| {
        let (together, alone, same) = population(&open(word)?)?;
        let ratio = alone / together;
        let result =
            format!("{together:.2} s against {alone:.2} s: {ratio:.2} x; {same} of {NETWORKS} with the same bits");
        table.row(work, &result, "1.7 x", Some((ratio, 1.7)));
        Ok(())
    });
}

/// Burn on lavapipe takes half an hour to build, so what it did on another machine is scaled by what JAX does on both.
fn against_burn(table: &mut Table<'_>, work: &str, steps: f64, result: &str) {
    let bar = "15 x Burn 0.22.1 on lavapipe, which does 41 steps where JAX does 22,800 on the CPU";
    let asked = table.settings.peers.as_ref().ok_or_else(|| "JAX not asked for: --peers".to_owned());
    match asked.and_then(|peers| peers.run("jax-scan", &SMALL.sizes().to_string(), SMALL.batch, SMALL.steps)) {
        Ok(jax) => {
            let ratio = steps / (jax * BURN_OF_JAX);
            table.row(work, &format!("{result}; JAX {jax:.0}: {ratio:.1} x Burn"), bar, Some((ratio, 15.0)));
        }
        Err(error) => table.open(work, &format!("{result}; {error}"), bar),
    }
}

/// The rows of a real GPU.
fn real(table: &mut Table<'_>, word: &str) {
    against_peers(table, word, &format!("{word}, {}", SMALL.name()), SMALL, &[("torch-graph", 3.0), ("jax-scan", 2.0)]);
    against_peers(
        table,
        word,
        &format!("{word}, {}", MIDDLE.name()),
        MIDDLE,
        &[("torch-graph", 1.0), ("jax-scan", 1.0)],
    );
    against_peers(table, word, &format!("{word}, {}", HUGE.name()), HUGE, &[("torch-graph", 0.8)]);
    told(table, &format!("{word}, MNIST, the notes' net, 30 epochs"), |table, work| {
        let bar = "under 2 s, pipelines made included";
        let Some(folder) = table.settings.mnist else {
            table.open(work, "not asked for: --mnist", bar);
            return Ok(());
        };
        let (train, test) = data::load_mnist_dir(folder)?;
        let watch = Instant::now();
        let device = open(word)?;
        let mut net = Network::new(784).dense(30, Activation::Sigmoid).dense(10, Activation::Sigmoid).build(&device)?;
        Trainer::new(Cost::Quadratic, Sgd::new(3.0)).epochs(30).fit(&mut net, &train.take(50_000)?, None)?;
        let seconds = watch.elapsed().as_secs_f64();
        let accuracy = 100.0 * net.evaluate(&test, Cost::Quadratic)?.accuracy;
        table.row(work, &format!("{seconds:.2} s, {accuracy:.2} % right"), bar, Some((2.0 / seconds, 1.0)));
        Ok(())
    });
}

/// Seconds of a population, of the same networks one after another by the same plan, and how many end with the same bits.
fn population(device: &Device) -> Result<(f64, f64, usize)> {
    let digits = data::synthetic_digits(1000, 1)?;
    let net = |i: usize| Network::new(784).dense(30, Activation::Sigmoid).dense(10, Activation::Sigmoid).seed(i as u64);
    let train = |data: &_| -> Result<(Population, f64)> {
        let mut population = Population::new(device, Cost::Quadratic).batch_size(10).epochs(1);
        for i in 0..NETWORKS {
            population.add(net(i), Sgd::new(1.0 + i as f32 / 8.0), i as u64)?;
        }
        let seconds = population.fit(data)?.seconds;
        Ok((population, seconds))
    };
    // Once for the pipelines.
    train(&digits.clone().take(10)?)?;
    let (members, together) = train(&digits)?;
    let (mut alone, mut same) = (0.0, 0);
    for (i, member) in members.networks().iter().enumerate() {
        let mut network = net(i).plan(PlanKind::Persistent).build(device)?;
        let trainer = Trainer::new(Cost::Quadratic, Sgd::new(1.0 + i as f32 / 8.0));
        let watch = Instant::now();
        trainer.batch_size(10).epochs(1).seed(i as u64).fit(&mut network, &digits, None)?;
        alone += watch.elapsed().as_secs_f64();
        let bits =
            |net: &Network| -> Result<Vec<u32>> { Ok(net.parameters()?.into_iter().map(f32::to_bits).collect()) };
        same += usize::from(bits(&network)? == bits(member)?);
    }
    Ok((together, alone, same))
}

fn number(result: &Value, key: &str) -> f64 {
    result[key].as_f64().unwrap_or(f64::NAN)
}
