//! Training as a whole: it learns, each setting does something, callbacks are called, and what goes wrong is said.

#![cfg(feature = "blocking")]
#![allow(clippy::print_stdout, reason = "the devices and what was reached on them are the result of these tests")]

mod common;

use std::ops::ControlFlow;

use common::nets::{Arch, Numbers, arena, bits, examples};
use wgrad::data::synthetic_digits;
use wgrad::kernel::Tiling;
use wgrad::plan::PlanKind;
use wgrad::{Activation, Batches, Cost, Dataset, Device, Error, Event, History, Init, Network, Sgd, Trainer};

fn xor() -> Dataset {
    Dataset::new(vec![0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 1.0, 1.0], 2, vec![0.0, 1.0, 1.0, 0.0], 1).expect("data")
}

// ---- it learns --------------------------------------------------------------------------------------------------

#[test]
fn xor_is_learned() {
    for (device, kind) in common::devices_and_plans() {
        for (cost, eta) in [(Cost::Quadratic, 2.0), (Cost::BinaryCrossEntropy, 0.5)] {
            let arch = Arch::new(2, &[(8, Activation::Tanh), (1, Activation::Sigmoid)], cost);
            let mut net = arch.build(&device, kind, 1);
            let mut trainer = Trainer::new(cost, Sgd::new(eta)).batch_size(4).epochs(400);
            let history = trainer.fit(&mut net, &xor(), Some(&xor())).expect("training");
            let outputs = net.predict(&[0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 1.0, 1.0]).expect("outputs");
            println!("{device}, {kind} plan, {cost}: {outputs:?}");
            assert_eq!(history.final_test_accuracy(), Some(1.0), "{device}, {kind} plan, {cost}");
            for (a, y) in outputs.iter().zip([0.0, 1.0, 1.0, 0.0]) {
                assert!((a - y).abs() < 0.2, "{device}, {kind} plan, {cost}: {outputs:?}");
            }
        }
    }
}

/// The notes' network on digits, trained as the notes do.
fn digits(device: &Device, kind: PlanKind, rows: usize, epochs: usize) -> History {
    let (train, test) = synthetic_digits(rows + 500, 1).expect("digits").split_at(rows).expect("two parts");
    let arch = Arch::new(784, &[(30, Activation::Sigmoid), (10, Activation::Sigmoid)], Cost::Quadratic);
    let mut net = arch.build(device, kind, 1);
    let mut trainer = Trainer::new(Cost::Quadratic, Sgd::new(3.0)).epochs(epochs);
    let history = trainer.fit(&mut net, &train, Some(&test)).expect("training");
    assert_eq!((history.epochs.len(), history.stopped()), (epochs, false));
    assert!(history.epochs.windows(2).all(|pair| pair[1].train_cost < pair[0].train_cost), "{history:?}");
    history
}

#[test]
fn digits_are_learned_on_the_cpu() {
    for kind in PlanKind::ALL {
        let accuracy = digits(&Device::cpu(), kind, 2000, 3).final_test_accuracy().expect("held-out data");
        println!("CPU backend, {kind} plan: {accuracy:.3} of 500 digits after 3 epochs on 2000");
        assert!(accuracy > 0.80, "{kind} plan: {accuracy}");
    }
}

#[test]
fn adapters_learn_digits_as_the_cpu_does() {
    let cpu = digits(&Device::cpu(), PlanKind::Fused, 600, 2);
    for device in common::adapters() {
        for kind in PlanKind::ALL {
            let history = digits(&device, kind, 600, 2);
            let [got, want] = [&history, &cpu].map(|history| history.final_test_accuracy().expect("held-out data"));
            println!("{device}, {kind} plan: {got:.3} of 500 digits, the CPU backend {want:.3}");
            assert!((got - want).abs() <= 0.03 && want > 0.3, "{device}, {kind} plan: {got}, not {want}");
            for (got, want) in history.epochs.iter().zip(&cpu.epochs) {
                assert!((got.train_cost / want.train_cost - 1.0).abs() < 0.02, "{device}: {got:?}, not {want:?}");
            }
        }
    }
}

