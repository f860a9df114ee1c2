//! Random runs: a network, data and every option of a trainer at once. The CPU against the reference; each plan of each adapter
//! against the CPU, at every step and at the end.
//!
//! How far two runs may be apart at their end follows from the run itself: so far as it goes apart from itself where its start is
//! off by eight times what an `f32` is rounded by, times four.

use std::cell::Cell;

use proptest::prelude::any;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};
use wgrad::plan::PlanKind;
use wgrad::reference::{self, Descent, Example};
use wgrad::{Batches, Cost, Dataset, Device, Network, Optimizer, Regularization, Schedule, Sgd, Span, Trainer};

use crate::common;
use crate::common::nets::{Numbers, arena};
use crate::{Drawn, cases, optimizers};

/// A run, but for the device and the plan.
#[derive(Debug, Clone)]
struct Run {
    drawn: Drawn,
    optimizer: Optimizer,
    data: Dataset,
    batch: usize,
    epochs: usize,
    schedule: Schedule,
    smoothing: f32,
    rates: Vec<f32>,
    seed: u64,
}

/// How a network is started a little off, from this seed; not at all where there is none.
type Off = Option<u64>;

impl Run {
    fn new(drawn: Drawn, optimizer: Optimizer, seed: u64) -> Self {
        let mut numbers = Numbers(seed);
        let (arch, rows) = (&drawn.arch, drawn.rows);
        let (x, y) = drawn.data();
        let outputs = arch.outputs();
        let classes = u32::try_from(outputs).expect("a few");
        let mut labels = || (0..rows).map(|_| numbers.below(classes)).collect::<Vec<_>>();
        let data = match seed % 4 {
            0 => Dataset::with_labels(x, arch.inputs, labels(), outputs),
            1 => {
                let bytes = x.iter().map(|x| (x.abs() * 255.0) as u8).collect();
                Dataset::from_bytes(bytes, arch.inputs, labels(), outputs)
            }
            _ => Dataset::new(x, arch.inputs, y, outputs),
        };
        let mut data = data.expect("data");
        if numbers.below(2) == 0 {
            let weights = (0..rows).map(|row| if row > 0 { 2.0 * numbers.unit() } else { 1.0 }).collect();
            data = data.with_weights(weights).expect("weights");
        }
        let cross_entropy = matches!(arch.cost, Cost::BinaryCrossEntropy | Cost::CategoricalCrossEntropy);
        let smoothing = if cross_entropy && numbers.below(2) == 0 { 0.2 } else { 0.0 };
        let schedule = match numbers.below(6) {
            0 => Schedule::step(Span::Steps(1), 0.5),
            1 => Schedule::exponential(Span::Epochs(1.0), 0.3),
            2 => Schedule::cosine(Span::Run(1.0)),
            3 => Schedule::one_cycle(),
            4 => Schedule::constant().warm_up(Span::Steps(2)),
            _ => Schedule::constant(),
        };
        let rate = numbers.below(3) == 0;
        let rates = arch.dense[1..].iter().map(|_| if rate { 0.4 } else { 0.0 }).collect();
        // At most four steps: beyond, rounding parts whatever is compared.
        let batch = rows.div_ceil(2) + numbers.below(3) as usize;
        let epochs = 1 + numbers.below(2) as usize;
        Self { data, batch, epochs, schedule, smoothing, rates, optimizer, seed, drawn }
    }

    fn network(&self, device: &Device, kind: PlanKind, off: Off) -> Network {
        let start = Network::new(self.drawn.arch.inputs).plan(kind).seed(self.seed);
        let net = self.drawn.arch.dense.iter().enumerate().fold(start, |net, (l, &(width, activation))| {
            let net = net.dense(width, activation);
            match self.rates.get(l) {
                Some(&rate) if rate > 0.0 => net.dropout(rate),
                _ => net,
            }
        });
        let mut net = net.build(device).expect("a network that can be");
        if let Some(seed) = off {
            let mut numbers = Numbers(seed);
            let mut parameters = net.parameters().expect("parameters");
            parameters.iter_mut().for_each(|w| *w += 8.0 * f32::EPSILON * numbers.symmetric() * (w.abs() + 0.1));
            net.set_parameters(&parameters).expect("finite");
        }
        net
    }

