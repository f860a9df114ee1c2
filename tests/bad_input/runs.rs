//! Networks and runs of any settings; what a run writes, reads and tells.

use std::ops::ControlFlow;
use std::time::Duration;

use wgrad::plan::{Goal, PlanKind, Source};
use wgrad::progress::Progress;
use wgrad::{Activation, Adam, AdamW, Checkpoints, Cost, Dataset, Device, EarlyStopping, EpochReport, Error, Event};
use wgrad::{History, Init, Metric, Network, Plateau, Population, Recovery, Regularization, Result, Schedule, Sgd};
use wgrad::{Slowed, Span, Trainer, Watch};

use crate::{COUNTS, NUMBERS, kind, refused};

fn data() -> Dataset {
    Dataset::with_labels((0..20).map(|i| i as f32).collect(), 2, vec![0, 1, 0, 1, 1, 0, 0, 1, 1, 0], 2).expect("data")
}

fn net() -> Network {
    Network::new(2).dense(2, Activation::Sigmoid).seed(1).build(&Device::cpu()).expect("a network")
}

fn trainer() -> Trainer<'static> {
    Trainer::new(Cost::Quadratic, Sgd::new(0.01)).epochs(2).batch_size(4)
}

#[test]
fn networks_of_any_settings() {
    let device = Device::cpu();
    for &x in &NUMBERS {
        let x = x as f32;
        let build = |net: wgrad::NetworkBuilder| net.dense(2, Activation::Sigmoid).build(&device).map(drop);
        let dropped = build(Network::new(2).dense(3, Activation::Tanh).dropout(x));
        assert_eq!(dropped.is_ok(), (0.0..1.0).contains(&x), "dropout {x}");
        let init = build(Network::new(2).init(Init::Constant(x)));
        assert_eq!(init.is_ok(), x.is_finite(), "init {x}");
        let layer = build(Network::new(2).dense(3, Activation::Tanh).layer_init(Init::Constant(x)));
        assert_eq!(layer.is_ok(), x.is_finite(), "layer_init {x}");
        refused(build(Network::new(2).layer_init(Init::He)), "architecture", "before any layer");
        for rows in [0, 1, usize::MAX] {
            let mut optimizer = Sgd::new(0.1);
            optimizer.regularization = Regularization::default();
            let optimizer = optimizer.lambda(x, rows);
            let stepped = net().update_mini_batch(&[1.0, 2.0], &[0.0, 1.0], Cost::Quadratic, optimizer);
            let good = x >= 0.0 && (x / rows as f32).is_finite();
            assert_eq!(stepped.is_ok(), good, "lambda {x} of {rows} rows: {stepped:?}");
        }
        let adam = || AdamW::new(0.1);
        let decays = [adam().weight_decay(x), adam().l1(x), adam().decoupled_decay(x)].map(|with| (with, x >= 0.0));
        let bounds = [adam().max_norm(x), adam().clip_value(x), adam().clip_norm(x)].map(|with| (with, x > 0.0));
        for (with, good) in decays.into_iter().chain(bounds) {
            let stepped = net().update_mini_batch(&[1.0, 2.0], &[0.0, 1.0], Cost::Quadratic, with);
            assert_eq!(stepped.is_ok(), good && x.is_finite(), "{with:?}: {stepped:?}");
        }
    }
    let net = net();
    for count in COUNTS {
        for kind in PlanKind::ALL {
            let forced = Network::new(2).dense(2, Activation::Sigmoid).plan(kind).build(&device).expect("a network");
            assert!(!forced.plan(count).1.is_empty(), "{count} rows");
        }
        assert_eq!(net.request(Goal::Train, Cost::Quadratic, Source::Direct, count).rows, count);
    }
    let other = Dataset::new(vec![0.0; 3], 3, vec![0.5; 1], 1).expect("data");
    refused(net.metrics(&other, Cost::Quadratic), "several", "data of other inputs and outputs");
    refused(net.metrics(&data(), Cost::CategoricalCrossEntropy), "pairing", "a cost for softmax");
    // Gradients of a network of other layers, and those that are no numbers.
    let mut wide = Network::new(2).dense(3, Activation::Sigmoid).build(&device).expect("a network");
    let mut gradients = net.gradients(&[1.0, 2.0], &[0.0, 1.0], Cost::Quadratic).expect("gradients");
    refused(wide.update(&gradients, Sgd::new(0.1)), "shape", "gradients of another network");
    gradients.as_mut_slice()[2] = f32::NAN;
    let mut same = self::net();
    let before = same.parameters().expect("parameters");
    refused(same.update(&gradients, Sgd::new(0.1)), "not finite", "gradients that are none");
    assert_eq!(same.parameters().expect("parameters"), before);
}

