//! A device is lost while a network is trained on it, as a program sees it: the run goes on with another to the same bits, or ends
//! with an error that leaves a network with its last state.

#![cfg(all(feature = "gpu", feature = "blocking"))]
#![allow(clippy::print_stdout, reason = "the adapters and how often devices were lost are the result of these tests")]

mod app;
#[path = "../common/mod.rs"]
mod common;
mod early;
mod population;
mod slices;

use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use app::{App, EPOCHS, data, net, timeless, trainer};
use common::nets::bits;
use wgrad::plan::PlanKind;
use wgrad::{Activation, Adam, Checkpoints, Cost, Error, Event, History, Network, Recovery, StopReason, Trainer};

/// The bits of the parameters, and the history.
type End = (Vec<u32>, History);

fn undisturbed(app: &App, kind: PlanKind) -> End {
    let mut net = net(&app.device(), kind);
    let history = trainer().fit(&mut net, &data(1), Some(&data(2))).expect("a run");
    (bits(&net.parameters().expect("parameters")), timeless(history))
}

/// A run whose device is lost before each of these events, counted from 0; says how many events there were.
fn disturbed(app: &App, kind: PlanKind, at: &[usize]) -> (End, usize, usize) {
    let mut net = net(&app.device(), kind);
    let (mut events, mut recovered) = (0, 0);
    let run = trainer().recovery(app.recovery()).on_event(|event| {
        if let Event::Recovered { error, device, epoch, step } = event {
            assert!(matches!(error, Error::DeviceLost { .. }), "{error:?}");
            assert!(device.kind() == "gpu" && (1..=EPOCHS).contains(&epoch) && step <= 6, "{device}, {epoch}, {step}");
            recovered += 1;
        } else {
            if at.contains(&events) {
                app.destroy();
            }
            events += 1;
        }
        ControlFlow::Continue(())
    });
    let history = { run }.fit(&mut net, &data(1), Some(&data(2))).expect("a run that goes on");
    ((bits(&net.parameters().expect("parameters")), timeless(history)), events, recovered)
}

#[test]
fn a_run_that_loses_its_device_at_any_event_ends_with_the_same_bits() {
    for like in common::adapters() {
        let app = App::new(&like);
        for kind in PlanKind::ALL {
            let want = undisturbed(&app, kind);
            let (end, events, recovered) = disturbed(&app, kind, &[]);
            assert!(end == want && recovered == 0, "{like}, {kind}: to keep the state changes the run");
            let mut losses = 0;
            // Every event of one plan, some of the others: `src/train/faults` has every operation of each.
            let stride = if kind == PlanKind::Fused { 1 } else { 5 };
            for at in (0..events).step_by(stride) {
                let (end, _, recovered) = disturbed(&app, kind, &[at]);
                // After the last event there may be nothing more to lose it at.
                assert!(recovered == 1 || at + 1 == events, "{like}, {kind}, event {at}: {recovered} times");
                assert!(end == want, "{like}, {kind}: other bits after a loss at event {at}");
                losses += recovered;
            }
            // A loss every few events, more of them than retries: there is progress in between.
            let often: Vec<_> = (0..3 * events).step_by(3).collect();
            let (end, _, recovered) = disturbed(&app, kind, &often);
            assert!(end == want && recovered > 3, "{like}, {kind}: other bits after {recovered} losses");
            losses += recovered;
            println!("{like}, {kind}: {losses} losses in {} runs, each to the same bits", events.div_ceil(stride) + 1);
        }
        assert!(app.devices() > 10);
    }
}

#[test]
fn without_another_device_the_network_and_the_file_keep_the_last_state() {
    for like in common::adapters() {
        let app = App::new(&like);
        let folder = tempfile::tempdir().expect("a folder");
        for kind in PlanKind::ALL {
            let want = undisturbed(&app, kind);
            let file = folder.path().join(format!("{kind}.st"));
            let lost_in = |event: &Event<'_>| matches!(event, Event::Progress { epoch: 2, step: 3, .. });
            let mut net = net(&app.device(), kind);
            let mut trainer = trainer()
                .recovery(Recovery::default().every(Duration::ZERO))
                .checkpoints(Checkpoints::new(&file))
                .on_event(|event| {
                    if lost_in(&event) {
                        app.destroy();
                    }
                    ControlFlow::Continue(())
                });
            let error = trainer.fit(&mut net, &data(1), Some(&data(2))).expect_err("no device");
            println!("{error}");
            let Error::NotRecovered { epoch: 2, step, retries: 0, saved, source, .. } = &error else {
                panic!("{like}, {kind}: {error:?}")
            };
            assert!(*step >= 3 && matches!(**source, Error::DeviceLost { .. }), "{like}, {kind}: {error:?}");
            assert_eq!(saved.as_ref(), Some(&file));
            assert_eq!(net.device().kind(), "cpu", "{like}, {kind}");
            // The file and the network have the same state, from which the run ends as it would have.
            let (mut again, resumed) = Trainer::resume(&file, &app.device()).expect("a file");
            assert_eq!(resumed.position(), Some((1, *step)));
            assert_eq!(bits(&again.parameters().expect("parameters")), bits(&net.parameters().expect("parameters")));
            assert_eq!(again.optimizer_steps(), net.optimizer_steps());
            let history = { resumed }.fit(&mut again, &data(1), Some(&data(2))).expect("the rest");
            let end = (bits(&again.parameters().expect("parameters")), timeless(history));
            assert!(end == want, "{like}, {kind}: other bits after the file");
        }
    }
}

