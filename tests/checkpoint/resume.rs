//! A run that goes on from a file ends with the bits of one that was never interrupted.

use std::ops::ControlFlow;
use std::time::Duration;

use wgrad::plan::PlanKind;
use wgrad::{
    Activation, Adam, Checkpoints, Cost, Dataset, Device, EarlyStopping, Error, Event, History, Metric, Network,
    Optimizer, Plateau, Schedule, Sgd, Span, StopReason, Trainer,
};

use crate::common::nets::Numbers;
use crate::common::{devices, devices_and_plans};
use crate::make::{BATCH, EPOCHS, ROWS, STEPS, arrays, bits, data, net, optimizers, timeless, trainer};

/// Trains with saves as `when` says, all of which are kept; then goes on from each of them. Says how many there were.
fn every_save(
    device: &Device,
    plan: PlanKind,
    optimizer: Optimizer,
    dropout: f32,
    when: impl FnOnce(Checkpoints) -> Checkpoints,
) -> usize {
    let folder = tempfile::tempdir().expect("a folder");
    let weights = (0..ROWS).map(|row| if row % 3 == 0 { 2.0 } else { 0.5 }).collect();
    let (train, test) = (data(ROWS, 1).with_weights(weights).expect("weights"), data(13, 2));
    let what = format!("{device}, {plan}, {optimizer:?}, dropout {dropout}");

    let mut plain = net(device, plan, dropout);
    let want = timeless(trainer(optimizer).fit(&mut plain, &train, Some(&test)).expect("a run"));

    let checkpoints = when(Checkpoints::new(folder.path().join("run.st"))).keep_last(100);
    let mut saved = net(device, plan, dropout);
    let history = trainer(optimizer).checkpoints(checkpoints.clone()).fit(&mut saved, &train, Some(&test));
    assert_eq!(timeless(history.expect("a run")), want, "{what}: saving changes the run");
    assert!(bits(&saved) == bits(&plain), "{what}: saving changes the bits");
    let last = arrays(checkpoints.path());

    let files = (0..).map(|saves| checkpoints.path_before(saves)).take_while(|path| path.exists()).count();
    for saves in 0..files {
        let path = checkpoints.path_before(saves);
        let (mut net, trainer) = Trainer::resume(&path, device).expect("a checkpoint");
        let again = Checkpoints::new(folder.path().join("again.st"));
        let history = trainer.checkpoints(again.clone()).fit(&mut net, &train, Some(&test)).expect("the rest of a run");
        assert_eq!(timeless(history), want, "{what}: history from save {saves} of {files} before the last");
        assert!(bits(&net) == bits(&plain), "{what}: other bits from save {saves} of {files} before the last");
        if saves > 0 {
            // What the optimiser remembers, and the best parameters.
            assert!(arrays(again.path()) == last, "{what}: other state from save {saves} of {files}");
        }
    }
    files
}

#[test]
fn resume_is_exact_from_everywhere_with_every_optimizer_and_plan() {
    for (device, plan) in devices_and_plans() {
        let mut count = 0;
        for optimizer in optimizers() {
            for dropout in [0.0, 0.3] {
                count += every_save(&device, plan, optimizer, dropout, |saves| saves.every_steps(5));
            }
        }
        println!("{device}, {plan}: {count} resumes, each to the same bits");
        assert!(count > 12 * 4, "{count}");
    }
    // Every step, once.
    let adam = Adam::new(0.01).into();
    let count = every_save(&Device::cpu(), PlanKind::Fused, adam, 0.3, |saves| saves.every_steps(1));
    assert!(count >= STEPS * 2, "{count}");
    // Whenever the device comes back, and once an epoch.
    for device in devices() {
        let count = every_save(&device, PlanKind::Fused, adam, 0.3, |saves| saves.every(Duration::ZERO));
        assert!(count >= EPOCHS, "{device}: {count}");
        let count = every_save(&device, PlanKind::Fused, adam, 0.3, |saves| saves.every_epochs(1));
        assert!((2..=EPOCHS).contains(&count), "{device}: {count}");
    }
}

