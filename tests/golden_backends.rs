//! The backends against numbers from `numpy`, through the public API: the CPU backend and every adapter, with every plan.
//!
//! A value may be off by what [`common::expect`] derives for it from the case alone: `(8 + 2 sqrt(K)) * 2^-23` of its scale.
//! Each step starts from the file's parameters, rounded to `f32`, since bounds of bounds would soon allow anything. All steps
//! in one go have to end within 1e-5 of the largest number of each array.

#![cfg(feature = "blocking")]
#![allow(clippy::print_stdout, reason = "the adapters, the values and the worst errors are the result of these tests")]

mod common;
#[path = "common/golden.rs"]
mod golden_file;

use common::expect::{Expected, exact, within};
use common::nets::{Arch, arena};
use golden_file::{Case, Comparison};
use wgrad::plan::PlanKind;
use wgrad::real::Real;
use wgrad::verify::{Tracked, Worst, bound};
use wgrad::{Activation, Cost, Device, Network, Sgd};

/// Some thirty times what the three steps are off by in practice.
const FREE_RUN: f64 = 1e-5;

/// What the file starts from is exact in `f32`, as another test shows.
#[allow(clippy::cast_possible_truncation, reason = "nothing is lost")]
fn f32s(values: &[f64]) -> Vec<f32> {
    values.iter().map(|&v| v as f32).collect()
}

fn arch(case: &Case) -> Arch {
    let dense = case.sizes[1..].iter().copied().zip(case.activations.iter().copied()).collect();
    Arch { inputs: case.sizes[0], dense, cost: case.cost_function }
}

/// What a backend is given, so that a control can give it something else.
#[derive(Clone)]
struct Given {
    arch: Arch,
    parameters: Vec<f32>,
    x: Vec<f32>,
    y: Vec<f32>,
    eta: f32,
}

impl Given {
    fn new(case: &Case) -> Self {
        let arch = arch(case);
        let layers = arch.build(&Device::cpu(), PlanKind::Fused, 0).layers().to_vec();
        let parameters = f32s(&arena(&layers, &case.weights, &case.biases));
        Self { arch, parameters, x: f32s(&case.x), y: f32s(&case.y), eta: f32s(&[case.eta])[0] }
    }
}

/// How a backend did on a case.
#[derive(Debug, Clone, Copy, Default)]
struct Report {
    worst: Worst,
    /// The widest bound, as a part of the largest wanted value of its array.
    widest: f64,
}

impl Report {
    fn take(&mut self, what: &str, got: &[f32], want: &[f64], tracked: &[Tracked], terms: u64) -> Result<(), String> {
        self.worst.merge(&within(what, got, want, tracked, terms)?);
        let largest = want.iter().fold(0.0_f64, |m, v| m.max(v.abs()));
        self.widest = tracked.iter().fold(self.widest, |w, t| w.max(bound(terms, t) / largest));
        Ok(())
    }
}