/// A run with any of these settings ends as it should, or is refused before it starts.
#[test]
fn runs_of_any_settings() {
    let data = data();
    let mut runs: Vec<(String, Trainer<'_>)> = Vec::new();
    for count in COUNTS {
        runs.push((format!("{count} rows a batch"), trainer().batch_size(count)));
        runs.push((format!("{count} steps"), trainer().max_steps(count as u64)));
        runs.push((format!("seed {count}"), trainer().seed(count as u64)));
        runs.push((format!("verify every {count}"), trainer().verify_every(count as u64)));
        runs.push((format!("patience {count}"), trainer().early_stopping(EarlyStopping::new(count))));
        runs.push((format!("plateau {count}"), trainer().plateau(Plateau::new(count).stop(count % 2 == 0))));
        let recovery = Recovery::default().retries(u32::try_from(count).unwrap_or(u32::MAX));
        let never = || async { Err(Error::Empty { what: "a device".to_owned() }) };
        let recovery = recovery.every(Duration::MAX).pause(Duration::MAX).allow_cpu(true).device_from(never);
        let mut population = Population::new(&Device::cpu(), Cost::Quadratic).epochs(1).recovery(recovery.clone());
        population.add(Network::new(2).dense(2, Activation::Sigmoid), Sgd::new(0.01), 1).expect("a member");
        assert_eq!(population.fit(&data).expect("the CPU is not lost").recovered, 0);
        runs.push((format!("{count} retries"), trainer().recovery(recovery)));
    }
    for &x in &NUMBERS {
        let stopping = EarlyStopping::new(1).min_change(x).restore_best(x > 0.0);
        runs.push((format!("least change {x}"), trainer().early_stopping(stopping.metric(Metric::TrainCost))));
        runs.push((format!("plateau by {x}"), trainer().plateau(Plateau::new(1).by(x, 0.5))));
        runs.push((format!("plateau to {x}"), trainer().plateau(Plateau::new(1).by(0.5, x))));
        let plateau = Plateau::new(1).min_change(x).metric(Metric::TestCost);
        runs.push((format!("plateau's change {x}"), trainer().plateau(plateau)));
        runs.push((format!("custom {x}"), trainer().schedule(Schedule::custom(move |_| x))));
        let spans = [Span::Epochs(x), Span::Run(x)];
        for span in spans {
            let schedules = [
                Schedule::step(span, 0.5),
                Schedule::exponential(span, x),
                Schedule::cosine(span),
                Schedule::cosine_restarts(span, x, 0.0),
                Schedule::one_cycle_with(x, 0.5, 0.5),
                Schedule::constant().warm_up(span),
                Schedule::constant().then(span, Schedule::one_cycle()),
            ];
            runs.extend(schedules.into_iter().map(|s| (format!("{s:?}"), trainer().schedule(s))));
        }
        let smoothed = Trainer::new(Cost::BinaryCrossEntropy, Adam::new(0.01)).epochs(1).label_smoothing(x as f32);
        runs.push((format!("smoothing {x}"), smoothed));
    }
    for time in [Duration::ZERO, Duration::from_nanos(1), Duration::MAX] {
        runs.push((format!("{time:?}"), trainer().max_time(time)));
    }
    let stop = |event: Event<'_>| match event {
        Event::Progress { .. } => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    };
    runs.push(("stopped at once".to_owned(), trainer().on_event(stop).keep_best(Metric::TestF1)));
    let (mut ended, mut not) = (0, 0);
    for (what, mut trainer) in runs {
        let mut net = net();
        let before = net.parameters().expect("parameters");
        let checked = trainer.check(&net, &data, Some(&data));
        match trainer.fit(&mut net, &data, Some(&data)) {
            Ok(history) => {
                ended += 1;
                assert!(checked.is_ok() && history.stop.is_some(), "{what}");
                assert!(net.parameters().expect("parameters").iter().all(|w| w.is_finite()), "{what}");
            }
            Err(error) => {
                not += 1;
                assert!(["option", "several", "diverged"].contains(&kind(&error)), "{what}: {error}");
                // What a function of the caller's gives is seen when it is asked; all else before anything is done.
                assert!(checked.is_err() || what.starts_with("custom"), "{what}: {error}");
                assert!(net.parameters().expect("parameters") == before, "{what} trained: {error}");
            }
        }
    }
    println!("{ended} runs, {not} refused");
    assert!(ended > 80 && not > 60);
    let mut net = net();
    let mut run = trainer().start(&mut net, &data).expect("a run");
    assert!(run.step_for(Duration::ZERO).is_ok() && run.step_for(Duration::MAX).is_ok());
    for path in ["", "no such folder/x", "nul\0", "/"] {
        assert!(run.save(path).is_err_and(|error| ["io", "file"].contains(&kind(&error))), "'{path}'");
    }
}