/// Negative control: parameters alone do not go on as the run would have.
#[test]
fn parameters_alone_are_not_enough() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("run.st");
    let (train, device) = (data(ROWS, 1), Device::cpu());
    let run = |epochs| Trainer::new(Cost::BinaryCrossEntropy, Adam::new(0.01)).batch_size(BATCH).epochs(epochs);
    let mut whole = net(&device, PlanKind::Fused, 0.0);
    run(4).fit(&mut whole, &train, None).expect("a run");
    let mut half = net(&device, PlanKind::Fused, 0.0);
    run(2).checkpoints(Checkpoints::new(&file)).fit(&mut half, &train, None).expect("a run");

    let mut loaded = Network::load(&file, &device).expect("a network");
    assert!(bits(&loaded) == bits(&half));
    run(2).fit(&mut loaded, &train, None).expect("a run");
    assert!(bits(&loaded) != bits(&whole));

    let (mut resumed, trainer) = Trainer::resume(&file, &device).expect("a run");
    trainer.epochs(4).fit(&mut resumed, &train, None).expect("a run");
    assert!(bits(&resumed) == bits(&whole));
}

/// A run that its callback ends anywhere, as Ctrl-C does, goes on from there.
#[test]
fn a_run_that_its_callback_ended_goes_on() {
    for device in devices() {
        let folder = tempfile::tempdir().expect("a folder");
        let (train, test) = (data(ROWS, 1), data(13, 2));
        let mut whole = net(&device, PlanKind::Fused, 0.2);
        let want = timeless(trainer(Adam::new(0.01).into()).fit(&mut whole, &train, Some(&test)).expect("a run"));
        for end in 0..12 {
            let checkpoints = Checkpoints::new(folder.path().join("run.st")).every_epochs(1000);
            let mut first = net(&device, PlanKind::Fused, 0.2);
            let mut seen = 0;
            let trainer = trainer(Adam::new(0.01).into()).checkpoints(checkpoints.clone()).on_event(|_| {
                seen += 1;
                if seen > end { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
            let history = { trainer }.fit(&mut first, &train, Some(&test)).expect("a run");
            assert_eq!(history.stop, Some(StopReason::Callback));
            let (mut net, mut trainer) = Trainer::resume(checkpoints.path(), &device).expect("a checkpoint");
            let history = trainer.fit(&mut net, &train, Some(&test)).expect("the rest of a run");
            assert_eq!(timeless(history), want, "{device}: after {end} events");
            assert!(bits(&net) == bits(&whole), "{device}: after {end} events");
        }
    }
}

/// Steps and time that were not enough leave a run within an epoch: with more of them it goes on as if there had been enough.
#[test]
fn limits_can_be_raised() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("run.st");
    let (train, test, device) = (data(ROWS, 1), data(13, 2), Device::cpu());
    let run = || {
        let trainer = Trainer::new(Cost::BinaryCrossEntropy, Adam::new(0.01)).batch_size(BATCH).epochs(3);
        trainer.keep_best(Metric::TestCost)
    };
    let mut whole = net(&device, PlanKind::Fused, 0.0);
    let want = timeless(run().fit(&mut whole, &train, Some(&test)).expect("a run"));
    for steps in [1, 5, 6, 7, 12, 17] {
        let mut part = net(&device, PlanKind::Fused, 0.0);
        let limited = run().max_steps(steps).checkpoints(Checkpoints::new(&file)).fit(&mut part, &train, Some(&test));
        let limited = limited.expect("a run");
        assert_eq!(limited.stop, Some(StopReason::Steps));
        // Without more it ends again, in the same way.
        let (mut net, mut trainer) = Trainer::resume(&file, &device).expect("a checkpoint");
        let again = trainer.fit(&mut net, &train, Some(&test)).expect("nothing left to do");
        assert_eq!(timeless(again), timeless(limited), "{steps} steps");
        assert!(bits(&net) == bits(&part), "{steps} steps");
        let (mut net, trainer) = Trainer::resume(&file, &device).expect("a checkpoint");
        let history = trainer.max_steps(u64::MAX).fit(&mut net, &train, Some(&test)).expect("the rest");
        assert_eq!(timeless(history), want, "{steps} steps");
        assert!(bits(&net) == bits(&whole), "{steps} steps");
    }
}

/// A run in slices of time, saved between any two of them.
#[test]
fn slices_of_time_go_on_too() {
    for device in devices() {
        let (train, optimizer) = (data(ROWS, 1), optimizers()[4]);
        let run = || Trainer::new(Cost::BinaryCrossEntropy, optimizer).batch_size(BATCH).epochs(3);
        let mut whole = net(&device, PlanKind::Fused, 0.2);
        let want = timeless(run().fit(&mut whole, &train, None).expect("a run"));
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("run.st");
        let mut current = net(&device, PlanKind::Fused, 0.2);
        let mut trainer = run();
        let mut reports = Vec::new();
        let mut calls = 0;
        while reports.len() < 3 {
            let mut run = trainer.start(&mut current, &train).expect("a run");
            reports.extend(run.step_for(Duration::ZERO).expect("a slice").epoch);
            run.save(&file).expect("a file");
            drop(run);
            (current, trainer) = Trainer::resume(&file, &device).expect("a checkpoint");
            calls += 1;
            assert!(calls < 10_000, "it never ends");
        }
        let mut history = History::default();
        history.epochs = reports;
        history.stop = want.stop;
        assert_eq!(timeless(history), want, "{device}");
        assert!(bits(&current) == bits(&whole), "{device}: {calls} processes");
        println!("{device}: {calls} saves and resumes");
    }
}

#[test]
fn the_best_epoch_has_a_file_of_its_own() {
    let folder = tempfile::tempdir().expect("a folder");
    let checkpoints =
        Checkpoints::new(folder.path().join("run.st")).every_epochs(2).keep_last(2).keep_best(Metric::TestCost);
    let (train, test, device) = (data(ROWS, 1), data(13, 2), Device::cpu());
    let mut net = net(&device, PlanKind::Fused, 0.0);
    let trainer = Trainer::new(Cost::BinaryCrossEntropy, Sgd::new(2.0)).batch_size(BATCH).epochs(EPOCHS);
    let history = trainer.checkpoints(checkpoints.clone()).fit(&mut net, &train, Some(&test)).expect("a run");
    let (_, cost) = history.best(Metric::TestCost).expect("epochs");
    let best = Network::load(checkpoints.best_path(), &device).expect("the best");
    assert_eq!(best.evaluate(&test, Cost::BinaryCrossEntropy).expect("an evaluation").cost.to_bits(), cost.to_bits());
    assert!(checkpoints.path_before(1).exists() && !checkpoints.path_before(2).exists());
    let left = std::fs::read_dir(folder.path()).expect("a folder").count();
    assert_eq!(left, 3, "nothing but the newest, the one before, and the best");
    let newest = Network::load(checkpoints.path(), &device).expect("the newest");
    assert!(bits(&newest) == bits(&net) && bits(&best) != bits(&newest));
}

/// Errors beyond 1e19 have squares that are infinite, which is no number in a file: they are no best, and not in the history.
#[test]
fn metrics_that_are_infinite_leave_files_that_can_be_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("run.st");
    let device = Device::cpu();
    let data = |seed| {
        let mut numbers = Numbers(seed);
        let y = numbers.many(ROWS * 2).into_iter().map(|y| y * 1e20).collect();
        Dataset::new(numbers.many(ROWS * 5), 5, y, 2).expect("data")
    };
    for metric in [Metric::TestRmse, Metric::TestR2] {
        let mut net = Network::new(5).dense(2, Activation::Identity).seed(3).build(&device).expect("a net");
        let run = Trainer::new(Cost::Absolute, Sgd::new(0.1)).batch_size(BATCH).epochs(5).keep_best(metric);
        let run = run.early_stopping(EarlyStopping::new(3).metric(metric));
        let run = run.checkpoints(Checkpoints::new(&file).keep_best(metric));
        let history = { run }.fit(&mut net, &data(1), Some(&data(2))).expect("a run with a finite cost");
        assert_eq!((history.stop, history.epochs.len()), (Some(StopReason::EarlyStopping), 3), "{metric}");
        assert!(history.epochs.iter().all(|epoch| metric.of(epoch).is_none() && epoch.train_cost > 1e18), "{metric}");
        let (_, trainer) = Trainer::resume(&file, &device).expect("a checkpoint");
        assert_eq!(trainer.history().expect("a history"), &history);
        history.write_csv(folder.path().join("history.csv")).expect("a table");
        let read = History::read_csv(folder.path().join("history.csv")).expect("a history");
        assert_eq!(read.epochs, history.epochs);
    }
}

/// Text within text within text is not read to any depth: so deep a schedule is not written.
#[test]
fn schedules_too_deep_to_be_read_are_not_saved() {
    let folder = tempfile::tempdir().expect("a folder");
    let (train, device) = (data(ROWS, 1), Device::cpu());
    let saves = Checkpoints::new(folder.path().join("run.st"));
    for (pieces, fits) in [(1, true), (50, true), (51, false), (300, false)] {
        let schedule = (1..pieces).fold(Schedule::constant(), |all, _| all.then(Span::Steps(1), Schedule::constant()));
        let run = || Trainer::new(Cost::BinaryCrossEntropy, Sgd::new(0.1)).epochs(1).schedule(schedule.clone());
        let mut whole = net(&device, PlanKind::Fused, 0.0);
        let trained = run().checkpoints(saves.clone()).fit(&mut whole, &train, None).map(|_| ());
        let bytes = run().start(&mut whole, &train).expect("a run").to_bytes();
        for saved in [trained, bytes.and_then(|bytes| Trainer::from_bytes(&bytes, &device).map(|_| ()))] {
            match saved {
                Ok(()) => assert!(fits && Trainer::resume(saves.path(), &device).is_ok(), "{pieces}"),
                Err(error) => assert!(!fits && error.to_string().contains(&format!("{pieces} pieces")), "{error}"),
            }
        }
    }
}

/// A run that its plateau ended goes on with one that does not end there.
#[test]
fn a_plateau_can_be_replaced() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("run.st");
    let (train, test, device) = (data(ROWS, 1), data(13, 2), Device::cpu());
    let mut net = net(&device, PlanKind::Fused, 0.0);
    // No gain is ever enough.
    let plateau = Plateau::new(1).metric(Metric::TestCost).min_change(1e9).by(0.5, 0.25);
    let run = Trainer::new(Cost::BinaryCrossEntropy, Sgd::new(0.1)).batch_size(BATCH).epochs(20);
    let run = run.plateau(plateau).checkpoints(Checkpoints::new(&file));
    let history = { run }.fit(&mut net, &train, Some(&test)).expect("a run");
    assert_eq!((history.stop, history.epochs.len()), (Some(StopReason::Plateau), 3));
    for (plateau, epochs, stop) in [
        (plateau, 3, StopReason::Plateau),
        (plateau.stop(false), 6, StopReason::Epochs),
        (plateau.by(0.5, 1.0 / 16.0), 5, StopReason::Plateau),
    ] {
        let (mut net, trainer) = Trainer::resume(&file, &device).expect("a checkpoint");
        let more = trainer.plateau(plateau).epochs(6).fit(&mut net, &train, Some(&test)).expect("the rest");
        assert_eq!((more.stop, more.epochs.len()), (Some(stop), epochs), "{plateau:?}");
    }
}

