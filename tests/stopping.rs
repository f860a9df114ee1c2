//! When a run ends and with which parameters, and what is left of it in files.

#![cfg(feature = "blocking")]
#![allow(clippy::print_stdout, reason = "the devices and what was counted are the result of these tests")]

mod common;

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use common::nets::{Arch, bits};
use wgrad::plan::PlanKind;
use wgrad::{
    Activation, Cost, Dataset, Device, EarlyStopping, Error, Event, History, Metric, Network, Plateau, Sgd, StopReason,
    Trainer,
};

const ROWS: usize = 40;

fn arch() -> Arch {
    Arch::new(6, &[(12, Activation::Tanh), (4, Activation::Softmax)], Cost::CategoricalCrossEntropy)
}

/// Training and held-out data that have nothing to do with each other: what is learned soon does harm.
fn data() -> (Dataset, Dataset) {
    let make = |seed| {
        let (x, y) = arch().data(ROWS, seed);
        Dataset::new(x, 6, y, 4).expect("data")
    };
    (make(3), make(4))
}

fn trainer<'a>() -> Trainer<'a> {
    Trainer::new(arch().cost, Sgd::new(1.0)).batch_size(7).epochs(25)
}

fn parameters(net: &Network) -> Vec<u32> {
    bits(&net.parameters().expect("parameters"))
}

/// The history of all epochs, and the parameters after each.
fn whole(device: &Device) -> (History, Vec<Vec<u32>>) {
    let (train, test) = data();
    let mut net = arch().build(device, PlanKind::Fused, 1);
    let history = trainer().fit(&mut net, &train, Some(&test)).expect("training");
    assert_eq!((history.stop, history.restored, history.epochs.len()), (Some(StopReason::Epochs), None, 25));
    let after = (1..=25).map(|epochs| {
        let mut net = arch().build(device, PlanKind::Fused, 1);
        trainer().epochs(epochs).fit(&mut net, &train, Some(&test)).expect("training");
        parameters(&net)
    });
    (history, after.collect())
}

/// What a plain loop over the history says: the epoch after which to stop, and the best one of those.
fn expected(history: &History, metric: Metric, patience: usize, min_change: f64) -> (usize, usize) {
    let sign = if metric.rises() { 1.0 } else { -1.0 };
    let values: Vec<f64> = history.epochs.iter().map(|epoch| sign * metric.of(epoch).expect("a value")).collect();
    let (mut last_gain, mut peak) = (0, values[0]);
    let mut end = values.len();
    for (i, &value) in values.iter().enumerate().skip(1) {
        if value > peak + min_change {
            (last_gain, peak) = (i, value);
        } else if i - last_gain >= patience {
            end = i + 1;
            break;
        }
    }
    let best = (1..end).fold(0, |best, i| if values[i] > values[best] { i } else { best });
    (end, best + 1)
}

#[test]
fn early_stopping_ends_where_it_should_and_restores_the_best() {
    let (train, test) = data();
    for device in common::devices() {
        let (history, after) = whole(&device);
        let mut ends = Vec::new();
        for metric in [Metric::TestCost, Metric::TestAccuracy, Metric::TestF1, Metric::TrainCost] {
            for (patience, min_change) in [(1, 0.0), (3, 0.0), (3, 0.05), (6, 0.0)] {
                let (end, best) = expected(&history, metric, patience, min_change);
                for restore in [true, false] {
                    let stopping =
                        EarlyStopping::new(patience).metric(metric).min_change(min_change).restore_best(restore);
                    let mut net = arch().build(&device, PlanKind::Fused, 1);
                    let stopped = trainer().early_stopping(stopping).fit(&mut net, &train, Some(&test)).expect("a fit");
                    let what = format!("{device}, {stopping:?}: {:?} after {}", stopped.stop, stopped.epochs.len());
                    assert_eq!(stopped.epochs.len(), end, "{what}");
                    let reason = if end < 25 { StopReason::EarlyStopping } else { StopReason::Epochs };
                    assert!(stopped.stop == Some(reason) || end == 25, "{what}");
                    assert_eq!(stopped.restored, restore.then_some(best), "{what}");
                    assert_eq!(parameters(&net), after[if restore { best } else { end } - 1], "{what}");
                    let same = |a: &wgrad::EpochReport, b: &wgrad::EpochReport| {
                        (a.train_cost, a.test, a.eta, a.steps) == (b.train_cost, b.test, b.eta, b.steps)
                    };
                    assert!(stopped.epochs.iter().zip(&history.epochs).all(|(a, b)| same(a, b)), "{what}");
                }
                ends.push(end);
            }
        }
        println!("{device}: ends after {ends:?}");
        let differ = ends.iter().collect::<std::collections::BTreeSet<_>>().len();
        assert!(differ >= 4 && ends.iter().any(|&end| end < 25), "the settings make no difference: {ends:?}");
    }
}