    /// The parameters after the run; `verified` holds every step to the CPU.
    fn run(&self, device: &Device, kind: PlanKind, off: Off, verified: bool) -> Result<Vec<f32>, String> {
        let mut net = self.network(device, kind, off);
        let trainer = Trainer::new(self.drawn.arch.cost, self.optimizer).batch_size(self.batch).epochs(self.epochs);
        let trainer = trainer.seed(self.seed).schedule(self.schedule.clone()).label_smoothing(self.smoothing);
        let mut trainer = if verified { trainer.verify_every(1) } else { trainer };
        trainer.fit(&mut net, &self.data, None).map_err(|error| error.to_string())?;
        net.parameters().map_err(|error| error.to_string())
    }

    /// How far each parameter may be off at the end.
    fn allowed(&self, whole: &[f32]) -> Result<Vec<f64>, String> {
        let mut most = vec![0.0_f64; whole.len()];
        for seed in 1..=8 {
            let off = self.run(&Device::cpu_with_threads(1), PlanKind::Fused, Some(seed), false)?;
            for ((most, &w), &off) in most.iter_mut().zip(whole).zip(&off) {
                *most = most.max((f64::from(w) - f64::from(off)).abs());
            }
        }
        // One that happened to stay is as uncertain as its neighbours.
        let mean = most.iter().sum::<f64>() / most.len() as f64;
        Ok(most.iter().zip(whole).map(|(most, w)| 4.0 * most.max(mean) + 1e-6 * (1.0 + f64::from(w.abs()))).collect())
    }

    /// The reference's parameters after the run, where it has all that the run has.
    fn reference(&self, eta_times: f64) -> Option<Vec<f64>> {
        let Self { drawn, data, batch, optimizer, .. } = self;
        let plain = matches!(optimizer, Optimizer::Sgd(_)) && optimizer.regularization() == Regularization::default();
        // What is not written there: dropout; a schedule or weights with anything but plain steps.
        let constant = format!("{:?}", self.schedule) == "Constant";
        if self.rates.iter().any(|&rate| rate > 0.0) || !plain && (data.weights().is_some() || !constant) {
            return None;
        }
        let net = self.network(&Device::cpu(), PlanKind::Fused, None);
        let mut reference = drawn.arch.reference(net.layers(), &net.parameters().ok()?);
        let mut descent = Descent::new(&reference, *optimizer).ok()?;
        let steps_per_epoch = data.len().div_ceil(*batch) as u64;
        let (steps, mut step) = (steps_per_epoch * self.epochs as u64, 0);
        for epoch in 0..self.epochs as u64 {
            let order = Batches::new(data.len(), *batch, self.seed).ok()?.order(epoch);
            for rows in order.chunks(*batch) {
                let (examples, weights) = self.examples(rows);
                if plain {
                    let moment = wgrad::Moment { step, steps_per_epoch, steps };
                    let eta = f64::from(optimizer.eta()) * self.schedule.factor(moment) * eta_times;
                    let (nabla_b, nabla_w) = reference.weighted_gradient(&examples, &weights).ok()?;
                    move_by(&mut reference, &nabla_b, &nabla_w, eta);
                } else {
                    descent.step(&mut reference, &examples).ok()?;
                }
                step += 1;
            }
        }
        Some(arena(net.layers(), &reference.weights, &reference.biases))
    }

    fn examples(&self, rows: &[u32]) -> (Vec<Example>, Vec<f64>) {
        let wide = |row: Vec<f32>| row.into_iter().map(f64::from).collect::<Vec<_>>();
        let classes = if self.drawn.arch.cost == Cost::BinaryCrossEntropy { 2 } else { self.data.outputs() };
        let example = |&row: &u32| {
            let x = wide(self.data.input_row(row as usize).expect("a row"));
            let y = wide(self.data.target_row(row as usize).expect("a row"));
            (x, reference::smoothed(&y, self.smoothing.into(), classes))
        };
        let weight = |&row: &u32| self.data.weights().map_or(1.0, |weights| f64::from(weights[row as usize]));
        (rows.iter().map(example).collect(), rows.iter().map(weight).collect())
    }
}

fn move_by(net: &mut reference::Network, nabla_b: &[Vec<f64>], nabla_w: &[Vec<f64>], eta: f64) {
    let weights = net.weights.iter_mut().flatten().zip(nabla_w.iter().flatten());
    let biases = net.biases.iter_mut().flatten().zip(nabla_b.iter().flatten());
    weights.chain(biases).for_each(|(w, g)| *w -= eta * g);
}