/// What ends with an error is not begun anew by another try, which would write its first epochs over those that were saved.
#[test]
fn a_resumed_run_that_fails_does_not_begin_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("run.st");
    let (train, device) = (data(ROWS, 1), Device::cpu());
    let run = |epochs| Trainer::new(Cost::BinaryCrossEntropy, Sgd::new(0.1)).batch_size(BATCH).epochs(epochs);
    let mut first = net(&device, PlanKind::Fused, 0.0);
    run(2).checkpoints(Checkpoints::new(&file)).fit(&mut first, &train, None).expect("a run");
    let saved = std::fs::read(&file).expect("a file");
    let (mut net, trainer) = Trainer::resume(&file, &device).expect("a checkpoint");
    let in_the_way = |is_there: bool| {
        std::fs::remove_file(&file).or_else(|_| std::fs::remove_dir(&file)).expect("what was there");
        if is_there {
            std::fs::create_dir(&file).expect("a folder")
        } else {
            std::fs::write(&file, &saved).expect("a file")
        }
    };
    let trainer = trainer.epochs(4).checkpoints(Checkpoints::new(&file));
    let mut trainer = trainer.on_event(|event| {
        if matches!(event, Event::Epoch(_)) {
            in_the_way(true);
        }
        ControlFlow::Continue(())
    });
    let error = trainer.fit(&mut net, &train, None).expect_err("nothing can be saved");
    assert!(error.to_string().contains("directory"), "{error}");
    in_the_way(false);
    let error = trainer.fit(&mut net, &train, None).expect_err("another network than the one that was saved");
    assert!(error.to_string().contains("network of the resumed run"), "{error}");
    assert!(std::fs::read(&file).expect("a file") == saved, "the saved run was written over");
    drop(trainer);
    let (mut net, trainer) = Trainer::resume(&file, &device).expect("a checkpoint");
    let mut whole = crate::make::net(&device, PlanKind::Fused, 0.0);
    run(4).fit(&mut whole, &train, None).expect("a run");
    trainer.epochs(4).fit(&mut net, &train, None).expect("the rest");
    assert!(bits(&net) == bits(&whole));
}

