//! Random networks, data and settings: all that the public API computes against the f64 reference.

#![cfg(feature = "blocking")]
#![allow(clippy::print_stdout, reason = "the devices and what was compared on them are the result of these tests")]

#[path = "../common/mod.rs"]
mod common;
mod runs;

use std::cell::Cell;

use common::expect::{Expected, exact, within};
use common::nets::{Arch, Numbers, arena, bits, elementwise, examples, pairings};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};
use wgrad::plan::PlanKind;
use wgrad::reference::Descent;
use wgrad::verify::{Worst, bound};
use wgrad::{
    Activation, Adam, AdamW, Cost, Dataset, Device, Momentum, Nesterov, Optimizer, Regularization, RmsProp, Sgd,
};

/// Everything that is drawn for one case.
#[derive(Debug, Clone)]
struct Drawn {
    arch: Arch,
    rows: usize,
    seed: u64,
    /// What inputs in [-1, 1) are multiplied with.
    size: f32,
    eta: f32,
}

fn cases() -> impl Strategy<Value = Drawn> {
    let hidden = prop::collection::vec((1_usize..=12, select(elementwise())), 0..=3);
    let size = select(vec![1e-3_f32, 1.0, 1.0, 8.0, 60.0]);
    let eta = select(vec![1e-3_f32, 0.1, 0.5, 3.0]);
    (1_usize..=20, hidden, 1_usize..=10, select(pairings()), (1_usize..=20, any::<u64>()), size, eta).prop_map(
        |(inputs, mut dense, outputs, (activation, cost), (rows, seed), size, eta)| {
            dense.push((outputs, activation));
            Drawn { arch: Arch { inputs, dense, cost }, rows, seed, size, eta }
        },
    )
}

impl Drawn {
    fn data(&self) -> (Vec<f32>, Vec<f32>) {
        let (mut x, y) = self.arch.data(self.rows, self.seed);
        x.iter_mut().for_each(|x| *x *= self.size);
        // Exact zeros, and a row of them.
        let mut numbers = Numbers(self.seed ^ 1);
        let zeros = x.iter_mut().filter(|_| numbers.below(8) == 0);
        zeros.for_each(|x| *x = 0.0);
        if self.rows > 2 {
            x[self.arch.inputs..2 * self.arch.inputs].fill(0.0);
        }
        (x, y)
    }

    /// Outputs, cost, gradients, a step and an evaluation, each within the bound that this very case allows. Gradients and
    /// the step are left out where a relu is so near its kink that rounding decides; returns whether they were compared.
    fn check(&self, device: &Device, kind: PlanKind) -> Result<(Worst, bool), String> {
        let Self { arch, eta, .. } = self;
        let (x, y) = self.data();
        let failed = |error: wgrad::Error| error.to_string();
        let mut net = arch.build(device, kind, self.seed);
        let layers = net.layers().to_vec();
        let parameters = net.parameters().map_err(failed)?;
        let mut reference = arch.reference(&layers, &parameters);
        let batch = examples(&x, arch.inputs, &y, arch.outputs());
        let mut tracked = exact(&parameters);
        let expected = Expected::new(&layers, arch.cost, &tracked, &x, &y);
        let k = expected.terms;
        let cost = reference.mean_cost(&batch).map_err(failed)?;
        let outputs: Vec<Vec<f64>> =
            batch.iter().map(|(x, _)| reference.feedforward(x)).collect::<Result<_, _>>().map_err(failed)?;

        let mut worst = Worst::default();
        worst.merge(&within(
            "a_L",
            &net.predict_on_device(&x).map_err(failed)?,
            &outputs.concat(),
            &expected.outputs,
            k,
        )?);
        let got = net.cost(&x, &y, arch.cost).map_err(failed)?;
        worst.merge(&within("cost", &[got], &[cost], &[expected.cost], k)?);
        self.check_evaluation(&net, &outputs, &expected, cost)?;
        if expected.kinked {
            return Ok((worst, false));
        }
        let (nabla_b, nabla_w) = reference.mean_gradient(&batch).map_err(failed)?;
        let got = net.gradients(&x, &y, arch.cost).map_err(failed)?;
        let want = arena(&layers, &nabla_w, &nabla_b);
        worst.merge(&within("gradients", got.as_slice(), &want, &expected.gradients, k)?);
        worst.merge(&within("cost beside the gradients", &[got.cost], &[cost], &[expected.cost], k)?);

        net.update_mini_batch(&x, &y, arch.cost, Sgd::new(*eta)).map_err(failed)?;
        reference.update_mini_batch(&batch, f64::from(*eta)).map_err(failed)?;
        expected.step(&mut tracked, *eta);
        let want = arena(&layers, &reference.weights, &reference.biases);
        worst.merge(&within("parameters after a step", &net.parameters().map_err(failed)?, &want, &tracked, k)?);
        Ok((worst, true))
    }

