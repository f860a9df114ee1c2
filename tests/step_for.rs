//! Training in slices of time gives what training in one go gives, and does not wait for a GPU.
#![cfg(all(feature = "gpu", feature = "blocking"))]
#![allow(clippy::print_stdout, reason = "what was counted is the result of these tests")]

mod common;

use std::time::Duration;

use wgrad::{Activation, Cost, Dataset, Device, EpochReport, Error, Network, Sgd, Trainer, data};

const EPOCHS: usize = 3;

fn digits() -> Dataset {
    data::synthetic_digits(230, 5).expect("digits")
}

fn net(device: &Device) -> Network {
    let net = Network::new(784).dense(12, Activation::Tanh).dense(10, Activation::Sigmoid).seed(4);
    net.build(device).expect("a small net")
}

fn trainer() -> Trainer<'static> {
    Trainer::new(Cost::BinaryCrossEntropy, Sgd::new(0.3)).batch_size(7).epochs(EPOCHS).seed(9)
}

/// The bits of the parameters.
fn bits(net: &Network) -> Vec<u32> {
    net.parameters().expect("parameters").into_iter().map(f32::to_bits).collect()
}

/// Trains in slices; returns the reports and how many calls and steps there were.
fn in_slices(net: &mut Network, budget: Duration) -> (Vec<EpochReport>, usize, usize) {
    let mut run = trainer().start(net, &digits()).expect("a run");
    let (mut reports, mut calls, mut steps) = (Vec::new(), 0, 0);
    while reports.len() < EPOCHS {
        let stepped = run.step_for(budget).expect("a slice");
        reports.extend(stepped.epoch);
        steps += stepped.steps;
        calls += 1;
        assert!(calls < 1_000_000, "it never ends: {run:?}");
        if stepped.steps == 0 {
            // The rest of a frame, while the device is busy.
            std::thread::sleep(Duration::from_micros(100));
        }
    }
    (reports, calls, steps)
}

#[test]
fn slices_of_any_length_are_a_fit() {
    let mut devices = vec![Device::cpu()];
    devices.extend(common::adapters());
    for device in devices {
        let mut whole = net(&device);
        let history = trainer().fit(&mut whole, &digits(), None).expect("a fit");
        for micros in [0, 300, 4_000, 10_000_000] {
            let mut sliced = net(&device);
            let (reports, calls, steps) = in_slices(&mut sliced, Duration::from_micros(micros));
            println!("{device}, {micros} us: {steps} steps in {calls} calls");
            assert_eq!(steps, EPOCHS * 33, "{device}: 230 rows are 33 mini-batches of 7");
            assert!(bits(&whole) == bits(&sliced), "{device}, {micros} us: other bits than fit");
            for (report, fit) in reports.iter().zip(&history.epochs) {
                assert_eq!(report.epoch, fit.epoch);
                assert!(report.train_cost.to_bits() == fit.train_cost.to_bits(), "{report:?} {fit:?}");
                assert!(report.train_accuracy.to_bits() == fit.train_accuracy.to_bits(), "{report:?} {fit:?}");
            }
        }
        let other = net(&device);
        assert!(bits(&whole) != bits(&other), "{device}: nothing was trained");
    }
}

#[test]
fn the_network_can_be_asked_in_between() {
    let mut devices = vec![Device::cpu()];
    devices.extend(common::adapters());
    for device in devices {
        let mut net = net(&device);
        let image = digits().input_row(0).expect("an image");
        let mut run = trainer().start(&mut net, &digits()).expect("a run");
        let before = run.network().predict(&image).expect("outputs");
        while run.step_for(Duration::from_millis(1)).expect("a slice").epoch.is_none() {}
        let after = run.network().predict(&image).expect("outputs");
        assert!(before != after, "{device}");
    }
}

#[test]
fn divergence_is_named() {
    let device = Device::cpu();
    let mut net = Network::new(784)
        .dense(12, Activation::Relu)
        .dense(10, Activation::Identity)
        .build(&device)
        .expect("a small net");
    let trainer = Trainer::new(Cost::Quadratic, Sgd::new(1e6)).batch_size(7);
    let mut run = trainer.start(&mut net, &digits()).expect("a run");
    let error = loop {
        match run.step_for(Duration::from_millis(1)) {
            Ok(stepped) => assert!(stepped.epoch.is_none(), "a cost that is not finite has no report"),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, Error::Diverged { epoch: 1, step, .. } if step > 1), "{error}");
    drop(run);
    assert_eq!(net.parameters().expect("they can be read").len(), net.parameter_count());
}