/// A file of a run that is over is the network that the run left, though the run goes on from its last epoch.
#[test]
fn the_network_of_a_run_that_is_over_is_its_best() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("run.st");
    let (train, test, device) = (data(ROWS, 1), data(13, 2), Device::cpu());
    let mut net = net(&device, PlanKind::Fused, 0.0);
    let run = Trainer::new(Cost::BinaryCrossEntropy, Sgd::new(4.0)).batch_size(BATCH).epochs(30);
    let run = run.early_stopping(EarlyStopping::new(3)).checkpoints(Checkpoints::new(&file));
    let history = { run }.fit(&mut net, &train, Some(&test)).expect("a run");
    assert!(history.restored.expect("an epoch") < history.epochs.len(), "the best is the last: {history:?}");
    let loaded = Network::load(&file, &device).expect("a network");
    assert!(bits(&loaded) == bits(&net), "not what the run left");
    let (last, _) = Trainer::resume(&file, &device).expect("a checkpoint");
    assert!(bits(&last) != bits(&net), "the run goes on from its last epoch");
}

/// Also where it ended within an epoch: that part of an epoch may be its best, and the run goes on as if there had been no end.
#[test]
fn a_run_that_ends_within_an_epoch_says_what_network_it_left() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("run.st");
    let (train, test, device) = (data(ROWS, 1), data(13, 2), Device::cpu());
    let run = |steps| {
        let run = Trainer::new(Cost::BinaryCrossEntropy, Sgd::new(4.0)).batch_size(BATCH).epochs(30);
        run.keep_best(Metric::TestCost).max_steps(steps)
    };
    let mut whole = net(&device, PlanKind::Fused, 0.0);
    let whole_history = run(60).fit(&mut whole, &train, Some(&test)).expect("a run");
    let mut seen = [0; 3];
    for steps in 1..60 {
        let mut net = net(&device, PlanKind::Fused, 0.0);
        let saved = run(steps).checkpoints(Checkpoints::new(&file));
        let history = { saved }.fit(&mut net, &train, Some(&test)).expect("a run");
        let loaded = Network::load(&file, &device).expect("a network");
        assert!(bits(&loaded) == bits(&net), "not what a run of {steps} steps left");
        let (mut net, trainer) = Trainer::resume(&file, &device).expect("a checkpoint");
        assert_eq!(trainer.history().expect("one").stop, Some(StopReason::Steps));
        let is_whole = history.epochs.last().expect("one").steps == ROWS.div_ceil(BATCH);
        seen[if is_whole { 0 } else { 1 + usize::from(history.restored == Some(history.epochs.len())) }] += 1;
        let again = { trainer.max_steps(60) }.fit(&mut net, &train, Some(&test)).expect("the rest");
        assert!(bits(&net) == bits(&whole), "{steps} steps and the others");
        assert_eq!(again.restored, whole_history.restored);
    }
    assert!(
        seen.iter().all(|&seen| seen > 0),
        "ends after an epoch, within one that was not best, within the best: {seen:?}"
    );
}

