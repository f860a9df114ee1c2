//! A population gives each of its networks what training it alone gives, bit for bit.

#![cfg(feature = "blocking")]
#![allow(clippy::print_stdout, reason = "what was compared, and where, is the result of these tests")]

mod common;

use wgrad::plan::{Limits, PlanKind};
use wgrad::{Activation, Cost, Dataset, Device, Error, Init, Network, NetworkBuilder, Population, Sgd, Trainer, data};

const EPOCHS: usize = 2;
/// Of 120 rows the last mini-batch gets 10.
const BATCH: usize = 11;

fn digits() -> Dataset {
    data::synthetic_digits(120, 7).expect("digits")
}

/// Networks, learning rates, seeds of the order.
fn members() -> Vec<(NetworkBuilder, Sgd, u64)> {
    let inits = [Init::ScaledNormal, Init::StandardNormal];
    (0..5_u8)
        .map(|i| {
            let net =
                Network::new(784).dense(13, Activation::Tanh).dense(7, Activation::Relu).dense(10, Activation::Softmax);
            let net = net.seed(u64::from(i) + 3).init(inits[usize::from(i) % 2]);
            (net, Sgd::new(0.02 * f32::from(i + 1)), u64::from(i) * 5)
        })
        .collect()
}

fn population(device: &Device) -> Population {
    let mut population = Population::new(device, Cost::CategoricalCrossEntropy).batch_size(BATCH).epochs(EPOCHS);
    for (net, sgd, seed) in members() {
        population.add(net, sgd, seed).expect("a member");
    }
    population
}

fn bits(net: &Network) -> Vec<u32> {
    net.parameters().expect("parameters").into_iter().map(f32::to_bits).collect()
}

/// The devices, and one on which not all members fit into a dispatch at once.
fn devices() -> Vec<(Device, usize)> {
    let mut devices = vec![];
    for device in common::devices() {
        if device.kind() != "cpu" {
            // The data set takes 94 KB, and what a member works in some 73 KB: two fit, but not all five.
            let small = Limits { max_binding_bytes: 200_000, ..device.limits() };
            devices.push((device.clone().with_limits(small), 2));
        }
        let all = if device.kind() == "cpu" { 0 } else { 5 };
        devices.push((device, all));
    }
    devices
}

#[test]
fn each_network_is_as_if_alone() {
    for (device, at_once) in devices() {
        let mut together = population(&device);
        let report = together.fit(&digits()).expect("training");
        // Its kernel binds eight buffers.
        if device.limits().max_storage_buffers < 8 {
            assert_eq!((report.at_once, report.plan), (1, PlanKind::Textbook), "{device}");
        } else if at_once > 0 {
            assert_eq!((report.at_once, report.plan), (at_once, PlanKind::Persistent), "{device}");
        }
        let mut seen = Vec::new();
        for (i, (net, sgd, seed)) in members().into_iter().enumerate() {
            let mut alone = net.plan(PlanKind::Persistent).build(&device).expect("a network");
            let before = bits(&alone);
            let mut trainer = Trainer::new(Cost::CategoricalCrossEntropy, sgd);
            trainer = trainer.batch_size(BATCH).epochs(EPOCHS).seed(seed);
            let history = trainer.fit(&mut alone, &digits(), None).expect("training");
            let after = bits(&alone);
            assert!(before != after, "{device}: network {i} learns nothing");
            assert!(after == bits(&together.networks()[i]), "{device}: network {i}: other bits than alone");
            let member = report.members[i].as_ref().expect("it does not diverge");
            let told = |history: &wgrad::History| -> Vec<(u64, u64)> {
                history.epochs.iter().map(|e| (e.train_cost.to_bits(), e.train_accuracy.to_bits())).collect()
            };
            assert_eq!(told(member), told(&history), "{device}: network {i}");
            seen.push(after);
        }
        // Members that were mixed up would not be noticed if they were alike.
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), 5, "{device}");
        println!("{device}: 5 networks, {} at once by the {} plan", report.at_once, report.plan);
    }
}