#[test]
fn the_best_is_kept_however_a_run_ends() {
    let (train, test) = data();
    for device in common::devices() {
        let (history, after) = whole(&device);
        let (best, _) = history.best(Metric::TestCost).expect("a cost");
        assert!(best < 20, "the best epoch has to be left behind: {best}");
        let run = |trainer: Trainer<'_>| {
            let mut net = arch().build(&device, PlanKind::Fused, 1);
            let history = trainer.keep_best(Metric::TestCost).fit(&mut net, &train, Some(&test)).expect("a fit");
            assert_eq!(history.restored, Some(best), "{device}");
            assert_eq!(parameters(&net), after[best - 1], "{device}: {:?}", history.stop);
            let now = net.evaluate(&test, arch().cost).expect("an evaluation");
            assert_eq!(history.final_test_accuracy(), Some(now.accuracy));
            history.stop
        };
        assert_eq!(run(trainer()), Some(StopReason::Epochs));
        assert_eq!(run(trainer().max_steps(6 * 20 + 3)), Some(StopReason::Steps));
        let in_the_middle = |event: Event<'_>| match event {
            Event::Progress { epoch: 21, .. } => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        };
        assert_eq!(run(trainer().on_event(in_the_middle)), Some(StopReason::Callback));
        // An explicit metric goes before that of early stopping.
        let stopping = EarlyStopping::new(20).metric(Metric::TrainCost);
        assert_eq!(run(trainer().early_stopping(stopping)), Some(StopReason::Epochs));
    }
    // The last epoch is the best.
    let mut net = arch().build(&Device::cpu(), PlanKind::Fused, 1);
    let history = trainer().epochs(2).keep_best(Metric::TrainCost).fit(&mut net, &train, Some(&test)).expect("a fit");
    assert_eq!(history.restored, Some(2));
    assert_eq!(parameters(&net), whole(&Device::cpu()).1[1]);
}

/// Trained on, a network that went back to its best epoch does as if its run had ended there: the optimiser went back with it.
#[test]
fn the_optimizer_goes_back_to_the_best_epoch_too() {
    let (train, test) = data();
    for (device, kind) in common::devices_and_plans() {
        let run = |epochs: usize, keep: bool| {
            let mut net = arch().build(&device, kind, 1);
            let mut trainer = Trainer::new(arch().cost, wgrad::Adam::new(0.05)).batch_size(7).epochs(epochs);
            if keep {
                trainer = trainer.keep_best(Metric::TestCost);
            }
            let restored = trainer.fit(&mut net, &train, Some(&test)).expect("a fit").restored;
            (restored, net.optimizer_steps(), parameters(&net))
        };
        let Some(best) = run(40, true).0.filter(|best| *best < 40) else {
            panic!("{device}: a best epoch is left behind")
        };
        let (_, steps, after) = run(best, false);
        let (_, steps_back, back) = run(40, true);
        assert_eq!((steps_back, &back), (steps, &after), "{device}, {kind} plan");
        // One epoch more, where what is remembered matters.
        let on = |first: usize, keep: bool| {
            let mut net = arch().build(&device, kind, 1);
            let adam = || Trainer::new(arch().cost, wgrad::Adam::new(0.05)).batch_size(7);
            let mut trainer = adam().epochs(first);
            if keep {
                trainer = trainer.keep_best(Metric::TestCost);
            }
            trainer.fit(&mut net, &train, Some(&test)).expect("a fit");
            adam().epochs(1).fit(&mut net, &train, Some(&test)).expect("a fit");
            parameters(&net)
        };
        assert_eq!(on(40, true), on(best, false), "{device}, {kind} plan");
    }
}