/// All that a backend computes of a case against all that the file has of it.
fn compare(case: &Case, given: &Given, device: &Device, kind: PlanKind) -> Result<Report, String> {
    let mut net = given.arch.build(device, kind, 0);
    let layers = net.layers().to_vec();
    let failed = |error: wgrad::Error| error.to_string();
    net.set_parameters(&given.parameters).map_err(failed)?;

    // What is wanted, and how far off it may be, comes from the case, whatever the backend is given.
    let own = Given::new(case);
    let mut tracked = exact(&own.parameters);
    let expected = Expected::new(&layers, own.arch.cost, &tracked, &own.x, &own.y);
    let k = expected.terms;
    assert!(!expected.kinked, "{}: a relu is at its kink", case.name);
    let mut report = Report::default();
    let cost = given.arch.cost;
    let cost_of = |net: &Network| net.cost(&given.x, &given.y, cost).map_err(failed);

    let outputs = net.predict_on_device(&given.x).map_err(failed)?;
    report.take("a_L", &outputs, &case.a[case.a.len() - 1], &expected.outputs, k)?;
    report.take("cost", &[cost_of(&net)?], &[case.cost], &[expected.cost], k)?;
    let gradients = net.gradients(&given.x, &given.y, cost).map_err(failed)?;
    report.take("cost beside the gradients", &[gradients.cost], &[case.cost], &[expected.cost], k)?;
    for (l, layer) in layers.iter().enumerate() {
        let (w, b) = (&expected.gradients[layer.weights()], &expected.gradients[layer.biases()]);
        report.take(&format!("nabla_w of layer {}", l + 1), gradients.nabla_w(l + 1), &case.nabla_w[l], w, k)?;
        report.take(&format!("nabla_b of layer {}", l + 1), gradients.nabla_b(l + 1), &case.nabla_b[l], b, k)?;
    }

    for (number, step) in (1..).zip(&case.steps) {
        // Once the step is done, its end is the start of the next.
        let expected = Expected::new(&layers, own.arch.cost, &tracked, &own.x, &own.y);
        let before = format!("cost before step {number}");
        report.take(&before, &[cost_of(&net)?], &[step.cost], &[expected.cost], k)?;
        net.update_mini_batch(&given.x, &given.y, cost, Sgd::new(given.eta)).map_err(failed)?;
        expected.step(&mut tracked, own.eta);
        let got = net.parameters().map_err(failed)?;
        let want = arena(&layers, &step.weights, &step.biases);
        report.take(&format!("parameters after step {number}"), &got, &want, &tracked, k)?;
        net.set_parameters(&f32s(&want)).map_err(failed)?;
        tracked = want.iter().map(|&p| rounded(p)).collect();
    }
    let expected = Expected::new(&layers, own.arch.cost, &tracked, &own.x, &own.y);
    report.take("cost after all steps", &[cost_of(&net)?], &[case.cost_after], &[expected.cost], k)?;
    Ok(report)
}

/// A number of the file that a backend gets rounded to `f32`: off by 2^-24 of itself, which is 8 times 2^-23 of the scale here.
fn rounded(value: f64) -> Tracked {
    let mut tracked = Tracked::exact(f32s(&[value])[0]);
    (tracked.value, tracked.scale) = (value, value.abs() / 16.0);
    tracked
}

/// All steps without a stop between them.
fn compare_free_run(case: &Case, device: &Device, kind: PlanKind) -> Result<golden_file::Report, String> {
    let given = Given::new(case);
    let failed = |error: wgrad::Error| error.to_string();
    let mut net = given.arch.build(device, kind, 0);
    net.set_parameters(&given.parameters).map_err(failed)?;
    for _ in &case.steps {
        net.update_mini_batch(&given.x, &given.y, given.arch.cost, Sgd::new(given.eta)).map_err(failed)?;
    }
    let got = net.parameters().map_err(failed)?;
    let last = case.steps.last().expect("a step");
    let mut comparison = Comparison::new(case, FREE_RUN);
    for (l, layer) in net.layers().iter().enumerate() {
        comparison.array(&format!("w of layer {}", l + 1), &got[layer.weights()], &last.weights[l]);
        comparison.array(&format!("b of layer {}", l + 1), &got[layer.biases()], &last.biases[l]);
    }
    let cost = net.cost(&given.x, &given.y, given.arch.cost).map_err(failed)?;
    comparison.value("cost", cost, case.cost_after);
    comparison.finish()
}

/// How many numbers a case has to compare.
fn values(case: &Case) -> u64 {
    let parameters: usize = case.weights.iter().chain(&case.biases).map(Vec::len).sum();
    let outputs = case.a[case.a.len() - 1].len();
    (outputs + 2 + parameters + case.steps.len() * (1 + parameters) + 1) as u64
}