#[test]
fn a_linear_function_is_fitted() {
    // y = A x + b, exactly representable: the cost has to vanish.
    let mut numbers = Numbers(6);
    let x = numbers.many(3 * 64);
    let y = x.chunks(3).flat_map(|x| [0.5 * x[0] - x[1] + 0.25, x[2] + 0.125 * x[0] - 0.5]).collect();
    let data = Dataset::new(x, 3, y, 2).expect("data");
    for (device, kind) in common::devices_and_plans() {
        let mut net = Arch::new(3, &[(2, Activation::Identity)], Cost::Quadratic).build(&device, kind, 1);
        let mut trainer = Trainer::new(Cost::Quadratic, Sgd::new(0.5)).batch_size(16).epochs(60);
        let history = trainer.fit(&mut net, &data, None).expect("training");
        let cost = history.epochs[59].train_cost;
        assert!(cost < 1e-9, "{device}, {kind} plan: {cost}");
        let parameters = net.parameters().expect("parameters");
        for (got, want) in parameters.iter().zip([0.5, -1.0, 0.0, 0.125, 0.0, 1.0, 0.25, -0.5]) {
            assert!((got - want).abs() < 1e-4, "{device}, {kind} plan: {parameters:?}");
        }
    }
}

// ---- it takes every row once an epoch ---------------------------------------------------------------------------

/// An epoch against the reference, which takes the same mini-batches one by one: of a ragged last one, of one row a step, of
/// more rows a step than there are, of a single row in all.
#[test]
fn an_epoch_is_what_the_reference_computes() {
    let mut compared = 0;
    let both =
        |(device, kind): (Device, _)| [device.clone(), device.with_tiling(Tiling::GPU)].map(|device| (device, kind));
    for (device, kind) in common::devices_and_plans().into_iter().flat_map(both) {
        for (rows, batch) in [(23, 5), (8, 4), (7, 1), (6, 100), (1, 1), (1, 10), (130, 64)] {
            let cost = Cost::CategoricalCrossEntropy;
            let arch = Arch::new(6, &[(9, Activation::Tanh), (4, Activation::Softmax)], cost);
            let (x, y) = arch.data(rows, 3);
            let mut net = arch.build(&device, kind, 2);
            let mut reference = arch.reference(net.layers(), &net.parameters().expect("parameters"));
            let data = Dataset::new(x.clone(), 6, y.clone(), 4).expect("data");
            let mut trainer = Trainer::new(cost, Sgd::new(0.3)).batch_size(batch).epochs(2).seed(7);
            let history = trainer.fit(&mut net, &data, None).expect("training");

            let all = examples(&x, 6, &y, 4);
            let batches = Batches::new(rows, batch, 7).expect("mini-batches");
            for epoch in &history.epochs {
                let mut sum = 0.0;
                for rows in batches.split(&batches.order(epoch.epoch as u64 - 1)) {
                    let rows: Vec<_> = rows.iter().map(|&row| all[row as usize].clone()).collect();
                    sum += reference.mean_cost(&rows).expect("a cost") * rows.len() as f64;
                    reference.update_mini_batch(&rows, 0.3_f32.into()).expect("a step");
                }
                let want = sum / rows as f64;
                assert!((epoch.train_cost - want).abs() < 1e-4 * want, "{device}, {kind} plan: {epoch:?}, not {want}");
            }
            let want = arena(net.layers(), &reference.weights, &reference.biases);
            for (i, (&got, want)) in net.parameters().expect("parameters").iter().zip(want).enumerate() {
                let near = (f64::from(got) - want).abs() <= 1e-4 * want.abs().max(0.1);
                assert!(near, "{device}, {kind} plan, {rows} rows by {batch}: parameter {i} is {got}, not {want}");
                compared += 1;
            }
        }
    }
    println!("{compared} parameters as the reference has them");
    assert!(compared >= 2 * 7 * 103);
}

// ---- every setting does something -------------------------------------------------------------------------------

/// All settings of a run.
#[derive(Debug, Clone, Copy)]
struct Knobs {
    hidden: usize,
    activation: Activation,
    init: Init,
    init_seed: u64,
    kind: PlanKind,
    cost: Cost,
    eta: f32,
    batch: usize,
    epochs: usize,
    seed: u64,
    rows: usize,
}

impl Knobs {
    const fn new() -> Self {
        Self {
            hidden: 9,
            activation: Activation::Tanh,
            init: Init::ScaledNormal,
            init_seed: 1,
            kind: PlanKind::Fused,
            cost: Cost::Quadratic,
            eta: 0.5,
            batch: 5,
            epochs: 3,
            seed: 2,
            rows: 23,
        }
    }