/// It is over no more.
#[test]
fn a_run_that_goes_on_in_slices_has_its_network_of_now() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("run.st");
    let (train, device) = (data(ROWS, 1), Device::cpu());
    let mut net = net(&device, PlanKind::Fused, 0.0);
    let run = Trainer::new(Cost::BinaryCrossEntropy, Sgd::new(4.0)).batch_size(BATCH).epochs(4);
    let saved = run.keep_best(Metric::TrainCost).checkpoints(Checkpoints::new(&file));
    { saved }.fit(&mut net, &train, None).expect("a run");
    let (mut net, trainer) = Trainer::resume(&file, &device).expect("a checkpoint");
    let mut run = trainer.start(&mut net, &train).expect("a run");
    assert!(run.step_for(Duration::from_millis(2)).expect("some steps").steps > 0);
    run.save(&file).expect("a file");
    drop(run);
    assert!(bits(&Network::load(&file, &device).expect("a network")) == bits(&net));
}

/// A trainer that began anew would write its first epochs over the file.
#[test]
fn a_resumed_run_whose_callback_panics_does_not_begin_anew() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("run.st");
    let (train, device) = (data(ROWS, 1), Device::cpu());
    let mut net = net(&device, PlanKind::Fused, 0.0);
    let run = || Trainer::new(Cost::BinaryCrossEntropy, Sgd::new(0.5)).batch_size(BATCH);
    run().epochs(2).checkpoints(Checkpoints::new(&file)).fit(&mut net, &train, None).expect("a run");
    let (mut net, trainer) = Trainer::resume(&file, &device).expect("a checkpoint");
    let mut trainer = trainer.epochs(4).checkpoints(Checkpoints::new(&file)).on_event(|_| panic!("on purpose"));
    let fit = std::panic::AssertUnwindSafe(|| trainer.fit(&mut net, &train, None));
    assert!(std::panic::catch_unwind(fit).is_err());
    assert_eq!(trainer.position(), Some((2, 0)));
    let error = trainer.fit(&mut net, &train, None).expect_err("a network that has moved on");
    assert!(error.to_string().contains("network of the resumed run"), "{error}");
    assert_eq!(Trainer::resume(&file, &device).expect("a checkpoint").1.position(), Some((2, 0)));
}

