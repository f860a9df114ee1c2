//! Every public function given what it should not be given: a typed error, or a right answer, and never a panic. Data sets and
//! mini-batches have theirs in `data.rs`, the reference in `reference.rs`, limits in `limits.rs`.

#![cfg(feature = "blocking")]
#![allow(clippy::print_stdout, reason = "what was refused, and where, is the result of these tests")]

mod common;

use std::ops::ControlFlow;
use std::time::Duration;

use common::expect::{Expected, exact};
use common::nets::{Arch, bits, elementwise, examples, pairings};
use wgrad::plan::PlanKind;
use wgrad::verify::{bound, check_kernels};
use wgrad::{Activation, Cost, Dataset, Device, Error, Event, Init, Network, Result, Sgd, Trainer};

/// Numbers that are not.
const NOT_FINITE: [f32; 4] = [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY];

/// What kind of error is wanted; more would tie a test to wording.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Architecture,
    Pairing,
    Option(&'static str),
    Name,
    Shape,
    Empty,
    NotFinite(usize),
    NoAdapter,
}

/// That this is an error of the kind, whose message has more than a word in it.
fn refused<T: std::fmt::Debug>(result: Result<T>, kind: Kind, what: &str) {
    let Err(error) = result else { panic!("{what} passed: {result:?}") };
    let fits = match &error {
        Error::Architecture { .. } => kind == Kind::Architecture,
        Error::Pairing { .. } => kind == Kind::Pairing,
        Error::InvalidOption { option, .. } => kind == Kind::Option(option),
        Error::UnknownName { .. } => kind == Kind::Name,
        Error::Shape { .. } => kind == Kind::Shape,
        Error::Empty { .. } => kind == Kind::Empty,
        Error::NotFinite { index, value, .. } => kind == Kind::NotFinite(*index) && !value.is_finite(),
        Error::NoAdapter { .. } => kind == Kind::NoAdapter,
        Error::Several { problems } => {
            let is_one = |problem: &Error| matches!((problem, kind), (Error::Architecture { .. }, Kind::Architecture));
            problems.len() > 1 && problems.iter().all(is_one)
        }
        _ => false,
    };
    assert!(fits, "{what}: {kind:?} wanted, got {error:?}");
    assert!(error.to_string().split(' ').count() > 3, "{what}: '{error}'");
}

// ---- building ---------------------------------------------------------------------------------------------------

#[test]
fn networks_that_cannot_be() {
    let relu = Activation::Relu;
    let endless = usize::MAX;
    for device in common::devices() {
        let refuse = |sizes: &[(usize, Activation)], inputs: usize| {
            let net = sizes.iter().fold(Network::new(inputs), |net, &(width, f)| net.dense(width, f));
            refused(net.build(&device).map(|_| ()), Kind::Architecture, &format!("{device}: {inputs}, {sizes:?}"));
        };
        refuse(&[], 3);
        refuse(&[], 0);
        refuse(&[(2, relu)], 0);
        refuse(&[(0, relu)], 3);
        refuse(&[(2, relu), (0, relu), (2, relu)], 3);
        refuse(&[(2, Activation::Softmax), (2, relu)], 3);
        refuse(&[(endless, relu)], endless);
        refuse(&[(endless, relu)], 1);
        refuse(&[(1, relu)], endless);
        refuse(&[(1 << 16, relu)], 1 << 15);
        refuse(&[(1, relu), (endless, relu), (endless, relu)], 1);
        refuse(&[(3, relu); 5].map(|(n, f)| (n * 40_000, f)), 1);
        assert!(Network::new(1).dense(1, relu).build(&device).is_ok(), "{device}");
    }
}