/// However many files are to be kept, and however often, a run ends soon and keeps as many as there were saves.
#[test]
fn checkpoints_of_any_settings() {
    let data = data();
    let mut kept = 0;
    for count in COUNTS {
        for every in 0..4 {
            let folder = tempfile::tempdir().expect("a folder");
            let to = Checkpoints::new(folder.path().join("run.st")).keep_last(count).keep_best(Metric::TrainCost);
            let to = match every {
                0 => to.every_epochs(count),
                1 => to.every_steps(count as u64),
                2 => to.every(Duration::ZERO),
                _ => to.every(Duration::MAX),
            };
            assert!(to.path_before(count).parent() == to.path().parent());
            let result = trainer().checkpoints(to.clone()).fit(&mut net(), &data, None);
            if count == 0 {
                assert!(result.is_err_and(|error| ["option", "several"].contains(&kind(&error))), "{count}, {every}");
                continue;
            }
            result.expect("a run");
            let files = (0..100).filter(|&saves| to.path_before(saves).exists()).count();
            assert!(files >= 1 && files <= count && Trainer::resume(to.path(), &Device::cpu()).is_ok());
            kept += files;
        }
    }
    println!("{kept} files kept");
    for path in ["", "/", ".", "..", "no such folder/run.st", "nul\0.st"] {
        let error = trainer().checkpoints(Checkpoints::new(path)).check(&net(), &data, None).expect_err(path);
        assert!(["io", "file"].contains(&kind(&error)), "'{path}': {error}");
    }
}

/// More saves than files are kept, and fewer: the newest have their places, in order.
#[test]
fn the_last_files_are_kept_in_order() {
    let data = data();
    for keep in [1, 2, 3, 9, usize::MAX] {
        let folder = tempfile::tempdir().expect("a folder");
        let to = Checkpoints::new(folder.path().join("run.st")).every_epochs(1).keep_last(keep);
        trainer().epochs(5).checkpoints(to.clone()).fit(&mut net(), &data, None).expect("a run");
        let epochs: Vec<usize> = (0..10)
            .map_while(|saves| Trainer::resume(to.path_before(saves), &Device::cpu()).ok())
            .map(|(_, trainer)| trainer.position().expect("a run").0)
            .collect();
        let want: Vec<usize> = (1..=5).rev().take(keep).collect();
        assert_eq!(epochs, want, "of 5 saves {keep} are kept");
    }
}

fn report(epoch: usize, cost: f64) -> EpochReport {
    let (train_cost, train_accuracy, test) = (cost, cost, None);
    EpochReport {
        epoch,
        steps: epoch,
        eta: cost,
        train_cost,
        train_accuracy,
        test,
        seconds: cost,
        steps_per_second: cost,
    }
}