/// What takes one workgroup seconds is not for one: a watchdog would end it. And a plan that a member was given is its own.
#[test]
fn large_steps_and_forced_plans_are_trained_one_after_another() {
    for device in common::devices().into_iter().filter(|device| device.kind() != "cpu") {
        let net = |width, kind: Option<PlanKind>| {
            let net = Network::new(784).dense(width, Activation::Tanh).dense(10, Activation::Sigmoid).seed(4);
            kind.into_iter().fold(net, NetworkBuilder::plan)
        };
        // 3 * 794 * 600 * 100 multiplications a step, where 2^27 are the most.
        for (width, kind) in [(600, None), (9, Some(PlanKind::Fused)), (9, Some(PlanKind::Textbook))] {
            let mut population = Population::new(&device, Cost::Quadratic).batch_size(100).epochs(1);
            for _ in 0..2 {
                population.add(net(width, kind), Sgd::new(0.5), 2).expect("a member");
            }
            let report = population.fit(&digits()).expect("training");
            assert_eq!(report.at_once, 1, "{device}, {width} wide");
            assert_ne!(report.plan, PlanKind::Persistent, "{device}, {width} wide");
            // The fused plan's kernels bind up to eight buffers: where there are fewer, the textbook's do its work.
            let few = device.limits().max_storage_buffers < 8;
            let own = kind.map(|kind| if few { PlanKind::Textbook } else { kind });
            assert!(own.is_none_or(|own| own == report.plan), "{device}: {} where {kind:?} was asked for", report.plan);
            assert!(bits(&population.networks()[0]) == bits(&population.networks()[1]), "{device}");
        }
    }
}

/// The persistent plan has no dropout. One member that drops is enough: its dropout must not be lost.
#[test]
fn a_member_with_dropout_is_as_if_alone() {
    for device in common::devices() {
        let net =
            |rate| Network::new(784).dense(9, Activation::Tanh).dropout(rate).dense(10, Activation::Sigmoid).seed(4);
        let rates = [0.0, 0.5, 0.25];
        let mut population = Population::new(&device, Cost::Quadratic).batch_size(BATCH).epochs(EPOCHS);
        for rate in rates {
            population.add(net(rate), Sgd::new(0.5), 2).expect("a member");
        }
        population.fit(&digits()).expect("training");
        let mut seen = Vec::new();
        for (rate, member) in rates.into_iter().zip(population.networks()) {
            let mut alone = net(rate).build(&device).expect("a network");
            let mut trainer = Trainer::new(Cost::Quadratic, Sgd::new(0.5)).batch_size(BATCH).epochs(EPOCHS).seed(2);
            trainer.fit(&mut alone, &digits(), None).expect("training");
            // Not assert_eq: nobody wants to read thousands of numbers.
            assert!(bits(&alone) == bits(member), "{device}: rate {rate}: other bits than alone");
            seen.push(bits(member));
        }
        assert!(seen[0] != seen[1] && seen[1] != seen[2], "{device}: dropout does nothing");
    }
}

#[test]
fn one_that_diverges_does_not_hold_the_others_up() {
    for device in common::devices() {
        let net = |seed| Network::new(784).dense(5, Activation::Relu).dense(10, Activation::Identity).seed(seed);
        let mut population = Population::new(&device, Cost::Quadratic).epochs(2);
        for eta in [0.001, 1e30, 0.002] {
            population.add(net(2), Sgd::new(eta), 1).expect("a member");
        }
        let report = population.fit(&digits()).expect("a run");
        assert!(report.members[0].is_ok() && report.members[2].is_ok(), "{device}: {:?}", report.members);
        assert!(matches!(report.members[1], Err(Error::Diverged { .. })), "{device}: {:?}", report.members[1]);
        let mut alone = net(2).plan(PlanKind::Persistent).build(&device).expect("a network");
        Trainer::new(Cost::Quadratic, Sgd::new(0.002))
            .epochs(2)
            .seed(1)
            .fit(&mut alone, &digits(), None)
            .expect("a fit");
        assert!(bits(&alone) == bits(&population.networks()[2]), "{device}: other bits than alone");
    }
}