#[test]
fn words_that_name_nothing() {
    for word in ["", " ", "sigmoid ", "Sigmoid!", "sig", "quadratic-", "0", "\u{1f4a5}", "auto\0"] {
        refused(word.parse::<Activation>(), Kind::Name, word);
        refused(word.parse::<Cost>(), Kind::Name, word);
        refused(word.parse::<Init>(), Kind::Name, word);
        refused(word.parse::<PlanKind>(), Kind::Name, word);
    }
    for f in Activation::ALL {
        assert_eq!(f.to_string().to_uppercase().parse::<Activation>().expect("its own name"), f);
    }
    for word in ["no such adapter", "vulkan:no such adapter", ":", "gl:gl:gl", "\u{1f4a5}"] {
        refused(Device::named(word), Kind::NoAdapter, word);
        refused(Device::with_adapter(word), Kind::NoAdapter, word);
    }
    assert_eq!(Device::named(" CPU ").expect("the CPU backend").kind(), "cpu");
    assert_eq!(Device::cpu_with_threads(usize::MAX).kind(), "cpu");
}

// ---- asking a network -------------------------------------------------------------------------------------------

fn arch() -> Arch {
    Arch::new(3, &[(4, Activation::Tanh), (2, Activation::Sigmoid)], Cost::Quadratic)
}

/// Runs every call that takes rows on these rows, and gives each result with the name of its call.
fn every_call(net: &mut Network, x: &[f32], y: &[f32], cost: Cost, eta: f32) -> Vec<(&'static str, Result<Vec<f32>>)> {
    vec![
        ("cost", net.cost(x, y, cost).map(|cost| vec![cost])),
        ("gradients", net.gradients(x, y, cost).map(|g| [&[g.cost], g.as_slice()].concat())),
        ("update_mini_batch", net.update_mini_batch(x, y, cost, Sgd::new(eta)).map(|()| Vec::new())),
    ]
}

#[test]
fn rows_that_are_wrong() {
    let mut count = 0;
    for (device, kind) in common::devices_and_plans() {
        let mut net = arch().build(&device, kind, 1);
        let before = bits(&net.parameters().expect("parameters"));
        let (x, y) = arch().data(4, 2);
        let mut refuse = |x: &[f32], y: &[f32], cost: Cost, eta: f32, kind: Kind, what: &str| {
            for (call, result) in every_call(&mut net, x, y, cost, eta) {
                // A learning rate is no business of the others.
                if !matches!(kind, Kind::Option(_)) || call == "update_mini_batch" {
                    refused(result, kind, &format!("{device}: {call}, {what}"));
                    count += 1;
                }
            }
            assert_eq!(bits(&net.parameters().expect("parameters")), before, "{device}: {what} changed parameters");
        };
        let good = Cost::Quadratic;
        refuse(&[], &y, good, 1.0, Kind::Empty, "no x");
        refuse(&x, &[], good, 1.0, Kind::Empty, "no y");
        refuse(&[], &[], good, 1.0, Kind::Empty, "nothing");
        refuse(&x[1..], &y, good, 1.0, Kind::Shape, "x one short");
        refuse(&x, &y[1..], good, 1.0, Kind::Shape, "y one short");
        refuse(&x[3..], &y, good, 1.0, Kind::Shape, "x one row short");
        refuse(&x, &y[2..], good, 1.0, Kind::Shape, "y one row short");
        refuse(&x, &y, Cost::CategoricalCrossEntropy, 1.0, Kind::Pairing, "a cost for softmax");
        for bad in NOT_FINITE {
            for at in [0, 5, 11] {
                let mut spoilt = x.clone();
                spoilt[at] = bad;
                refuse(&spoilt, &y, good, 1.0, Kind::NotFinite(at), "x not finite");
            }
            let mut spoilt = y.clone();
            spoilt[7] = bad;
            refuse(&x, &spoilt, good, 1.0, Kind::NotFinite(7), "y not finite");
            refuse(&x, &y, good, bad, Kind::Option("eta"), "eta not finite");
        }
        for eta in [0.0, -0.0, -1.0, f32::MIN] {
            refuse(&x, &y, good, eta, Kind::Option("eta"), "eta not above 0");
        }

        refused(net.predict(&[]), Kind::Empty, "predict: nothing");
        refused(net.predict(&x[1..]), Kind::Shape, "predict: one short");
        refused(net.predict(&[0.0, f32::NAN, 0.0]), Kind::NotFinite(1), "predict: NaN");
        for wrong in [vec![], vec![0.0; net.parameter_count() - 1], vec![0.0; net.parameter_count() + 1]] {
            refused(net.set_parameters(&wrong), Kind::Shape, "set_parameters: another number");
        }
        for bad in NOT_FINITE {
            let mut parameters = net.parameters().expect("parameters");
            parameters[9] = bad;
            refused(net.set_parameters(&parameters), Kind::NotFinite(9), "set_parameters: not finite");
        }
        assert_eq!(bits(&net.parameters().expect("parameters")), before);
        // After all that, the network works.
        for (call, result) in every_call(&mut net, &x, &y, good, 1.0) {
            assert!(result.is_ok_and(|numbers| numbers.iter().all(|x| x.is_finite())), "{device}: {call}");
        }
        assert_ne!(bits(&net.parameters().expect("parameters")), before);
    }
    println!("{count} wrong calls refused");
    assert!(count > 2 * 60);
}