#[test]
fn a_run_goes_on_on_the_cpu_only_where_that_was_allowed() {
    for like in common::adapters() {
        let app = App::new(&like);
        let mut net = net(&app.device(), PlanKind::Fused);
        let mut places = Vec::new();
        let history = trainer()
            .recovery(Recovery::default().every(Duration::ZERO).allow_cpu(true))
            .on_event(|event| {
                match event {
                    Event::Progress { epoch: 2, step: 3, .. } if places.is_empty() => app.destroy(),
                    Event::Recovered { device, .. } => places.push(device.kind()),
                    _ => {}
                }
                ControlFlow::Continue(())
            })
            .fit(&mut net, &data(1), Some(&data(2)))
            .expect("a run that goes on");
        assert_eq!((places, net.device().kind()), (vec!["cpu"], "cpu"), "{like}");
        assert!(net.device().reason().contains("failed"), "{}", net.device().reason());
        let (state, want) = undisturbed(&app, PlanKind::Fused);
        assert_eq!(history.epochs.len(), want.epochs.len());
        for (at, (&a, &b)) in bits(&net.parameters().expect("parameters")).iter().zip(&state).enumerate() {
            let off = (f32::from_bits(a) - f32::from_bits(b)).abs();
            assert!(off <= 1e-4, "{like}: parameter {at} is {off} off the run on the GPU");
        }
    }
}

#[test]
fn a_device_that_never_works_ends_after_the_retries() {
    for like in common::adapters() {
        let app = App::new(&like);
        let asked = Arc::new(Mutex::new(0));
        let (counter, factory) = (Arc::clone(&asked), app.clone());
        let recovery =
            Recovery::default().every(Duration::ZERO).pause(Duration::ZERO).retries(4).device_from(move || {
                *counter.lock().expect("a count") += 1;
                // Lost before it is used.
                let device = factory.device();
                factory.destroy();
                std::future::ready(Ok(device))
            });
        let mut net = net(&app.device(), PlanKind::Fused);
        let start = bits(&net.parameters().expect("parameters"));
        let mut trainer = trainer().recovery(recovery).on_event(|_| {
            app.destroy();
            ControlFlow::Continue(())
        });
        let error = trainer.fit(&mut net, &data(1), Some(&data(2))).expect_err("no device that works");
        println!("{like}: {error}");
        assert!(matches!(error, Error::NotRecovered { epoch: 1, retries: 4, saved: None, .. }), "{like}: {error:?}");
        assert_eq!(*asked.lock().expect("a count"), 4, "{like}");
        assert_ne!(bits(&net.parameters().expect("parameters")), start, "{like}: the state after the first steps");
        assert!(net.predict(&[0.0; 5]).is_ok());
    }
}

#[test]
fn the_callback_can_end_the_run_when_it_is_told() {
    for like in common::adapters() {
        let app = App::new(&like);
        let mut net = net(&app.device(), PlanKind::Fused);
        let folder = tempfile::tempdir().expect("a folder");
        // Nothing else is saved within the run.
        let saves = Checkpoints::new(folder.path().join("run.st")).every_epochs(1000);
        let trainer = trainer().recovery(app.recovery()).checkpoints(saves.clone());
        let mut trainer = trainer.on_event(|event| match event {
            Event::Recovered { .. } => ControlFlow::Break(()),
            Event::Epoch(_) => {
                app.destroy();
                ControlFlow::Continue(())
            }
            _ => ControlFlow::Continue(()),
        });
        let history = trainer.fit(&mut net, &data(1), Some(&data(2))).expect("an end");
        assert_eq!(history.stop, Some(StopReason::Callback), "{like}");
        assert!(net.device().kind() == "gpu", "{like}");
        let saved = Network::load(saves.path(), net.device()).expect("a run is saved when it ends");
        let of = |net: &Network| bits(&net.parameters().expect("parameters"));
        assert!(of(&saved) == of(&net), "{like}: what was saved is another network");
    }
}

#[test]
fn without_recovery_a_loss_is_an_error() {
    for like in common::adapters() {
        let app = App::new(&like);
        let is_loss = |error: &Error| matches!(error, Error::DeviceLost { .. });
        let mut plain = net(&app.device(), PlanKind::Fused);
        let mut off = trainer().recovery(Recovery::none()).on_event(|_| {
            app.destroy();
            ControlFlow::Continue(())
        });
        let error = off.fit(&mut plain, &data(1), Some(&data(2))).expect_err("a loss");
        assert!(is_loss(&error), "{like}: {error:?}");
        assert!(plain.parameters().is_err_and(|error| is_loss(&error)), "{like}");
        println!("{like}: {error}");
    }
}

/// What docs/measurements.md says of the cost of keeping the state.
#[test]
#[ignore = "a measurement"]
fn what_it_costs_to_keep_the_state() {
    let train = wgrad::data::synthetic_digits(5_000, 1).expect("digits");
    for like in common::adapters() {
        for (what, recovery) in [
            ("nothing is kept", Recovery::none()),
            ("every ten seconds", Recovery::default()),
            ("after every submission and epoch", Recovery::default().every(Duration::ZERO)),
        ] {
            let net = Network::new(784).dense(100, Activation::Relu).dense(10, Activation::Sigmoid);
            let mut net = net.build(&like).expect("a net");
            let trainer = Trainer::new(Cost::BinaryCrossEntropy, Adam::new(1e-3)).batch_size(100).epochs(10);
            let start = std::time::Instant::now();
            { trainer }.recovery(recovery).fit(&mut net, &train, None).expect("a run");
            let counters = net.counters();
            let seconds = start.elapsed().as_secs_f64();
            println!(
                "{like}, {what}: {seconds:.2} s, {} bytes read, {} submissions",
                counters.bytes_down, counters.submissions
            );
        }
    }
}