#[test]
fn a_budget_of_steps_ends_within_an_epoch() {
    let (train, test) = data();
    for device in common::devices() {
        for most in [1, 4, 6, 7, 15, 18, 1000] {
            let mut net = arch().build(&device, PlanKind::Fused, 1);
            let history = trainer().max_steps(most).fit(&mut net, &train, Some(&test)).expect("a fit");
            let steps: Vec<usize> = history.epochs.iter().map(|epoch| epoch.steps).collect();
            let want = most.min(6 * 25);
            assert_eq!(steps.iter().sum::<usize>() as u64, want, "{device}: {steps:?}");
            assert!(steps[..steps.len() - 1].iter().all(|&n| n == 6), "{steps:?}");
            let reason = if most == 1000 { StopReason::Epochs } else { StopReason::Steps };
            assert_eq!(history.stop, Some(reason), "{device}, {most} steps");
            let now = net.evaluate(&test, arch().cost).expect("an evaluation");
            assert_eq!(history.epochs.last().expect("an epoch").test, Some(now), "{device}");
            // Those steps and no others: by hand, in the order of the epochs.
            if most <= 18 {
                let mut by_hand = arch().build(&device, PlanKind::Fused, 1);
                let batches = wgrad::Batches::new(ROWS, 7, 0).expect("mini-batches");
                let (mut done, mut costs) = (0, Vec::new());
                'all: for epoch in 0..3 {
                    for rows in batches.split(&batches.order(epoch)) {
                        if done == most {
                            break 'all;
                        }
                        let (mut x, mut y) = (vec![0.0; rows.len() * 6], vec![0.0; rows.len() * 4]);
                        train.copy_inputs(rows, &mut x).expect("rows");
                        train.copy_targets(rows, &mut y).expect("rows");
                        let cost = by_hand.cost(&x, &y, arch().cost).expect("a cost");
                        costs.push((epoch, f64::from(cost) * rows.len() as f64, rows.len()));
                        by_hand.update_mini_batch(&x, &y, arch().cost, Sgd::new(1.0)).expect("a step");
                        done += 1;
                    }
                }
                let (got, want) = (net.parameters().expect("some"), by_hand.parameters().expect("some"));
                let far = got.iter().zip(&want).fold(0.0_f32, |far, (a, b)| far.max((a - b).abs()));
                assert!(far < 1e-5, "{device}, {most} steps: parameters differ by {far}");
                // The cost of an epoch that was cut short is the mean over the rows that were seen.
                for report in &history.epochs {
                    let here = costs.iter().filter(|(epoch, ..)| epoch + 1 == report.epoch as u64);
                    let (sum, rows) = here.fold((0.0, 0), |(sum, rows), (_, cost, n)| (sum + cost, rows + n));
                    let want = sum / rows as f64;
                    assert!((report.train_cost - want).abs() < 1e-5 * want, "{device}: {report:?}, not {want}");
                }
            }
        }
    }
}

#[test]
fn a_budget_of_time_ends_a_run_early() {
    for device in common::devices() {
        let train = wgrad::data::synthetic_digits(500, 1).expect("digits");
        let mut net = Network::new(784).dense(30, Activation::Sigmoid).dense(10, Activation::Sigmoid);
        net = net.seed(1);
        let mut net = net.build(&device).expect("a net");
        let clock = Instant::now();
        let mut trainer = Trainer::new(Cost::Quadratic, Sgd::new(1.0)).epochs(1_000_000);
        trainer = trainer.max_time(Duration::from_millis(300));
        let history = trainer.fit(&mut net, &train, None).expect("a fit");
        println!("{device}: {} epochs in {:?}", history.epochs.len(), clock.elapsed());
        assert_eq!(history.stop, Some(StopReason::Time), "{device}");
        assert!(clock.elapsed() >= Duration::from_millis(300) && history.epochs.len() < 1_000_000);
        // No time at all: one submission.
        let history = trainer_without_time().fit(&mut net, &train, None).expect("a fit");
        assert_eq!((history.stop, history.epochs.len()), (Some(StopReason::Time), 1), "{device}");
        assert!((1..=50).contains(&history.epochs[0].steps), "{:?}", history.epochs);
    }
}