#[test]
fn gradients_of_layers_that_are_not_there_panic_as_documented() {
    let (x, y) = arch().data(2, 2);
    let gradients =
        arch().build(&Device::cpu(), PlanKind::Fused, 1).gradients(&x, &y, Cost::Quadratic).expect("gradients");
    assert_eq!((gradients.nabla_w(2).len(), gradients.nabla_b(2).len()), (8, 2));
    for l in [0, 3, usize::MAX] {
        assert!(std::panic::catch_unwind(|| gradients.nabla_w(l).len()).is_err(), "nabla_w({l})");
        assert!(std::panic::catch_unwind(|| gradients.nabla_b(l).len()).is_err(), "nabla_b({l})");
    }
}

/// Finite numbers of any size are no error. Subnormal ones give what the reference has; where a result is beyond the largest
/// number, or a step on the way to it may be, it need not be finite, but a finite one has to be right.
#[test]
fn numbers_of_any_size_are_taken() {
    let tiny = f32::MIN_POSITIVE / 8.0;
    let mut compared = 0;
    for (device, kind) in common::devices_and_plans() {
        for (i, (output, cost)) in pairings().into_iter().enumerate() {
            let arch = Arch::new(3, &[(4, elementwise()[i % 4]), (2, output)], cost);
            for size in [tiny, 1e-40, 1e-30, 1e10, 1e19, 1e30, f32::MAX] {
                let x = [size, -size, 0.5 * size, 0.25 * size, size, -0.5 * size];
                let y = [1.0, 0.0, 0.0, 1.0];
                let mut net = arch.build(&device, kind, 1);
                let layers = net.layers().to_vec();
                let parameters = net.parameters().expect("parameters");
                let outputs = net.predict(&x).expect("outputs");
                let reference = arch.reference(&layers, &parameters);
                let want: Vec<f64> = examples(&x, 3, &y, 2)
                    .iter()
                    .flat_map(|(x, _)| reference.feedforward(x).expect("outputs"))
                    .collect();
                let expected = Expected::new(&layers, cost, &exact(&parameters), &x, &y);
                for ((&got, want), tracked) in outputs.iter().zip(want).zip(&expected.outputs) {
                    let what = format!("{device}, {kind} plan, {output}, inputs of {size:e}: {got:e}, not {want:e}");
                    // No partial sum is beyond the sum of the absolute terms.
                    assert!(got.is_finite() || tracked.scale > f64::from(f32::MAX) / 64.0 || size > 1e18, "{what}");
                    // Near the largest number a partial sum can overflow although the sum itself would not.
                    if got.is_finite() && tracked.scale.is_finite() && size < 1e37 {
                        assert!((f64::from(got) - want).abs() <= bound(expected.terms, tracked), "{what}");
                        compared += 1;
                    }
                }
                // Whatever comes of these, they return.
                for (_, result) in every_call(&mut net, &x, &y, cost, 1e-3) {
                    result.expect("finite numbers are taken");
                }
                let parameters = net.parameters().expect("parameters");
                assert!(size > 1e9 || parameters.iter().all(|p| p.is_finite()), "{device}, {output}, {size:e}");
            }
            let mut net = arch.build(&device, kind, 1);
            for extreme in [f32::MAX, f32::MIN, tiny] {
                net.set_parameters(&vec![extreme; net.parameter_count()]).expect("finite");
                assert_eq!(net.parameters().expect("parameters")[0].to_bits(), extreme.to_bits(), "{device}");
                assert_eq!(net.predict(&[1.0, -1.0, 0.5]).expect("outputs").len(), 2);
            }
            // A learning rate of any size above 0.
            for eta in [tiny, f32::MAX] {
                let (x, y) = arch.data(2, 3);
                net.set_parameters(&vec![0.25; net.parameter_count()]).expect("finite");
                net.update_mini_batch(&x, &y, cost, Sgd::new(eta)).expect("a step");
                let parameters = net.parameters().expect("parameters");
                assert!(eta > 1.0 || parameters.iter().all(|p| (p - 0.25).abs() < 1e-6), "{device}: {parameters:?}");
            }
        }
    }
    println!("{compared} outputs as the reference has them");
    assert!(compared > 2 * 6 * 3 * 4);
}

