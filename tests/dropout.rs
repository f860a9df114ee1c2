//! Dropout: what is dropped, that the rest is scaled, that errors go back through what is left, and that predictions see none of it.

#![cfg(feature = "blocking")]
#![allow(clippy::print_stdout, reason = "the devices and what was compared on them are the result of these tests")]

mod common;

use common::nets::{Arch, arena, bits, examples};
use wgrad::plan::PlanKind;
use wgrad::reference::Layers;
use wgrad::{Activation, Cost, Dataset, Device, Error, Network, Sgd, Trainer};

const COST: Cost = Cost::CategoricalCrossEntropy;

/// A layer of 3 inputs, so many hidden neurons, and 4 outputs.
fn net(device: &Device, kind: PlanKind, hidden: usize, rate: f32, seed: u64) -> Network {
    Network::new(3)
        .dense(hidden, Activation::Tanh)
        .dropout(rate)
        .dense(4, Activation::Softmax)
        .seed(seed)
        .plan(kind)
        .build(device)
        .expect("a network that can be")
}

fn arch(hidden: usize) -> Arch {
    Arch::new(3, &[(hidden, Activation::Tanh), (4, Activation::Softmax)], COST)
}

/// Which of the hidden neurons were dropped for a single row: the weights that lead on from those did not move.
fn dropped(before: &[f32], after: &[f32], net: &Network, hidden: usize) -> Vec<bool> {
    let w = net.layers()[1].weights();
    let (before, after) = (&before[w.clone()], &after[w]);
    (0..hidden).map(|k| (0..4).all(|o| before[o * hidden + k].to_bits() == after[o * hidden + k].to_bits())).collect()
}

/// The reference's step on one row: with some neurons dropped, the net is one whose weights from them are 0, and whose others are
/// multiplied by `1 / (1 - rate)`.
fn reference_step(net: &Network, before: &[f32], x: &[f32], y: &[f32], mask: &[bool], rate: f32, eta: f64) -> Vec<f64> {
    let hidden = mask.len();
    let factor = |k: usize| if mask[k] { 0.0 } else { 1.0 / (1.0 - f64::from(rate)) };
    let mut reference = arch(hidden).reference(net.layers(), before);
    let (mut weights, mut biases) = (reference.weights.clone(), reference.biases.clone());
    for (i, w) in reference.weights[1].iter_mut().enumerate() {
        *w *= factor(i % hidden);
    }
    let (nabla_b, nabla_w) = reference.mean_gradient(&examples(x, 3, y, 4)).expect("a gradient");
    let step = |p: &mut Layers, nabla: &Layers, factor: &dyn Fn(usize, usize) -> f64| {
        for (l, (p, nabla)) in p.iter_mut().zip(nabla).enumerate() {
            p.iter_mut().zip(nabla).enumerate().for_each(|(i, (p, g))| *p -= eta * factor(l, i) * g);
        }
    };
    step(&mut weights, &nabla_w, &|l, i| if l == 1 { factor(i % hidden) } else { 1.0 });
    step(&mut biases, &nabla_b, &|_, _| 1.0);
    arena(net.layers(), &weights, &biases)
}

#[test]
fn a_step_is_that_of_the_net_that_is_left() {
    let (hidden, eta) = (40, 0.5);
    for (device, kind) in common::devices_and_plans() {
        let (mut compared, mut worst) = (0, 0.0_f64);
        for (seed, rate) in [(1, 0.5), (2, 0.2), (3, 0.9)] {
            let mut net = net(&device, kind, hidden, rate, seed);
            let (x, y) = arch(hidden).data(5, seed);
            let (mut masks, mut before) = (Vec::new(), net.parameters().expect("parameters"));
            for (x, y) in x.chunks(3).zip(y.chunks(4)) {
                net.update_mini_batch(x, y, COST, Sgd::new(eta)).expect("a step");
                let after = net.parameters().expect("parameters");
                let mask = dropped(&before, &after, &net, hidden);
                let want = reference_step(&net, &before, x, y, &mask, rate, eta.into());
                for (&got, &want) in after.iter().zip(&want) {
                    let far = (f64::from(got) - want).abs();
                    assert!(far <= 1e-5, "{device}, {kind} plan, rate {rate}: {got}, not {want}");
                    worst = worst.max(far);
                    compared += 1;
                }
                masks.push(mask);
                before = after;
            }
            assert!(masks.windows(2).all(|pair| pair[0] != pair[1]), "{device}: each step has its own: {masks:?}");
            let share = masks.concat().iter().filter(|d| **d).count() as f64 / (5 * hidden) as f64;
            // 200 draws: four deviations.
            let deviation = (f64::from(rate) * (1.0 - f64::from(rate)) / 200.0).sqrt();
            assert!((share - f64::from(rate)).abs() < 4.0 * deviation, "{device}: {share} of rate {rate}");
        }
        println!("{device}, {kind} plan: {compared} parameters, within {worst:.1e}");
    }
}

