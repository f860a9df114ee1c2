//! A step by gradients that the caller brings is the step of a mini-batch.

#![cfg(feature = "blocking")]
#![allow(clippy::print_stdout, reason = "what was compared, and where, is the result of these tests")]

mod common;

use wgrad::{Activation, Adam, AdamW, Cost, Device, Error, Momentum, Network, NetworkBuilder, Optimizer, RmsProp, Sgd};

fn net() -> NetworkBuilder {
    Network::new(5).dense(7, Activation::Tanh).dense(3, Activation::Softmax).seed(3)
}

/// Seven rows that are not alike.
fn rows(step: usize) -> (Vec<f32>, Vec<f32>) {
    let number = |i: usize| ((i * 37 + step * 11) % 23) as f32 / 11.5 - 1.0;
    let x = (0..35).map(number).collect();
    let y = (0..21).map(|i| if i % 3 == (i / 3 + step) % 3 { 1.0 } else { 0.0 }).collect();
    (x, y)
}

#[test]
fn gradients_and_update_are_update_mini_batch() {
    let decayed = AdamW::new(0.01).weight_decay(0.1);
    let clipped = Sgd::new(0.5).clip_norm(0.2).max_norm(0.8);
    let all: [Optimizer; 6] = [
        Sgd::new(0.5).into(),
        Momentum::new(0.1).into(),
        RmsProp::new(0.01).into(),
        Adam::new(0.01).into(),
        decayed.into(),
        clipped.into(),
    ];
    let mut compared = 0;
    for (device, kind) in common::devices_and_plans() {
        for optimizer in all {
            let [mut ours, mut theirs] = [(); 2].map(|()| net().plan(kind).build(&device).expect("a network"));
            let before = ours.parameters().expect("parameters");
            for step in 0..5 {
                let (x, y) = rows(step);
                let gradients = ours.gradients(&x, &y, Cost::CategoricalCrossEntropy).expect("gradients");
                ours.update(&gradients, optimizer).expect("a step");
                theirs.update_mini_batch(&x, &y, Cost::CategoricalCrossEntropy, optimizer).expect("a step");
            }
            assert_eq!(ours.optimizer_steps(), 5);
            let [ours, theirs] = [ours, theirs].map(|net| net.parameters().expect("parameters"));
            for ((a, b), start) in ours.iter().zip(&theirs).zip(&before) {
                // Of what has moved, not of what was there.
                let moved = (b - start).abs();
                assert!(
                    (a - b).abs() <= 2e-3 * moved + 2e-5,
                    "{device}, {kind}, {optimizer:?}: {a} and {b} from {start}"
                );
                compared += 1;
            }
            let far = ours.iter().zip(&before).filter(|(a, b)| (*a - *b).abs() > 1e-3).count();
            assert!(far > 20, "{device}, {kind}, {optimizer:?}: {far} parameters moved");
        }
    }
    println!("{compared} parameters compared");
}

#[test]
fn changed_gradients_change_the_step() {
    let mut net = net().build(&Device::cpu()).expect("a network");
    let before = net.parameters().expect("parameters");
    let (x, y) = rows(0);
    let mut gradients = net.gradients(&x, &y, Cost::CategoricalCrossEntropy).expect("gradients");
    gradients.as_mut_slice().fill(0.0);
    gradients.as_mut_slice()[4] = 2.0;
    net.update(&gradients, Sgd::new(0.25)).expect("a step");
    let after = net.parameters().expect("parameters");
    for (i, (a, b)) in after.iter().zip(&before).enumerate() {
        let want = if i == 4 { b - 0.5 } else { *b };
        assert!((a - want).abs() < 1e-6, "{i}: {a} from {b}");
    }
}

#[test]
fn what_cannot_be_is_refused() {
    let mut small = net().build(&Device::cpu()).expect("a network");
    let (x, y) = rows(0);
    let mut gradients = small.gradients(&x, &y, Cost::CategoricalCrossEntropy).expect("gradients");
    let mut other = Network::new(5).dense(3, Activation::Softmax).build(&Device::cpu()).expect("a network");
    let refused = other.update(&gradients, Sgd::new(0.1)).expect_err("another network's");
    assert!(matches!(refused, Error::Shape { .. }) && refused.to_string().contains("5-7-3"), "{refused}");
    assert!(matches!(small.update(&gradients, Sgd::new(-0.1)), Err(Error::InvalidOption { .. })));
    let before = small.parameters().expect("parameters");
    for bad in [f32::NAN, f32::INFINITY] {
        gradients.as_mut_slice()[1] = bad;
        assert!(matches!(small.update(&gradients, Sgd::new(0.1)), Err(Error::NotFinite { .. })));
    }
    assert_eq!(before, small.parameters().expect("parameters"));
    assert_eq!(small.optimizer_steps(), 0);
}