// ---- training and evaluating ------------------------------------------------------------------------------------

#[test]
fn training_that_cannot_be() {
    let (x, y) = arch().data(6, 2);
    let data = Dataset::new(x.clone(), 3, y.clone(), 2).expect("data");
    let other_inputs = Dataset::new(x.clone(), 9, y[..4].to_vec(), 2).expect("data");
    let other_outputs = Dataset::new(x.clone(), 3, y[..6].to_vec(), 1).expect("data");
    for (device, kind) in common::devices_and_plans() {
        let mut net = arch().build(&device, kind, 1);
        let before = bits(&net.parameters().expect("parameters"));
        let trainer = || Trainer::new(Cost::Quadratic, Sgd::new(0.1)).epochs(1);
        let mut refuse = |mut trainer: Trainer<'_>, train: &Dataset, test: Option<&Dataset>, kind: Kind, what: &str| {
            refused(trainer.fit(&mut net, train, test), kind, &format!("{device}: {what}"));
        };
        refuse(trainer().epochs(0), &data, None, Kind::Option("epochs"), "no epochs");
        refuse(trainer().batch_size(0), &data, None, Kind::Option("batch_size"), "no rows a batch");
        refuse(trainer(), &other_inputs, None, Kind::Shape, "other inputs");
        refuse(trainer(), &other_outputs, None, Kind::Shape, "other outputs");
        refuse(trainer(), &data, Some(&other_inputs), Kind::Shape, "other inputs held out");
        refuse(trainer(), &data, Some(&other_outputs), Kind::Shape, "other outputs held out");
        for eta in [0.0, -1.0, f32::NAN, f32::INFINITY] {
            let trainer = Trainer::new(Cost::Quadratic, Sgd::new(eta)).epochs(1);
            refuse(trainer, &data, None, Kind::Option("eta"), "eta");
        }
        let wrong_cost = Trainer::new(Cost::CategoricalCrossEntropy, Sgd::new(0.1)).epochs(1);
        refuse(wrong_cost, &data, None, Kind::Pairing, "a cost for softmax");
        for (what, data, trainer, kind) in [
            ("other inputs", &other_inputs, trainer(), Kind::Shape),
            ("other outputs", &other_outputs, trainer(), Kind::Shape),
            ("no rows a batch", &data, trainer().batch_size(0), Kind::Option("batch_size")),
        ] {
            refused(trainer.start(&mut net, data).map(|_| ()), kind, &format!("{device}: start, {what}"));
        }
        refused(net.evaluate(&other_inputs, Cost::Quadratic), Kind::Shape, "evaluate: other inputs");
        refused(net.evaluate(&other_outputs, Cost::Quadratic), Kind::Shape, "evaluate: other outputs");
        refused(net.evaluate(&data, Cost::CategoricalCrossEntropy), Kind::Pairing, "evaluate: a cost for softmax");
        assert_eq!(bits(&net.parameters().expect("parameters")), before, "{device}");

        // More rows a batch than there are, and more epochs than time, are no errors.
        let mut endless = trainer().epochs(usize::MAX).batch_size(usize::MAX).seed(u64::MAX).on_event(|event| {
            if matches!(event, Event::Epoch(report) if report.epoch == 3) {
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        });
        let history = endless.fit(&mut net, &data, Some(&data)).expect("training");
        assert_eq!((history.epochs.len(), history.stopped()), (3, true), "{device}");
        let mut run = trainer().batch_size(4).start(&mut net, &data).expect("a run");
        for budget in [Duration::ZERO, Duration::MAX, Duration::ZERO, Duration::MAX] {
            assert!(run.step_for(budget).expect("a slice").steps <= 2, "{device}: {budget:?}");
        }
        drop(run);
        let history = trainer().fit(&mut net, &data, None).expect("training");
        assert_eq!((history.final_test_accuracy(), history.epochs[0].test), (None, None), "{device}");
    }
}