fn trainer_without_time<'a>() -> Trainer<'a> {
    Trainer::new(Cost::Quadratic, Sgd::new(1.0)).max_time(Duration::ZERO)
}

#[test]
fn a_plateau_slows_and_ends_a_run() {
    let (train, test) = data();
    for device in common::devices() {
        let run = |plateau: Plateau| {
            let mut net = arch().build(&device, PlanKind::Fused, 1);
            let history = trainer().epochs(60).plateau(plateau).fit(&mut net, &train, Some(&test)).expect("a fit");
            (history, parameters(&net))
        };
        let (history, parameters) = run(Plateau::new(2).metric(Metric::TestCost));
        assert_eq!(history.stop, Some(StopReason::Plateau), "{device}");
        let etas: Vec<f64> = history.epochs.iter().map(|epoch| epoch.eta).collect();
        // The rate of each epoch follows from the costs before it.
        let (mut factor, mut best, mut waited) = (1.0, f64::INFINITY, 0);
        for (epoch, eta) in history.epochs.iter().zip(&etas) {
            assert_eq!(*eta, factor, "{device}: {etas:?}");
            let cost = epoch.test.expect("held-out data").cost;
            (best, waited) = if cost < best { (cost, 0) } else { (best, waited + 1) };
            if waited == 2 {
                (factor, waited) = (factor / 2.0, 0);
            }
        }
        assert_eq!(factor, 1.0 / 128.0, "{device}: {etas:?}");
        let (longer, others) = run(Plateau::new(2).metric(Metric::TestCost).stop(false));
        assert_eq!((longer.stop, longer.epochs.len()), (Some(StopReason::Epochs), 60));
        assert_eq!(longer.epochs[59].eta, 1.0 / 128.0);
        assert_ne!(parameters, others);
        println!("{device}: ends after {} epochs", history.epochs.len());
    }
}

#[test]
fn metrics_that_a_run_does_not_have_are_refused() {
    let (train, test) = data();
    let refused = |trainer: Trainer<'_>, test: Option<&Dataset>| {
        let mut net = arch().build(&Device::cpu(), PlanKind::Fused, 1);
        let before = parameters(&net);
        let mut trainer = trainer;
        let result = trainer.fit(&mut net, &train, test);
        assert_eq!(parameters(&net), before, "it was found before anything was trained");
        match result {
            Err(Error::InvalidOption { option, value, want }) => format!("{option} {value} {want}"),
            other => panic!("{other:?}"),
        }
    };
    let told = refused(trainer().early_stopping(EarlyStopping::new(2)), None);
    assert!(told.contains("test_cost") && told.contains("held-out"), "{told}");
    let told = refused(trainer().plateau(Plateau::new(2)), None);
    assert!(told.contains("test_accuracy"), "{told}");
    // Four classes have no top five, and no errors of values.
    for metric in [Metric::TestTop5, Metric::TestRmse, Metric::TestMae, Metric::TestR2] {
        let told = refused(trainer().keep_best(metric), Some(&test));
        assert!(told.contains(metric.name()), "{told}");
    }
    assert!(refused(trainer().early_stopping(EarlyStopping::new(0)), Some(&test)).contains("patience"));
    let nan = EarlyStopping::new(1).min_change(f64::NAN);
    assert!(refused(trainer().early_stopping(nan), Some(&test)).contains("change"));
    assert!(refused(trainer().max_steps(0), Some(&test)).contains("steps"));
    let mut net = arch().build(&Device::cpu(), PlanKind::Fused, 1);
    let started = trainer().plateau(Plateau::new(2)).start(&mut net, &train).map(|_| ());
    assert!(matches!(started, Err(Error::InvalidOption { .. })), "{started:?}");
    for metric in Metric::ALL {
        assert_eq!(metric.name().parse::<Metric>().expect("its own name"), metric);
    }
    assert!("test_loss".parse::<Metric>().is_err());
}

// ---- files ------------------------------------------------------------------------------------------------------