    /// The mean cost and the share of right answers of a data set; a row counts either way where rounding decides.
    fn check_evaluation(
        &self,
        net: &wgrad::Network,
        outputs: &[Vec<f64>],
        expected: &Expected,
        cost: f64,
    ) -> Result<(), String> {
        let (x, y) = self.data();
        let width = self.arch.outputs();
        let data = Dataset::new(x, self.arch.inputs, y.clone(), width).map_err(|error| error.to_string())?;
        let got = net.evaluate(&data, self.arch.cost).map_err(|error| error.to_string())?;
        let near = (got.cost - cost).abs() <= bound(expected.terms, &expected.cost);
        if !near || got.rows != self.rows {
            return Err(format!("evaluation {got:?}; the cost is {cost}"));
        }
        let (mut right, mut open) = (0_usize, 0_usize);
        for ((a, y), tracked) in outputs.iter().zip(y.chunks(width)).zip(expected.outputs.chunks(width)) {
            let slack = tracked.iter().fold(0.0_f64, |most, t| most.max(bound(expected.terms, t)));
            match verdict(a, y, slack, self.arch.dense.last().map(|d| d.1)) {
                Some(is_right) => right += usize::from(is_right),
                None => open += 1,
            }
        }
        let counted = got.accuracy * got.rows as f64;
        if (right as f64 - 1e-9..=(right + open) as f64 + 1e-9).contains(&counted) {
            Ok(())
        } else {
            Err(format!("{counted} right answers, not {right} to {}", right + open))
        }
    }
}

/// A learning rate, and every optimiser with it.
fn optimizers() -> impl Strategy<Value = Optimizer> {
    let some = |values: Vec<f32>| select(values);
    let penalties = (some(vec![0.0, 0.0, 0.01, 0.3]), some(vec![0.0, 0.0, 0.02]), some(vec![0.0, 0.0, 0.1]));
    let bound = |most: f32| select(vec![None, None, Some(most), Some(10.0 * most)]);
    let bounds = (bound(0.3), bound(0.01), bound(0.1));
    (0..6_usize, some(vec![1e-3, 0.02, 0.1]), penalties, bounds).prop_map(
        |(which, eta, (l2, l1, decoupled), (max_norm, clip_value, clip_norm))| {
            let regularization = Regularization { l2, l1, decoupled, max_norm, clip_value, clip_norm };
            macro_rules! regularized {
                ($kind:ident) => {{
                    let mut optimizer = $kind::new(eta);
                    optimizer.regularization = regularization;
                    optimizer.into()
                }};
            }
            match which {
                0 => regularized!(Sgd),
                1 => regularized!(Momentum),
                2 => regularized!(Nesterov),
                3 => regularized!(RmsProp),
                4 => regularized!(Adam),
                _ => regularized!(AdamW),
            }
        },
    )
}