    fn run(&self, device: &Device) -> Vec<f32> {
        let outputs = Arch::new(6, &[(4, Activation::Sigmoid)], Cost::BinaryCrossEntropy);
        let (x, y) = outputs.data(self.rows, 5);
        let data = Dataset::new(x, 6, y, 4).expect("data");
        let mut net = Network::new(6)
            .dense(self.hidden, self.activation)
            .dense(4, Activation::Sigmoid)
            .init(self.init)
            .seed(self.init_seed)
            .plan(self.kind)
            .build(device)
            .expect("a network");
        if device.kind() == "cpu" && self.kind == PlanKind::Persistent {
            assert_eq!(net.plan(self.batch).0, PlanKind::Fused);
        } else if device.limits().max_storage_buffers < 8 && self.kind != PlanKind::Textbook {
            assert_eq!(net.plan(self.batch).0, PlanKind::Textbook);
        } else {
            assert_eq!(net.plan(self.batch), (self.kind, "it was asked for"));
        }
        Trainer::new(self.cost, Sgd::new(self.eta))
            .batch_size(self.batch)
            .epochs(self.epochs)
            .seed(self.seed)
            .fit(&mut net, &data, None)
            .expect("training");
        net.parameters().expect("parameters")
    }
}

/// The largest difference between two lists.
fn distance(a: &[f32], b: &[f32]) -> f32 {
    assert!(a.len() == b.len() && a.iter().chain(b).all(|x| x.is_finite()));
    a.iter().zip(b).fold(0.0, |most, (a, b)| most.max((a - b).abs()))
}

#[test]
fn every_setting_changes_the_result_but_the_plan() {
    let base = Knobs::new();
    let changed = [
        ("activation", Knobs { activation: Activation::Sigmoid, ..base }),
        ("init", Knobs { init: Init::Xavier, ..base }),
        ("init He", Knobs { init: Init::He, ..base }),
        ("init standard", Knobs { init: Init::StandardNormal, ..base }),
        ("initial seed", Knobs { init_seed: 3, ..base }),
        ("cost", Knobs { cost: Cost::BinaryCrossEntropy, ..base }),
        ("eta", Knobs { eta: 0.51, ..base }),
        ("batch size", Knobs { batch: 6, ..base }),
        ("epochs", Knobs { epochs: 4, ..base }),
        ("order seed", Knobs { seed: 4, ..base }),
        ("last row", Knobs { rows: 22, ..base }),
    ];
    for device in common::devices() {
        let first = base.run(&device);
        assert_eq!(bits(&base.run(&device)), bits(&first), "{device}: not the same twice");
        for (what, knobs) in changed {
            let far = distance(&knobs.run(&device), &first);
            assert!(far > 1e-4, "{device}: another {what} moves no parameter by more than {far}");
        }
        assert_ne!(Knobs { hidden: 10, ..base }.run(&device).len(), first.len());
        let near = distance(&Knobs { kind: PlanKind::Textbook, ..base }.run(&device), &first);
        assert!(near < 1e-5, "{device}: the plans differ by {near}");
        println!("{device}: {} settings change the result, the plan by {near:.1e}", changed.len());
    }
}