#[test]
fn the_same_is_dropped_on_every_device() {
    let masks = |device: &Device, kind: PlanKind, seed: u64| {
        let mut net = net(device, kind, 64, 0.5, seed);
        let (x, y) = arch(64).data(1, 9);
        let before = net.parameters().expect("parameters");
        net.update_mini_batch(&x, &y, COST, Sgd::new(0.5)).expect("a step");
        dropped(&before, &net.parameters().expect("parameters"), &net, 64)
    };
    let first = masks(&Device::cpu(), PlanKind::Fused, 5);
    for (device, kind) in common::devices_and_plans() {
        assert_eq!(masks(&device, kind, 5), first, "{device}, {kind} plan");
        assert_ne!(masks(&device, kind, 6), first, "{device}, {kind} plan: the seed does nothing");
    }
}

#[test]
fn rows_differ_and_runs_repeat() {
    let (x, y) = arch(20).data(40, 4);
    let data = Dataset::new(x.clone(), 3, y.clone(), 4).expect("data");
    for (device, kind) in common::devices_and_plans() {
        let run = |rate: f32, epochs: &[usize]| {
            let mut net = net(&device, kind, 20, rate, 3);
            for &epochs in epochs {
                let mut trainer = Trainer::new(COST, Sgd::new(0.2)).batch_size(40).epochs(epochs);
                trainer.fit(&mut net, &data, Some(&data)).expect("training");
            }
            bits(&net.parameters().expect("parameters"))
        };
        let once = run(0.3, &[3]);
        assert_eq!(run(0.3, &[3]), once, "{device}, {kind} plan: not the same twice");
        assert_ne!(run(0.0, &[3]), once, "{device}, {kind} plan: the rate does nothing");
        assert_ne!(run(0.4, &[3]), once, "{device}, {kind} plan: the rate does nothing");
        // With other bits in each row, no neuron is dropped in all of them: each has a part in the step.
        let mut net = net(&device, kind, 20, 0.3, 3);
        let before = net.parameters().expect("parameters");
        net.update_mini_batch(&x, &y, COST, Sgd::new(0.2)).expect("a step");
        let after = net.parameters().expect("parameters");
        assert!(dropped(&before, &after, &net, 20).iter().all(|d| !d), "{device}, {kind} plan");
    }
}

#[test]
fn nothing_is_dropped_where_nothing_is_learned() {
    let (x, y) = arch(20).data(6, 4);
    let data = Dataset::new(x.clone(), 3, y.clone(), 4).expect("data");
    for (device, kind) in common::devices_and_plans() {
        let [without, with] = [0.0, 0.6].map(|rate| net(&device, kind, 20, rate, 3));
        let all = |net: &Network| {
            let gradients = net.gradients(&x, &y, COST).expect("gradients");
            let evaluation = net.evaluate(&data, COST).expect("an evaluation");
            let outputs = net.predict_on_device(&x).expect("outputs");
            (bits(gradients.as_slice()), bits(&outputs), gradients.cost.to_bits(), evaluation.cost.to_bits())
        };
        assert_eq!(all(&without), all(&with), "{device}, {kind} plan");
    }
}

#[test]
fn places_and_rates_that_cannot_be_are_refused() {
    let device = Device::cpu();
    let dense = || Network::new(3).dense(5, Activation::Relu);
    let first = Network::new(3).dropout(0.5).dense(2, Activation::Identity).build(&device);
    assert!(matches!(first, Err(Error::Architecture { .. })), "{first:?}");
    let last = dense().dropout(0.5).build(&device);
    assert!(matches!(last, Err(Error::Architecture { .. })), "{last:?}");
    for rate in [-0.1, 1.0, f32::NAN, f32::INFINITY] {
        let refused = dense().dropout(rate).dense(2, Activation::Identity).build(&device);
        assert!(matches!(refused, Err(Error::InvalidOption { option: "dropout", .. })), "{rate}: {refused:?}");
    }
}