/// How far a parameter goes with these gradients, one a step, in the last of the steps, over the learning rate.
fn direction(optimizer: Optimizer, gradients: &[f64]) -> f64 {
    let (mut m, mut v, mut t, mut step) = (0.0, 0.0, 0, f64::NAN);
    for &g in gradients {
        t += 1;
        step = match optimizer {
            Optimizer::Sgd(_) => g,
            Optimizer::Momentum(Momentum { mu, .. }) => {
                m = f64::from(mu) * m + g;
                m
            }
            Optimizer::Nesterov(Nesterov { mu, .. }) => {
                m = f64::from(mu) * m + g;
                g + f64::from(mu) * m
            }
            Optimizer::RmsProp(RmsProp { alpha, epsilon, .. }) => {
                v = f64::from(alpha) * v + (1.0 - f64::from(alpha)) * g * g;
                g / (v.sqrt() + f64::from(epsilon))
            }
            Optimizer::Adam(Adam { beta_1, beta_2, epsilon, .. })
            | Optimizer::AdamW(AdamW { beta_1, beta_2, epsilon, .. }) => {
                let [b1, b2] = [beta_1, beta_2].map(f64::from);
                m = b1 * m + (1.0 - b1) * g;
                v = b2 * v + (1.0 - b2) * g * g;
                m / (1.0 - b1.powi(t)) / ((v / (1.0 - b2.powi(t))).sqrt() + f64::from(epsilon))
            }
            _ => f64::NAN,
        };
    }
    step
}

impl Drawn {
    /// Two steps of an optimiser, each from the parameters that the device has, against the reference's. What a parameter may be
    /// off by is what its step changes by where its gradients are off by as much as rounding allows.
    fn check_optimizer(&self, optimizer: Optimizer, device: &Device, kind: PlanKind) -> Result<usize, String> {
        let (x, y) = self.data();
        let failed = |error: wgrad::Error| error.to_string();
        let mut net = self.arch.build(device, kind, self.seed);
        let layers = net.layers().to_vec();
        let weights = layers[0].b;
        let batch = examples(&x, self.arch.inputs, &y, self.arch.outputs());
        let eps = f64::from(f32::EPSILON);
        let Regularization { l2, l1, max_norm, clip_value, clip_norm, .. } = optimizer.regularization();
        let mut descent: Option<Descent> = None;
        let mut history: Vec<Vec<(f64, f64)>> = vec![Vec::new(); net.parameter_count()];
        let mut compared = 0;
        for _ in 0..2 {
            let before = net.parameters().map_err(failed)?;
            let expected = Expected::new(&layers, self.arch.cost, &exact(&before), &x, &y);
            if expected.kinked {
                return Ok(compared);
            }
            let mut reference = self.arch.reference(&layers, &before);
            let (nabla_b, nabla_w) = reference.mean_gradient(&batch).map_err(failed)?;
            let gradients = arena(&layers, &nabla_w, &nabla_b);
            let norm = gradients.iter().map(|g| g * g).sum::<f64>().sqrt();
            let slack = expected.gradients.iter().map(|g| bound(expected.terms, g).powi(2)).sum::<f64>().sqrt();
            let clip = clip_norm.map_or(1.0, |most| (f64::from(most) / norm).min(1.0));
            for (i, history) in history.iter_mut().enumerate() {
                let w = f64::from(before[i]);
                let mut off = clip * bound(expected.terms, &expected.gradients[i]) + 8.0 * eps * gradients[i].abs();
                let mut g = clip * gradients[i];
                if clip < 1.0 {
                    // The norm is off too.
                    off += g.abs() * (slack / norm).min(1.0);
                }
                g = clip_value.map_or(g, |most| g.clamp(-f64::from(most), f64::from(most)));
                if i < weights {
                    let sign = if w == 0.0 { 0.0 } else { w.signum() };
                    g += f64::from(l2) * w + f64::from(l1) * sign;
                    off += 4.0 * eps * (f64::from(l2) * w.abs() + f64::from(l1));
                }
                history.push((g, off));
            }
            if descent.is_none() {
                descent = Some(Descent::new(&reference, optimizer).map_err(failed)?);
            }
            let Some(descent) = &mut descent else { return Err("no optimiser".to_owned()) };
            descent.step(&mut reference, &batch).map_err(failed)?;
            net.update_mini_batch(&x, &y, self.arch.cost, optimizer).map_err(failed)?;
            let after = net.parameters().map_err(failed)?;
            let want = arena(&layers, &reference.weights, &reference.biases);

            let eta = f64::from(optimizer.eta());
            let mut allowed: Vec<f64> = history
                .iter()
                .zip(&before)
                .map(|(history, &w)| {
                    let w = f64::from(w);
                    let exact: Vec<f64> = history.iter().map(|(g, _)| *g).collect();
                    let step = direction(optimizer, &exact);
                    // Every corner of what the gradients may be.
                    let corners = (0..1_usize << history.len()).map(|corner| {
                        let moved = |(at, (g, off)): (usize, &(f64, f64))| {
                            if corner >> at & 1 == 1 { g + off } else { g - off }
                        };
                        let corner: Vec<f64> = history.iter().enumerate().map(moved).collect();
                        (direction(optimizer, &corner) - step).abs()
                    });
                    2.0 * eta * corners.fold(0.0, f64::max) + 16.0 * eps * (w.abs() + eta * step.abs()) + 1e-37
                })
                .collect();
            if let Some(most) = max_norm {
                for layer in &layers {
                    for row in allowed[layer.weights()].chunks_mut(layer.inputs) {
                        // A row that is brought back moves as a whole.
                        let all = row.iter().map(|a| a * a).sum::<f64>().sqrt() + 16.0 * eps * f64::from(most);
                        row.iter_mut().for_each(|a| *a += all);
                    }
                }
            }
            for (i, ((&got, want), allowed)) in after.iter().zip(&want).zip(&allowed).enumerate() {
                let far = (f64::from(got) - want).abs();
                if far > *allowed || far.is_nan() {
                    return Err(format!(
                        "{optimizer:?}: parameter {i} is {got:e}, not {want:e}; {allowed:e} is allowed"
                    ));
                }
                compared += 1;
            }
        }
        Ok(compared)
    }
}