#[test]
fn the_ensemble_is_the_mean_of_the_outputs() {
    let device = Device::cpu();
    let mut population = population(&device);
    population.fit(&digits()).expect("training");
    let x = digits().input_row(4).expect("a row");
    let mut want = [0.0_f64; 10];
    for net in population.networks() {
        for (want, a) in want.iter_mut().zip(net.predict(&x).expect("outputs")) {
            *want += f64::from(a) / 5.0;
        }
    }
    let got = population.predict(&x).expect("outputs");
    assert!(got.iter().zip(want).all(|(&got, want)| (f64::from(got) - want).abs() < 1e-6), "{got:?} {want:?}");

    // Right answers and cost, counted by hand; more rows than one chunk.
    let many = data::synthetic_digits(1203, 9).expect("digits");
    let evaluation = population.evaluate_ensemble(&many).expect("an evaluation");
    let (mut right, mut cost) = (0, 0.0);
    for row in 0..many.len() {
        let a = population.predict(&many.input_row(row).expect("a row")).expect("outputs");
        let y = many.target_row(row).expect("a row");
        let top = (0..10).rev().max_by(|&i, &j| a[i].total_cmp(&a[j])).expect("ten");
        right += usize::from(y[top] > 0.5);
        cost += a.iter().zip(&y).map(|(a, y)| 0.5 * f64::from(a - y).powi(2)).sum::<f64>();
    }
    assert_eq!(evaluation.rows, 1203);
    assert!((evaluation.accuracy * 1203.0 - f64::from(u32::try_from(right).expect("few"))).abs() < 1e-9);
    assert!((evaluation.cost * 1203.0 / cost - 1.0).abs() < 1e-5, "{} {cost}", evaluation.cost);
    assert!(right > 0 && right < 1203);
}

#[test]
fn what_cannot_be_is_refused() {
    let device = Device::cpu();
    let mut empty = Population::new(&device, Cost::Quadratic);
    assert!(matches!(empty.fit(&digits()), Err(Error::Empty { .. })));
    assert!(matches!(empty.predict(&[0.0; 784]), Err(Error::Empty { .. })));
    assert!(matches!(empty.evaluate_ensemble(&digits()), Err(Error::Empty { .. })));

    let mut population = population(&device);
    let other = Network::new(784).dense(14, Activation::Tanh).dense(7, Activation::Relu).dense(10, Activation::Softmax);
    let refused = population.add(other, Sgd::new(0.1), 0).expect_err("other layers");
    assert!(matches!(refused, Error::Architecture { .. }), "{refused}");
    let sigmoid = || Network::new(784).dense(10, Activation::Sigmoid);
    let mut unpaired = Population::new(&device, Cost::CategoricalCrossEntropy);
    assert!(matches!(unpaired.add(sigmoid(), Sgd::new(0.1), 0), Err(Error::Pairing { .. })));
    assert!(matches!(population.add(sigmoid(), Sgd::new(-1.0), 0), Err(Error::InvalidOption { .. })));
    assert_eq!(population.networks().len(), 5, "what was refused is not in it");

    let narrow = Dataset::new(vec![0.5; 6], 3, vec![1.0; 20], 10).expect("data");
    assert!(matches!(population.fit(&narrow), Err(Error::Shape { .. })));
    let narrow = Dataset::new(vec![0.5; 6], 3, vec![1.0; 2], 1).expect("data");
    assert!(matches!(population.fit(&narrow), Err(Error::Several { problems }) if problems.len() == 2));
    let mut zero = Population::new(&device, Cost::Quadratic).epochs(0);
    zero.add(sigmoid(), Sgd::new(0.1), 0).expect("a member");
    assert!(matches!(zero.fit(&digits()), Err(Error::InvalidOption { .. })));
    let mut zero = Population::new(&device, Cost::Quadratic).batch_size(0);
    zero.add(sigmoid(), Sgd::new(0.1), 0).expect("a member");
    assert!(matches!(zero.fit(&digits()), Err(Error::InvalidOption { .. })));
}

/// What the persistent plan cannot do falls back to the fused one, and says so.
#[test]
fn where_the_plan_does_not_fit_they_train_one_after_another() {
    for device in common::adapters() {
        let cramped = device.with_limits(Limits { max_iterations: 700, ..Limits::HOST });
        let mut population = population(&cramped);
        let report = population.fit(&digits()).expect("training");
        assert_eq!(report.at_once, 1, "{cramped}");
        assert!(report.members.iter().all(Result::is_ok), "{:?}", report.members);
    }
}