/// The first number that is too far off, with how far the worst is in units of what it may be.
fn compare(got: &[f32], want: &[f64], allowed: &[f64]) -> Result<f64, String> {
    let mut worst = 0.0_f64;
    if got.len() != want.len() || got.is_empty() {
        return Err(format!("{} numbers for {}", got.len(), want.len()));
    }
    for (i, ((&got, want), allowed)) in got.iter().zip(want).zip(allowed).enumerate() {
        let ratio = (f64::from(got) - want).abs() / allowed;
        let near = ratio <= 1.0;
        if !near {
            return Err(format!("parameter {i} is {got:e}, not {want:e} +- {allowed:e}"));
        }
        worst = worst.max(ratio);
    }
    Ok(worst)
}

fn wide(numbers: &[f32]) -> Vec<f64> {
    numbers.iter().map(|&x| x.into()).collect()
}

/// Runs this many cases, the same every time.
fn many(count: u32, check: impl Fn(Run) -> Result<(), String>) {
    let config = Config { cases: count, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let outcome =
        runner.run(&(cases(), optimizers(), any::<bool>(), any::<u64>()), |(drawn, optimizer, plain, seed)| {
            let optimizer = if plain { Sgd::new(optimizer.eta()).into() } else { optimizer };
            check(Run::new(drawn, optimizer, seed)).map_err(TestCaseError::fail)
        });
    outcome.unwrap_or_else(|error| panic!("{error}"));
}

/// Whether a run that went wrong went wrong as runs may: its learning rate is drawn without regard for it.
fn diverged(problem: &str) -> bool {
    problem.starts_with("training diverged")
}

#[test]
fn random_runs_on_the_cpu() {
    let device = Device::cpu();
    for kind in [PlanKind::Textbook, PlanKind::Fused] {
        let [compared, told, worst] = [Cell::new(0_u32), Cell::new(0), Cell::new(0)];
        many(600, |run| {
            let got = match run.run(&device, kind, None, false) {
                Err(problem) if diverged(&problem) => return Ok(()),
                got => got?,
            };
            let Some(want) = run.reference(1.0) else { return Ok(()) };
            let allowed = run.allowed(&got)?;
            let ratio = compare(&got, &want, &allowed)?;
            compared.set(compared.get() + 1);
            worst.set(worst.get().max((1000.0 * ratio) as u32));
            // The negative control: steps that are a tenth longer.
            let longer = run.reference(1.1).expect("as before");
            told.set(told.get() + u32::from(compare(&got, &longer, &allowed).is_err()));
            Ok(())
        });
        let (compared, told) = (compared.get(), told.get());
        println!(
            "{device}, {kind} plan: {compared} runs as the reference, worst {:.3} of the bound",
            f64::from(worst.get()) / 1000.0
        );
        println!("{told} of them are told from runs of steps that are a tenth longer");
        assert!(compared > 150 && told > 50, "{compared} {told}");
    }
}

#[test]
fn random_runs_on_each_adapter() {
    let cpu = Device::cpu_with_threads(1);
    for device in common::adapters() {
        common::at_once(&device, PlanKind::ALL.to_vec(), |device, kind| {
            let [compared, told, worst] = [Cell::new(0_u32), Cell::new(0), Cell::new(0)];
            many(40, |run| {
                let want = match run.run(&cpu, kind, None, false) {
                    Err(problem) if diverged(&problem) => return Ok(()),
                    want => want?,
                };
                let allowed = run.allowed(&want)?;
                // Every step held to the CPU, from what the device had before it; then the run as a whole.
                let got = run.run(device, kind, None, true)?;
                let ratio = compare(&got, &wide(&want), &allowed)?;
                compared.set(compared.get() + 1);
                worst.set(worst.get().max((1000.0 * ratio) as u32));
                // The negative control: another order of the rows, other rows dropped, other first parameters.
                let other = Run { seed: run.seed ^ 1, ..run.clone() }.run(&cpu, kind, None, false);
                told.set(
                    told.get() + u32::from(other.is_ok_and(|other| compare(&got, &wide(&other), &allowed).is_err())),
                );
                Ok(())
            });
            let (compared, told) = (compared.get(), told.get());
            println!(
                "{device}, {kind} plan: {compared} runs as on the CPU, worst {:.3} of the bound",
                f64::from(worst.get()) / 1000.0
            );
            println!("{told} of them are told from a run with another seed");
            assert!(compared > 30 && told > 25, "{compared} {told}");
        });
    }
}