#[test]
fn histories_and_watches_of_anything() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("history");
    for &x in &NUMBERS {
        let mut history = History::default();
        history.epochs = vec![report(0, x), report(1 << 40, 1.0)];
        assert_eq!(history.best(Metric::TestF1), None);
        assert!(history.best(Metric::TrainCost).is_some_and(|(_, best)| !best.is_nan()));
        history.write_csv(&path).expect("a file");
        assert_eq!(History::read_csv(&path).is_ok_and(|read| read.epochs.len() == 2), x.is_finite(), "{x}");
        history.write_json(&path).expect("a file");
        assert_eq!(History::read_json(&path).is_ok_and(|read| read == history), x.is_finite(), "{x}");
        for metric in Metric::ALL {
            assert_eq!(metric.of(&report(1, x)).is_some(), metric.name().starts_with("train"), "{metric}");
            for waited in [0, usize::MAX] {
                let mut watch = Watch { best: Some((1, x)), waited };
                let better = watch.see(metric, x, &report(2, f64::NAN));
                assert!(!better && watch.waited >= waited, "{metric}, {x}");
                let mut slowed = Slowed { factor: x, watch };
                let plateau = Plateau::new(1).metric(metric).by(0.5, 0.25);
                let _ = plateau.see(&mut slowed, &report(3, x));
                assert!(slowed.factor.to_bits() == x.to_bits() || slowed.factor >= 0.25, "{metric}, {x}");
            }
        }
    }
    let texts =
        ["", ",", "epoch", "epoch,epoch\n1", "{}", "null", "[]", "\u{0}", "{\"epochs\":[{}]}", "{\"epochs\":3}"];
    for text in texts {
        std::fs::write(&path, text).expect("a file");
        assert!(History::read_json(&path).is_err_and(|error| kind(&error) == "file"), "{text}");
        assert!(History::read_csv(&path).is_ok_and(|read| read.epochs.is_empty()) || text.contains('\n'), "{text}");
    }
    std::fs::write(&path, ",".repeat(2000)).expect("a file");
    refused(History::read_csv(&path), "file", "2001 columns");
    for path in ["", "no such folder/x", "nul\0", "/"] {
        let history = History::default();
        let results = [history.write_csv(path), history.write_json(path), History::read_csv(path).map(drop)];
        for result in results.into_iter().chain([History::read_json(path).map(drop)]) {
            assert!(result.is_err_and(|error| kind(&error) == "io"), "'{path}'");
        }
    }
}

#[test]
fn progress_of_any_counts() {
    for epochs in COUNTS {
        for steps in COUNTS {
            let mut progress = Progress::lines(std::io::sink(), Duration::ZERO);
            assert_eq!(progress.suspend(|| 7), 7);
            for (epoch, step) in [(0, 0), (1, steps), (epochs, steps), (usize::MAX, usize::MAX)] {
                progress.see(&Event::Progress { epoch, epochs, step, steps });
                progress.see(&Event::Epoch(&report(steps, f64::NAN)));
            }
        }
    }
}

#[test]
fn populations_of_any_settings() {
    let data = data();
    let network = || Network::new(2).dense(2, Activation::Sigmoid);
    let results = |mut population: Population, of: &Dataset| -> Vec<Result<()>> {
        population.add(network(), Sgd::new(0.1), u64::MAX).expect("a member");
        vec![population.fit(of).map(drop), population.evaluate_ensemble(of).map(drop)]
    };
    let population = |cost| Population::new(&Device::cpu(), cost).epochs(1);
    for count in COUNTS {
        let fitted = &results(population(Cost::Quadratic).batch_size(count), &data)[0];
        assert_eq!(fitted.is_ok(), count > 0, "{count} rows");
    }
    for &x in &NUMBERS {
        let fitted = &results(population(Cost::BinaryCrossEntropy).label_smoothing(x as f32), &data)[0];
        assert_eq!(fitted.is_ok(), (0.0..1.0).contains(&(x as f32)), "smoothing {x}");
        let added = population(Cost::Quadratic).add(network(), Sgd::new(x as f32), 1);
        assert_eq!(added.is_ok(), x as f32 > 0.0 && (x as f32).is_finite(), "eta {x}");
    }
    let other = Dataset::new(vec![0.0; 6], 3, vec![0.0; 2], 1).expect("data");
    assert!(results(population(Cost::Quadratic), &other).iter().all(Result::is_err));
    let mut wrong = population(Cost::CategoricalCrossEntropy);
    refused(wrong.add(network(), Sgd::new(0.1), 1), "pairing", "a cost for softmax");
    let targets = Dataset::new(vec![0.0; 4], 2, vec![2.0; 4], 2).expect("data");
    let fitted = &results(population(Cost::BinaryCrossEntropy), &targets)[0];
    assert!(matches!(fitted, Err(Error::Target { row: 0, .. })), "{fitted:?}");
}