#[test]
fn backends_compute_what_numpy_does() {
    for (device, kind) in common::devices_and_plans() {
        let mut total = Report::default();
        let mut free = golden_file::Report::default();
        for case in golden_file::load() {
            let report = compare(&case, &Given::new(&case), &device, kind)
                .unwrap_or_else(|problem| panic!("{device}, {kind} plan: {}: {problem}", case.name));
            assert_eq!(report.worst.elements, values(&case), "{device}: {}: some values were not compared", case.name);
            total.worst.merge(&report.worst);
            // Not so wide that anything would pass. Where outputs saturate, weighted inputs beyond 100 go into an exponential.
            let limit = if case.name.starts_with("saturated") { 0.03 } else { 2e-3 };
            assert!(report.widest < limit, "{}: a bound is {:e} of the largest of its array", case.name, report.widest);
            let run = compare_free_run(&case, &device, kind)
                .unwrap_or_else(|problem| panic!("{device}, {kind} plan, all steps at once: {problem}"));
            free.values += run.values;
            free.worst = free.worst.max(run.worst);
        }
        let (values, worst) = (total.worst.elements, total.worst.ratio);
        println!("{device}, {kind} plan: {values} values, worst {worst:.3} of its bound");
        println!("  all steps at once: {} values, worst {:.1e} of the largest of its array", free.values, free.worst);
        assert!(values > 1500 && free.values > 300, "{values}, {}", free.values);
    }
}

/// A way to give a backend something else than the case has.
type Spoil = fn(&mut Given);

#[test]
fn a_backend_that_computes_something_else_is_refused() {
    let case = golden_file::load().remove(0);
    assert_eq!((case.cost_function, case.activations[0]), (Cost::Quadratic, Activation::Sigmoid));
    let spoils: [(&str, Spoil); 7] = [
        ("one weight off by a ten-thousandth", |given| given.parameters[1] *= 1.0001),
        ("one bias off by a ten-thousandth", |given| *given.parameters.last_mut().expect("one") *= 1.0001),
        ("another learning rate", |given| given.eta *= 1.001),
        ("another activation", |given| given.arch.dense[0].1 = Activation::Tanh),
        ("another cost", |given| given.arch.cost = Cost::BinaryCrossEntropy),
        ("two inputs exchanged", |given| given.x.swap(0, 1)),
        ("two targets exchanged", |given| given.y.swap(0, 1)),
    ];
    let mut refused = 0;
    for (device, kind) in common::devices_and_plans() {
        for (what, spoil) in spoils {
            let mut given = Given::new(&case);
            spoil(&mut given);
            assert!(compare(&case, &given, &device, kind).is_err(), "{device}, {kind} plan: {what} passed");
            refused += 1;
        }
    }
    println!("negative controls: {refused} refused");
}

#[test]
fn the_comparison_refuses_what_is_just_past_its_bound() {
    let want = [0.75, -2.5, 1e-3];
    let tracked = exact(&f32s(&want));
    let want: Vec<f64> = tracked.iter().map(|t| t.value).collect();
    let verdict = |got: &[f32], want: &[f64]| within("test", got, want, &tracked, 4).map(|worst| worst.elements);
    let good = f32s(&want);
    assert_eq!(verdict(&good, &want), Ok(3));
    for i in 0..want.len() {
        for (factor, passes) in [(0.9, true), (1.1, false), (-0.9, true), (-1.1, false)] {
            let mut got = good.clone();
            got[i] = f32s(&[want[i] + factor * bound(4, &tracked[i])])[0];
            assert_eq!(verdict(&got, &want).is_ok(), passes, "element {i} off by {factor} of its bound");
        }
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut got = good.clone();
            got[i] = bad;
            assert!(verdict(&got, &want).is_err(), "{bad}");
        }
        for bad in [f64::NAN, f64::INFINITY, want[i] * (1.0 + 1e-8)] {
            let mut want = want.clone();
            want[i] = bad;
            assert!(verdict(&good, &want).is_err(), "wanted {bad}");
        }
    }
    assert!(verdict(&good[..2], &want).is_err() && verdict(&good, &want[..2]).is_err());
    assert!(within("test", &[], &[], &[], 4).is_err());
}