/// Whether a row is right; `None` if outputs decide that are no more than twice `slack` apart.
fn verdict(a: &[f64], y: &[f32], slack: f64, output: Option<Activation>) -> Option<bool> {
    if let ([a], [y]) = (a, y) {
        let middle = if output == Some(Activation::Tanh) { 0.0 } else { 0.5 };
        return ((a - middle).abs() > slack).then_some((*a >= middle) == (f64::from(*y) >= middle));
    }
    // The first of equals.
    let first_largest = |better: &dyn Fn(usize, usize) -> bool, n: usize| {
        (1..n).fold(0, |best, j| if better(j, best) { j } else { best })
    };
    let at_a = first_largest(&|j, best| a[j] > a[best], a.len());
    let at_y = first_largest(&|j, best| y[j] > y[best], y.len());
    let runner_up = (0..a.len()).filter(|&j| j != at_a).map(|j| a[j]).fold(f64::NEG_INFINITY, f64::max);
    (a[at_a] - runner_up > 2.0 * slack).then_some(at_a == at_y)
}

/// Runs this many cases, the same ones every time, on a device.
fn check_many(device: &Device, kind: PlanKind, count: u32) {
    let config = ProptestConfig { cases: count, failure_persistence: None, ..ProptestConfig::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let (total, whole) = (Cell::new(Worst::default()), Cell::new(0_u32));
    let outcome = runner.run(&cases(), |drawn| {
        let (worst, compared) = drawn.check(device, kind).map_err(TestCaseError::fail)?;
        let mut sum = total.get();
        sum.merge(&worst);
        total.set(sum);
        whole.set(whole.get() + u32::from(compared));
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{device}, {kind} plan: {error}"));
    let (Worst { elements, ratio, .. }, whole) = (total.get(), whole.get());
    println!(
        "{device}, {kind} plan: {count} networks, {whole} with gradients, {elements} values, worst {ratio:.3} {:?}",
        total.get()
    );
    // Kinks are rare.
    assert!(whole > count * 8 / 10 && elements > u64::from(count) * 50);
}

#[test]
fn random_networks_on_the_cpu() {
    for kind in PlanKind::ALL {
        check_many(&Device::cpu(), kind, 1000);
    }
}

#[test]
fn random_networks_on_each_adapter() {
    for device in common::adapters() {
        for kind in PlanKind::ALL {
            check_many(&device, kind, 100);
        }
    }
}

/// Runs this many cases of two steps on a device.
fn check_optimizers(device: &Device, kind: PlanKind, count: u32) {
    let config = ProptestConfig { cases: count, failure_persistence: None, ..ProptestConfig::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let compared = Cell::new(0_usize);
    let outcome = runner.run(&(cases(), optimizers()), |(drawn, optimizer)| {
        let more = drawn.check_optimizer(optimizer, device, kind).map_err(TestCaseError::fail)?;
        compared.set(compared.get() + more);
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{device}, {kind} plan: {error}"));
    println!("{device}, {kind} plan: {count} networks and optimisers, {} parameters compared", compared.get());
    assert!(compared.get() > count as usize * 100);
}

#[test]
fn random_optimizers_on_the_cpu() {
    for kind in PlanKind::ALL {
        check_optimizers(&Device::cpu(), kind, 1000);
    }
}

#[test]
fn random_optimizers_on_each_adapter() {
    for device in common::adapters() {
        for kind in [PlanKind::Textbook, PlanKind::Fused] {
            check_optimizers(&device, kind, 100);
        }
    }
}

/// What that comparison must not let through: a setting that is a little off, one at a time.
#[test]
fn a_wrong_optimizer_is_refused() {
    let dense = vec![(7, Activation::Tanh), (5, Activation::Sigmoid)];
    let arch = Arch { inputs: 6, dense, cost: Cost::Quadratic };
    let drawn = Drawn { arch, rows: 9, seed: 3, size: 1.0, eta: 0.5 };
    let (x, y) = drawn.data();
    let cpu = Device::cpu();
    let regularization = Regularization {
        l2: 0.3,
        l1: 0.02,
        decoupled: 0.1,
        max_norm: None,
        clip_value: Some(0.02),
        clip_norm: Some(0.5),
    };
    let mut right = Adam::new(0.1);
    right.regularization = regularization;
    assert!(drawn.check_optimizer(right.into(), &cpu, PlanKind::Fused).is_ok_and(|compared| compared > 100));
    let mut net = drawn.arch.build(&cpu, PlanKind::Fused, 3);
    let before = net.parameters().expect("parameters");
    let mut step = |regularization: Regularization| {
        net.set_parameters(&before).expect("finite");
        net.reset_optimizer().expect("a device");
        let mut sgd = Sgd::new(0.1);
        sgd.regularization = regularization;
        net.update_mini_batch(&x, &y, Cost::Quadratic, sgd).expect("a step");
        net.parameters().expect("parameters")
    };
    let want = step(regularization);
    for wrong in [
        Regularization { l2: 0.301, ..regularization },
        Regularization { l1: 0.0201, ..regularization },
        Regularization { decoupled: 0.101, ..regularization },
        Regularization { max_norm: Some(0.3), ..regularization },
        Regularization { clip_value: Some(0.0201), ..regularization },
        Regularization { clip_norm: Some(0.01), ..regularization },
    ] {
        let far = step(wrong).iter().zip(&want).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        // The bound of a plain step is some 20 units in the last place.
        assert!(far > 5e-6, "{wrong:?}: {far:e}");
    }
}

/// What the comparison must not let through: the same case, computed with something slightly wrong.
#[test]
fn a_wrong_network_is_refused() {
    let dense = vec![(7, Activation::Tanh), (5, Activation::Sigmoid)];
    let arch = Arch { inputs: 6, dense, cost: Cost::Quadratic };
    let drawn = Drawn { arch, rows: 9, seed: 3, size: 1.0, eta: 0.5 };
    let (x, y) = drawn.data();
    let device = Device::cpu();
    assert!(drawn.check(&device, PlanKind::Fused).is_ok_and(|(_, compared)| compared));
    let net = drawn.arch.build(&device, PlanKind::Fused, 3);
    let parameters = net.parameters().expect("parameters");
    let expected = Expected::new(net.layers(), Cost::Quadratic, &exact(&parameters), &x, &y);
    let k = expected.terms;
    let want: Vec<f64> = expected.gradients.iter().map(|g| g.value).collect();
    let refused = |parameters: &[f32], x: &[f32], y: &[f32]| {
        let mut net = drawn.arch.build(&device, PlanKind::Fused, 3);
        net.set_parameters(parameters).expect("finite");
        let got = net.gradients(x, y, Cost::Quadratic).expect("gradients");
        within("gradients", got.as_slice(), &want, &expected.gradients, k).is_err()
    };
    assert!(!refused(&parameters, &x, &y));
    let mut controls = 0;
    for i in 0..parameters.len() {
        let mut other = parameters.clone();
        other[i] += 1e-3;
        assert!(refused(&other, &x, &y), "parameter {i} off by a thousandth");
        controls += 1;
    }
    // A row less in the mean, a row twice.
    assert!(refused(&parameters, &x[6..], &y[5..]));
    assert!(refused(&parameters, &[&x[..], &x[..6]].concat(), &[&y[..], &y[..5]].concat()));
    println!("negative controls: {} refused", controls + 2);
}

/// A row's share of a step may be too small to change a parameter at all, while that of the whole mini-batch is not: it has to
/// be summed up before it is added.
#[test]
fn the_small_shares_of_many_rows_are_not_lost() {
    let rows = 4096_u16;
    for (device, kind) in common::devices_and_plans() {
        for width in [1, 3] {
            // z = w + b = 2, y = 1: every gradient is 1, of which each row has 1/4096.
            let arch = Arch::new(1, &[(width, Activation::Identity)], Cost::Quadratic);
            let mut net = arch.build(&device, kind, 1);
            net.set_parameters(&vec![1.0; 2 * width]).expect("finite");
            let (x, y) = (vec![1.0; rows.into()], vec![1.0; usize::from(rows) * width]);
            let eta = 0.3 * f32::EPSILON * f32::from(rows);
            net.update_mini_batch(&x, &y, arch.cost, Sgd::new(eta)).expect("a step");
            for (i, p) in net.parameters().expect("parameters").iter().enumerate() {
                let moved = 1.0 - p;
                let near = (moved - eta).abs() <= 0.01 * eta;
                assert!(near, "{device}, {kind} plan: parameter {i} moved by {moved:e}, not {eta:e}");
            }
        }
    }
}

/// Few rows of a network on a GPU are answered by the host, with its bits, and with the parameters of today; more by the device.
#[test]
fn few_rows_are_for_the_host() {
    let arch = Arch::new(6, &[(9, Activation::Tanh), (4, Activation::Sigmoid)], Cost::Quadratic);
    let (x, y) = arch.data(40, 3);
    for device in common::devices() {
        let mut net = arch.build(&device, PlanKind::Fused, 1);
        let mut host = arch.build(&Device::cpu_with_threads(1), PlanKind::Fused, 1);
        for round in 0..3 {
            net.update_mini_batch(&x, &y, arch.cost, Sgd::new(0.5)).expect("a step");
            host.set_parameters(&net.parameters().expect("parameters")).expect("finite");
            for rows in [1, 16, 3] {
                let (x, mut outputs) = (&x[..6 * rows], vec![f32::NAN; 4 * rows]);
                net.predict_into(x, &mut outputs).expect("outputs");
                let submitted = net.counters().submissions;
                assert_eq!(bits(&net.predict(x).expect("outputs")), bits(&outputs), "{device}, round {round}");
                if device.kind() == "gpu" {
                    assert_eq!(net.counters().submissions, submitted, "{device}: the device was asked for {rows} rows");
                    let asked = net.predict_on_device(x).expect("outputs");
                    assert!(net.counters().submissions > submitted, "{device}: the device was not asked");
                    assert!(asked.iter().zip(&outputs).all(|(a, b)| (a - b).abs() < 1e-5), "{device}");
                }
                assert_eq!(
                    bits(&outputs),
                    bits(&host.predict(x).expect("outputs")),
                    "{device}, round {round}, {rows} rows"
                );
            }
        }
        let submitted = net.counters().submissions;
        assert_eq!(net.predict(&x).expect("outputs").len(), 160);
        assert!(net.counters().submissions > submitted, "{device}: 40 rows are for the device");
        let error = net.predict_into(&x[..12], &mut [0.0; 7]).expect_err("7 numbers for 2 rows");
        assert!(matches!(error, wgrad::Error::Shape { .. }), "{error}");
    }
}