/// No two activations, costs, initialisations or shares of dropout end in the same parameters, on the CPU by any plan and on adapters
/// by the fused one; OpenGL is left out, whose compiler takes long for so many pipelines. That each of them is the right one is for `golden.rs`, `gradcheck.rs`, `lockstep.rs`, `api/` and `dropout.rs`.
#[test]
fn every_activation_cost_init_and_dropout_has_a_result_of_its_own() {
    let outputs = Arch::new(6, &[(4, Activation::Sigmoid)], Cost::BinaryCrossEntropy);
    let (x, y) = outputs.data(23, 5);
    // Shares for those that need them; further than 1 from what a net says at first, where Huber's cost is another than the quadratic.
    let far = Dataset::new(x.clone(), 6, y.iter().map(|y| 3.0 * y).collect(), 4).expect("data");
    let classes = (0..23 * 4).map(|i| if (i / 4) % 4 == i % 4 { 1.0 } else { 0.0 }).collect();
    let classes = Dataset::new(x.clone(), 6, classes, 4).expect("data");
    let shares = Dataset::new(x, 6, y, 4).expect("data");
    let plain = (Activation::Tanh, Activation::Sigmoid, Cost::Quadratic, Init::ScaledNormal, None, 0.0);
    let mut settings = vec![plain];
    settings.extend(common::nets::elementwise().into_iter().filter(|f| *f != plain.0).map(|f| {
        let (_, output, cost, init, first, dropout) = plain;
        (f, output, cost, init, first, dropout)
    }));
    settings.extend(Activation::ALL.into_iter().filter(|f| *f != plain.1 && Cost::Quadratic.goes_with(*f)).map(|f| {
        let (hidden, _, cost, init, first, dropout) = plain;
        (hidden, f, cost, init, first, dropout)
    }));
    settings.extend([
        (plain.0, plain.1, Cost::BinaryCrossEntropy, plain.3, None, 0.0),
        (plain.0, Activation::Softmax, Cost::CategoricalCrossEntropy, plain.3, None, 0.0),
        (plain.0, plain.1, Cost::Absolute, plain.3, None, 0.0),
        (plain.0, Activation::Identity, Cost::Huber, plain.3, None, 0.0),
        (plain.0, Activation::Identity, Cost::Absolute, plain.3, None, 0.0),
    ]);
    assert!(Cost::ALL.iter().all(|cost| settings.iter().any(|setting| setting.2 == *cost)));
    for init in Init::ALL.into_iter().chain([Init::Constant(0.3)]).filter(|init| *init != plain.3) {
        settings.push((plain.0, plain.1, plain.2, init, None, 0.0));
        settings.push((plain.0, plain.1, plain.2, plain.3, Some(init), 0.0));
    }
    for dropout in [0.1, 0.4] {
        settings.push((plain.0, plain.1, plain.2, plain.3, None, dropout));
    }
    for (device, kind) in common::devices_and_plans() {
        if device.kind() != "cpu" && (kind != PlanKind::Fused || device.to_string().contains("(gl")) {
            continue;
        }
        let mut results: Vec<(String, Vec<f32>)> = Vec::new();
        for &(hidden, output, cost, init, first, dropout) in &settings {
            let mut net = Network::new(6).init(init).dense(9, hidden);
            if let Some(first) = first {
                net = net.layer_init(first);
            }
            let net = net.dropout(dropout).dense(4, output).seed(1).plan(kind);
            let mut net = net.build(&device).expect("a network");
            let trainer = Trainer::new(cost, Sgd::new(0.1)).batch_size(5).epochs(3);
            let data = match (output, cost) {
                (_, Cost::CategoricalCrossEntropy) => &classes,
                (Activation::Identity, _) => &far,
                _ => &shares,
            };
            { trainer }.fit(&mut net, data, None).expect("training");
            let what = format!("{hidden}, {output}, {cost}, {init:?}, first layer {first:?}, dropout {dropout}");
            let parameters = net.parameters().expect("parameters");
            for (other, earlier) in &results {
                let far = distance(earlier, &parameters);
                assert!(far > 1e-5, "{device}, {kind} plan: {what} and {other} are within {far:e}");
            }
            results.push((what, parameters));
        }
        println!("{device}, {kind} plan: {} settings, each with a result of its own", results.len());
        assert!(results.len() >= 9 + 7 + 5 + 14 + 2, "{}", results.len());
    }
}

// ---- callbacks --------------------------------------------------------------------------------------------------

#[test]
fn every_event_comes_once_and_in_order() {
    for (device, kind) in common::devices_and_plans() {
        let data = synthetic_digits(230, 2).expect("digits");
        let mut net = Arch::new(784, &[(10, Activation::Sigmoid)], Cost::Quadratic).build(&device, kind, 1);
        let mut epochs = Vec::new();
        let mut progress: Vec<Vec<usize>> = vec![Vec::new(); 4];
        let mut trainer = Trainer::new(Cost::Quadratic, Sgd::new(1.0)).epochs(4).batch_size(7).on_event(|event| {
            match event {
                Event::Progress { epoch, step, steps, .. } => {
                    assert_eq!((steps, epochs.len() + 1), (33, epoch));
                    progress[epoch - 1].push(step);
                }
                Event::Epoch(report) => epochs.push(*report),
                other => panic!("an event that nobody knows: {other:?}"),
            }
            ControlFlow::Continue(())
        });
        let history = trainer.fit(&mut net, &data, Some(&data)).expect("training");
        drop(trainer);
        assert_eq!(history.epochs, epochs, "{device}, {kind} plan");
        assert_eq!(epochs.iter().map(|report| report.epoch).collect::<Vec<_>>(), [1, 2, 3, 4]);
        for steps in &progress {
            assert!(steps.windows(2).all(|pair| pair[0] < pair[1]), "{device}, {kind} plan: {progress:?}");
            assert_eq!(steps.last(), Some(&33), "{device}, {kind} plan: {progress:?}");
        }
        for report in &epochs {
            assert!(report.seconds > 0.0 && report.steps_per_second > 0.0 && report.test.is_some(), "{report:?}");
            assert!((0.0..=1.0).contains(&report.train_accuracy) && report.train_cost > 0.0, "{report:?}");
        }
        // The last report of the held-out data is what an evaluation says now.
        let now = net.evaluate(&data, Cost::Quadratic).expect("an evaluation");
        assert_eq!(epochs[3].test, Some(now), "{device}, {kind} plan");
        assert_eq!(now.rows, 230);
    }
}