/// What an error says, and what makes a run have it.
type Problem = (&'static str, fn(Trainer<'static>) -> Trainer<'static>);

/// Every problem of a run that can stand beside every other, with what its message has to have.
fn problems() -> Vec<Problem> {
    use wgrad::{Checkpoints, EarlyStopping, Metric, Plateau, Schedule, Span};
    vec![
        ("epochs is 0", |trainer| trainer.epochs(0)),
        ("most steps is 0", |trainer| trainer.max_steps(0)),
        ("batch_size is 0", |trainer| trainer.batch_size(0)),
        ("label smoothing is 1.5", |trainer| trainer.label_smoothing(1.5)),
        ("factor of the schedule is -1", |trainer| trainer.schedule(Schedule::step(Span::Steps(2), -1.0))),
        ("patience of the plateau is 0", |trainer| trainer.plateau(Plateau::new(0).metric(Metric::TrainCost))),
        ("patience of early stopping is 0", |trainer| {
            trainer.early_stopping(EarlyStopping::new(0).metric(Metric::TrainCost))
        }),
        ("watched metric is test_f1", |trainer| trainer.keep_best(Metric::TestF1)),
        ("no such folder", |trainer| trainer.checkpoints(Checkpoints::new("no such folder/run.safetensors"))),
    ]
}

/// Whatever is wrong with a run is said at once, each thing by its own line, before anything is trained; what alone is wrong is an
/// error by itself.
#[test]
fn all_problems_of_a_run_are_listed_at_once() {
    let (x, y) = arch().data(6, 2);
    let shares = y.iter().map(|y| y.abs().min(1.0)).collect();
    let data = Dataset::new(x, 3, shares, 2).expect("data");
    let all = problems();
    let mut lists = 0;
    for (device, kind) in common::devices_and_plans() {
        let mut net = arch().build(&device, kind, 1);
        let before = bits(&net.parameters().expect("parameters"));
        // Pseudo-random subsets, none and all of them, each of them alone.
        let subsets = (0..40_u32).map(|i| i.wrapping_mul(2_654_435_761) >> 23).chain((0..9).map(|i| 1 << i));
        for subset in subsets.chain([0, 511]) {
            let chosen: Vec<_> = all.iter().enumerate().filter(|(i, _)| subset >> i & 1 == 1).map(|(_, p)| p).collect();
            let start = Trainer::new(Cost::BinaryCrossEntropy, Sgd::new(0.1)).epochs(1);
            let mut trainer = chosen.iter().fold(start, |trainer, (_, spoil)| spoil(trainer));
            let checked = trainer.check(&net, &data, None);
            if chosen.is_empty() {
                checked.expect("nothing is wrong");
                continue;
            }
            let error = trainer.fit(&mut net, &data, None).expect_err("a run that cannot be");
            assert_eq!(checked.expect_err("the same").to_string(), error.to_string(), "{device}");
            let listed = match &error {
                Error::Several { problems } => problems.len(),
                _ => 1,
            };
            assert_eq!(listed, chosen.len(), "{device}: {error}");
            assert!(chosen.iter().all(|(says, _)| error.to_string().contains(says)), "{device}: {error}");
            lists += 1;
        }
        assert_eq!(bits(&net.parameters().expect("parameters")), before, "{device}: it was trained");
    }
    println!("{lists} lists of problems, each whole");
    assert!(lists >= 3 * 45);
}