fn histories() -> Vec<History> {
    let (train, test) = data();
    let mut net = arch().build(&Device::cpu(), PlanKind::Fused, 1);
    let classes = trainer().epochs(3).keep_best(Metric::TestCost).fit(&mut net, &train, Some(&test)).expect("a fit");
    let without = trainer().epochs(2).fit(&mut net, &train, None).expect("a fit");
    let cut = trainer().max_steps(8).fit(&mut net, &train, Some(&test)).expect("a fit");
    let values = Dataset::new(vec![0.0, 1.0, 2.0], 1, vec![1.0, 3.0, 4.0], 1).expect("data");
    let mut line = Network::new(1).dense(1, Activation::Identity).build(&Device::cpu()).expect("a net");
    let mut trainer = Trainer::new(Cost::Quadratic, Sgd::new(0.1)).epochs(2);
    let regression = trainer.fit(&mut line, &values, Some(&values)).expect("a fit");
    vec![classes, without, cut, regression, History::default()]
}

#[test]
fn histories_are_read_as_they_were_written() {
    let folder = tempfile::tempdir().expect("a folder");
    for (i, history) in histories().into_iter().enumerate() {
        let json = folder.path().join(format!("{i}.json"));
        history.write_json(&json).expect("written");
        assert_eq!(History::read_json(&json).expect("read"), history);
        let csv = folder.path().join(format!("{i}.csv"));
        history.write_csv(&csv).expect("written");
        let read = History::read_csv(&csv).expect("read");
        assert_eq!((read.epochs, read.stop), (history.epochs.clone(), None));
        let text = std::fs::read_to_string(&csv).expect("a text");
        assert_eq!(text.lines().count(), 1 + history.epochs.len(), "{text}");
        println!("{text}");
    }
    let head = |history: &History| history.to_csv().lines().next().map(str::to_owned).unwrap_or_default();
    let all = histories();
    assert!(head(&all[0]).contains("test_f1") && !head(&all[0]).contains("test_r2"), "{}", head(&all[0]));
    assert!(head(&all[3]).contains("test_r2") && !head(&all[3]).contains("test_f1"), "{}", head(&all[3]));
    assert!(!head(&all[1]).contains("test"), "{}", head(&all[1]));
    assert!(all[0].to_json().contains("\"stop\": \"epochs\""), "{}", all[0].to_json());
}

#[test]
fn broken_files_are_named_with_the_place() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("history");
    let good = histories()[0].to_csv();
    let lines: Vec<&str> = good.lines().collect();
    let csv = [
        (good.replace("epoch,", "epochs,"), "column epoch"),
        (good.replacen(lines[2], "1,2", 1), "line 3 has 2 columns"),
        (good.replacen("2,6,", "2,x,", 1), "line 3, column steps: 'x'"),
        (good.replacen("2,6,", "2,6.5,", 1), "line 3, column steps: '6.5'"),
        (good.replacen("2,6,", "-2,6,", 1), "line 3, column epoch: '-2'"),
        (good.replacen("2,6,", "2,NaN,", 1), "line 3, column steps: 'NaN'"),
        (good.replacen("2,6,", "1e300,6,", 1), "line 3, column epoch"),
    ];
    for (text, said) in csv {
        std::fs::write(&path, &text).expect("written");
        let told = History::read_csv(&path).expect_err(said).to_string();
        assert!(told.contains(said) && told.contains("history"), "{told}");
    }
    for text in ["", "{", "[]", "{\"epochs\": [1]}", "{\"epochs\": [], \"stop\": \"tired\"}", "\u{0}"] {
        std::fs::write(&path, text).expect("written");
        let error = History::read_json(&path).expect_err(text);
        assert!(matches!(error, Error::File { .. }) && error.to_string().contains("line"), "{error}");
    }
    std::fs::write(&path, [0xff, 0xfe]).expect("written");
    assert!(matches!(History::read_csv(&path), Err(Error::Io { .. })));
    assert!(matches!(History::read_json(folder.path()), Err(Error::Io { .. })));
    assert!(matches!(History::read_json(folder.path().join("none")), Err(Error::Io { .. })));
    assert!(matches!(histories()[0].write_csv(folder.path()), Err(Error::Io { .. })));
}