/// What would not be the same run is refused before it starts.
#[test]
fn other_data_networks_and_schedules_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("run.st");
    let (train, test, device) = (data(ROWS, 1), data(13, 2), Device::cpu());
    let mut first = net(&device, PlanKind::Fused, 0.0);
    let custom = || Schedule::custom(|at| if at.step < 8 { 1.0 } else { 0.5 });
    let run = || Trainer::new(Cost::BinaryCrossEntropy, Adam::new(0.01)).batch_size(BATCH).epochs(3).schedule(custom());
    let partial = run().max_steps(8).checkpoints(Checkpoints::new(&file)).fit(&mut first, &train, Some(&test));
    partial.expect("a run with a schedule that is a function");
    let resume = || Trainer::resume(&file, &device).expect("a checkpoint");

    let refused = |(mut net, mut trainer): (Network, Trainer<'_>), data, what: &str| {
        let error = trainer.fit(&mut net, data, Some(&test)).expect_err(what);
        assert!(matches!(&error, Error::InvalidOption { .. }) && error.to_string().contains(what), "{error}");
    };
    refused(resume(), &train, "given again with Trainer::schedule");
    let with_schedule = || {
        let (net, trainer) = resume();
        (net, trainer.schedule(custom()))
    };
    let others = data(ROWS, 7);
    refused(with_schedule(), &others, "training data");
    let (net, trainer) = with_schedule();
    refused((net, trainer.batch_size(3)), &train, "batch size or seed");
    let other = crate::make::net(&device, PlanKind::Fused, 0.0);
    refused((other, with_schedule().1), &train, "network of the resumed run");
    let (mut net, mut trainer) = with_schedule();
    let error = trainer.fit(&mut net, &train, Some(&data(13, 9))).expect_err("other held-out data");
    assert!(error.to_string().contains("held-out data"), "{error}");

    // And with it given again, it is the run that it would have been.
    let mut whole = crate::make::net(&device, PlanKind::Fused, 0.0);
    run().max_steps(16).fit(&mut whole, &train, Some(&test)).expect("a run");
    let (mut net, trainer) = with_schedule();
    trainer.max_steps(16).fit(&mut net, &train, Some(&test)).expect("the rest of a run");
    assert!(bits(&net) == bits(&whole));
}

