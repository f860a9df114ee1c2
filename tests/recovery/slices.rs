//! Runs in slices of time: they too go on on another device, to the same bits, and no call waits for it.

use std::time::Duration;

use wgrad::plan::PlanKind;
use wgrad::{EpochReport, Error, Metric, Network, Recovery, Trainer, Training};

use super::app::{App, EPOCHS, ROWS, data, net, trainer_watching};
use super::common;
use super::common::nets::bits;

/// Steps of a whole run.
const STEPS: usize = EPOCHS * ROWS.div_ceil(4);

fn trainer() -> Trainer<'static> {
    trainer_watching(Metric::TrainCost)
}

/// Reports without what the clock says, and how often the run went on on another device.
type End = (Vec<EpochReport>, usize);

/// To the end of the last epoch. `before` is told before every call how many steps were handed to the device.
fn to_the_end(run: &mut Training<'_>, mut before: impl FnMut(usize)) -> Result<End, Error> {
    let (mut reports, mut recovered, mut steps) = (Vec::<EpochReport>::new(), 0, 0);
    while reports.last().is_none_or(|report| report.epoch < EPOCHS) {
        before(steps);
        let stepped = run.step_for(Duration::ZERO)?;
        steps += stepped.steps;
        recovered += usize::from(stepped.recovered);
        reports.extend(stepped.epoch.map(|report| EpochReport { seconds: 0.0, steps_per_second: 0.0, ..report }));
        if stepped.steps == 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    Ok((reports, recovered))
}

fn state(net: &Network) -> Vec<u32> {
    bits(&net.parameters().expect("parameters"))
}

#[test]
fn a_run_in_slices_goes_on_after_a_loss_at_any_step_with_the_same_bits() {
    for like in common::adapters() {
        let app = App::new(&like);
        for kind in PlanKind::ALL {
            let mut whole = net(&app.device(), kind);
            let mut run = trainer().recovery(Recovery::none()).start(&mut whole, &data(1)).expect("a start");
            let (want, _) = to_the_end(&mut run, |_| {}).expect("a run");
            drop(run);
            assert_eq!(want.iter().map(|report| report.epoch).collect::<Vec<_>>(), [1, 2, 3]);
            let want = (state(&whole), want);
            let mut losses = 0;
            // Before every step of one plan, some of the others.
            for at in (0..STEPS).step_by(if kind == PlanKind::Fused { 1 } else { 5 }) {
                // Kept as often as can be, and only where the run begins.
                for every in [Duration::ZERO, Duration::from_secs(1000)] {
                    let mut net = net(&app.device(), kind);
                    let mut run =
                        trainer().recovery(app.recovery().every(every)).start(&mut net, &data(1)).expect("a start");
                    let mut is_lost = false;
                    let (reports, recovered) = to_the_end(&mut run, |steps| {
                        if steps >= at && !is_lost {
                            app.destroy();
                            is_lost = true;
                        }
                    })
                    .expect("a run that goes on");
                    drop(run);
                    assert!(is_lost && recovered == 1, "{like}, {kind}, step {at}: {recovered} times");
                    assert!((state(&net), reports) == want, "{like}, {kind}, step {at}: other bits");
                    losses += recovered;
                }
            }
            println!("{like}, {kind}: {losses} losses, each to the same bits");
        }
    }
}

#[test]
fn without_another_device_the_run_has_its_last_state_and_can_be_saved() {
    for like in common::adapters() {
        let app = App::new(&like);
        let lost = |recovery: Recovery, net: &mut Network| {
            let mut run = trainer().recovery(recovery.every(Duration::ZERO)).start(net, &data(1)).expect("a start");
            let ended = to_the_end(&mut run, |steps| {
                if steps == 8 {
                    app.destroy();
                }
            });
            (ended, run.to_bytes().expect("the state that was kept"))
        };
        let mut whole = net(&app.device(), PlanKind::Fused);
        let mut run = trainer().start(&mut whole, &data(1)).expect("a start");
        let (want, _) = to_the_end(&mut run, |_| {}).expect("a run");
        drop(run);

        let mut gone = net(&app.device(), PlanKind::Fused);
        let (ended, saved) = lost(Recovery::default(), &mut gone);
        let error = ended.expect_err("no device");
        println!("{like}: {error}");
        let Error::NotRecovered { epoch, step, retries: 0, saved: None, source, .. } = &error else {
            panic!("{like}: {error:?}")
        };
        assert!(matches!(**source, Error::DeviceLost { .. }), "{like}: {error:?}");
        let (mut again, resumed) = Trainer::from_bytes(&saved, &app.device()).expect("bytes");
        assert_eq!((resumed.position(), gone.device().kind()), (Some((epoch - 1, *step)), "cpu"), "{like}");
        assert!(state(&gone) == state(&again) && gone.optimizer_steps() == again.optimizer_steps(), "{like}");
        let (reports, _) =
            to_the_end(&mut resumed.start(&mut again, &data(1)).expect("a start"), |_| {}).expect("the rest");
        assert!(state(&again) == state(&whole) && want.ends_with(&reports), "{like}: other bits from its bytes");

        let mut on = net(&app.device(), PlanKind::Fused);
        let (ended, _) = lost(Recovery::default().allow_cpu(true), &mut on);
        let (reports, recovered) = ended.expect("a run that goes on");
        assert_eq!((reports.len(), recovered, on.device().kind()), (EPOCHS, 1, "cpu"), "{like}");
        for (&a, &b) in state(&on).iter().zip(&state(&whole)) {
            let off = (f32::from_bits(a) - f32::from_bits(b)).abs();
            assert!(off <= 1e-4, "{like}: {off} off the run on the GPU");
        }

        let mut plain = net(&app.device(), PlanKind::Fused);
        let mut run = trainer().recovery(Recovery::none()).start(&mut plain, &data(1)).expect("a start");
        let error = to_the_end(&mut run, |steps| {
            if steps == 8 {
                app.destroy()
            }
        })
        .expect_err("a loss");
        assert!(matches!(error, Error::DeviceLost { .. }), "{like}: {error:?}");
    }
}

/// A program that keeps the bytes itself.
#[test]
fn a_run_in_slices_goes_on_from_its_bytes_with_the_same_bits() {
    for like in common::adapters() {
        let app = App::new(&like);
        for kind in PlanKind::ALL {
            let mut whole = net(&app.device(), kind);
            to_the_end(&mut trainer().start(&mut whole, &data(1)).expect("a start"), |_| {}).expect("a run");
            let mut lost = net(&app.device(), kind);
            let mut run = trainer().recovery(Recovery::none()).start(&mut lost, &data(1)).expect("a start");
            let mut done = 0;
            while done < 8 {
                done += run.step_for(Duration::ZERO).expect("a step").steps;
            }
            let saved = run.to_bytes().expect("bytes");
            app.destroy();
            let error = to_the_end(&mut run, |_| {}).expect_err("a loss");
            assert!(matches!(error, Error::DeviceLost { .. }), "{like}, {kind}: {error:?}");
            let (mut again, resumed) = Trainer::from_bytes(&saved, &app.device()).expect("bytes");
            to_the_end(&mut resumed.start(&mut again, &data(1)).expect("a start"), |_| {}).expect("the rest");
            assert!(state(&again) == state(&whole), "{like}, {kind}: other bits");
        }
    }
}