#[test]
fn break_ends_the_run() {
    for device in common::devices() {
        let data = synthetic_digits(100, 2).expect("digits");
        let run = |stop: fn(&Event<'_>) -> bool, epochs: usize| {
            let mut net =
                Arch::new(784, &[(10, Activation::Sigmoid)], Cost::Quadratic).build(&device, PlanKind::Fused, 1);
            let mut calls = 0;
            let mut trainer = Trainer::new(Cost::Quadratic, Sgd::new(1.0)).epochs(epochs).on_event(|event| {
                calls += 1;
                if stop(&event) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
            let history = trainer.fit(&mut net, &data, None).expect("training");
            drop(trainer);
            (history, calls, bits(&net.parameters().expect("parameters")))
        };
        let (two, _, after_two) = run(|_| false, 2);
        assert!(!two.stopped());
        let (history, _, stopped) = run(|event| matches!(event, Event::Epoch(report) if report.epoch == 2), 9);
        assert_eq!((history.epochs.len(), history.stopped()), (2, true), "{device}");
        assert_eq!(stopped, after_two, "{device}: the parameters are not those of two epochs");
        let (history, calls, stopped) = run(|event| matches!(event, Event::Progress { .. }), 9);
        assert_eq!((history.epochs.len(), history.stopped(), calls), (0, true, 1), "{device}");
        assert_ne!(stopped, after_two, "{device}");
        let (history, ..) = run(|event| matches!(event, Event::Progress { epoch: 3, .. }), 9);
        assert_eq!((history.epochs.len(), history.stopped()), (2, true), "{device}");
    }
}

// ---- what goes wrong --------------------------------------------------------------------------------------------

/// A learning rate that is far too large: the first step with a cost that is not finite is named, and nothing is lost.
#[test]
fn divergence_is_an_error_that_names_the_step() {
    for (device, kind) in common::devices_and_plans() {
        for (output, eta) in [(Activation::Identity, 1e15), (Activation::Identity, 1e30), (Activation::Identity, 40.0)]
        {
            let cost = Cost::Quadratic;
            let arch = Arch::new(5, &[(6, Activation::Relu), (3, output)], cost);
            let (x, y) = arch.data(40, 1);
            let data = Dataset::new(x.clone(), 5, y.clone(), 3).expect("data");
            let mut net = arch.build(&device, kind, 6);
            let result = Trainer::new(cost, Sgd::new(eta)).batch_size(4).epochs(50).seed(3).fit(&mut net, &data, None);
            let Err(Error::Diverged { epoch, step, cost: value }) = result else {
                panic!("{device}, {kind} plan, {output}, eta {eta}: {result:?}")
            };
            assert!(!value.is_finite());
            // Step by step on the same device, from the same start.
            let mut twin = arch.build(&device, kind, 6);
            let batches = Batches::new(40, 4, 3).expect("mini-batches");
            let mut expected = None;
            'search: for e in 0..50 {
                for (s, rows) in batches.split(&batches.order(e)).enumerate() {
                    let pick = |from: &[f32], n: usize| -> Vec<f32> {
                        rows.iter().flat_map(|&row| &from[row as usize * n..][..n]).copied().collect()
                    };
                    let (x, y) = (pick(&x, 5), pick(&y, 3));
                    let now = twin.cost(&x, &y, cost).expect("a cost");
                    if !now.is_finite() {
                        expected = Some((usize::try_from(e).expect("few") + 1, s + 1));
                        break 'search;
                    }
                    twin.update_mini_batch(&x, &y, cost, Sgd::new(eta)).expect("a step");
                }
            }
            println!("{device}, {kind} plan, {output}, eta {eta}: {value} in epoch {epoch}, step {step}");
            assert_eq!(Some((epoch, step)), expected, "{device}, {kind} plan, {output}, eta {eta}");
            let parameters = net.parameters().expect("parameters can be read");
            assert_eq!(parameters.len(), net.parameter_count());
            // And the network can be given others.
            net.set_parameters(&vec![0.25; net.parameter_count()]).expect("finite");
            assert!(net.predict(&x).expect("outputs").iter().all(|a| a.is_finite()), "{device}");
        }
    }
}