#[test]
fn settings_that_cannot_be_are_found_before_any_work() {
    let folder = tempfile::tempdir().expect("a folder");
    let (train, device) = (data(ROWS, 1), Device::cpu());
    let (file, taken) = (folder.path().join("run.st"), folder.path().join("taken.st"));
    for beside in ["taken.1.st", "taken.best.st"] {
        std::fs::create_dir(folder.path().join(beside)).expect("a folder");
    }
    let start = |checkpoints: Checkpoints| {
        let mut net = net(&device, PlanKind::Fused, 0.0);
        let trainer = Trainer::new(Cost::BinaryCrossEntropy, Sgd::new(0.1)).epochs(1).checkpoints(checkpoints);
        let trained = { trainer }.on_event(|_: Event<'_>| panic!("it trains")).fit(&mut net, &train, None);
        trained.expect_err("not to be").to_string()
    };
    for (checkpoints, want) in [
        (Checkpoints::new(&file).every_steps(0), "steps between checkpoints"),
        (Checkpoints::new(&file).every_epochs(0), "epochs between checkpoints"),
        (Checkpoints::new(&file).keep_last(0), "checkpoints to keep"),
        (Checkpoints::new(&file).keep_best(Metric::TestCost), "test_cost"),
        (Checkpoints::new(folder.path()), "directory"),
        (Checkpoints::new(folder.path().join("no such folder/run.st")), "no such folder"),
        (Checkpoints::new(""), "no name of a file"),
        (Checkpoints::new(&taken).keep_last(2), "taken.1.st"),
    ] {
        let error = start(checkpoints);
        assert!(error.contains(want), "{error}");
    }
    let mut net = net(&device, PlanKind::Fused, 0.0);
    let best = Checkpoints::new(&taken).keep_best(Metric::TestCost);
    let trainer = Trainer::new(Cost::BinaryCrossEntropy, Sgd::new(0.1)).epochs(1).checkpoints(best);
    let error = { trainer }.fit(&mut net, &train, Some(&train)).expect_err("a folder is in the way").to_string();
    assert!(error.contains("taken.best.st") && error.contains("directory"), "{error}");
}