#[test]
fn all_problems_of_a_network_its_optimizer_and_its_data_are_listed_at_once() {
    use wgrad::{AdamW, Checkpoints};
    for device in common::devices() {
        let net = Network::new(0)
            .dropout(2.0)
            .dense(0, Activation::Softmax)
            .dropout(-1.0)
            .dense(3, Activation::Relu)
            .dropout(0.5)
            .layer_init(Init::Constant(f32::NAN));
        let Err(Error::Several { problems }) = net.build(&device) else { panic!("{device}: it was built") };
        let said: Vec<String> = problems.iter().map(ToString::to_string).collect();
        for want in [
            "no columns",
            "layer 1 has no neurons",
            "layer 1 is softmax",
            "init is NaN",
            "dropout of layer 0",
            "dropout is 2",
            "dropout is -1",
            "dropout of layer 2",
        ] {
            assert_eq!(said.iter().filter(|line| line.contains(want)).count(), 1, "{device}: {want}: {said:?}");
        }
        assert_eq!(said.len(), 8, "{device}: {said:?}");

        let mut net = arch().build(&device, PlanKind::Fused, 1);
        let optimizer = AdamW::new(-1.0).betas(1.0, f32::NAN).epsilon(0.0).max_norm(0.0).l1(f32::INFINITY);
        let (x, y) = arch().data(4, 2);
        let Err(Error::Several { problems }) = net.update_mini_batch(&x, &y, Cost::Quadratic, optimizer) else {
            panic!("{device}: it took a step")
        };
        assert_eq!(problems.len(), 6, "{device}: {problems:?}");

        // Data of another network, with another cost, and a file that cannot be.
        let other = Dataset::new(vec![0.0; 4], 2, vec![0.5; 6], 3).expect("data");
        let trainer = Trainer::new(Cost::CategoricalCrossEntropy, optimizer);
        let trainer = trainer.checkpoints(Checkpoints::new("").every_steps(0).keep_last(0));
        let Err(Error::Several { problems }) = trainer.check(&net, &other, Some(&other)) else {
            panic!("{device}: it fits")
        };
        let count = |of: fn(&Error) -> bool| problems.iter().filter(|problem| of(problem)).count();
        assert_eq!(count(|problem| matches!(problem, Error::Shape { .. })), 4, "{device}: {problems:?}");
        assert_eq!(count(|problem| matches!(problem, Error::Pairing { .. })), 1, "{device}: {problems:?}");
        assert_eq!(count(|problem| matches!(problem, Error::InvalidOption { .. })), 8, "{device}: {problems:?}");
        assert_eq!(count(|problem| matches!(problem, Error::File { .. })), 1, "{device}: {problems:?}");
        assert_eq!(problems.len(), 14, "{device}: {problems:?}");
    }
}

// ---- the checks themselves --------------------------------------------------------------------------------------

#[test]
fn shapes_that_no_kernel_has() {
    let device = Device::cpu();
    let endless = u32::MAX;
    for shape in [[0, 1, 1], [1, 0, 1], [1, 1, 0], [endless, 1, 1], [endless; 3], [1, 1 << 16, 1 << 16], [65_537, 1, 1]]
    {
        refused(check_kernels(&device, &[[2, 3, 4], shape], 1), Kind::Option("shape"), &format!("{shape:?}"));
    }
    // No shape at all is no success.
    let nothing = check_kernels(&device, &[], 1).expect("nothing to do");
    assert!(!nothing.passed() && nothing.cases() == 0);
    assert!(check_kernels(&device, &[[1, 1, 1]], u64::MAX).expect("a report").passed());
}
