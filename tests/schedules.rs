//! Learning-rate schedules: their numbers against PyTorch's, and that each step is taken at the rate they say.

#![cfg(feature = "blocking")]
#![allow(clippy::print_stdout, reason = "the devices and what was compared are the result of these tests")]

mod common;

use common::nets::{Arch, arena, bits, examples};
use wgrad::plan::PlanKind;
use wgrad::{
    Activation, Batches, Cost, Dataset, Error, Metric, Moment, Network, Plateau, Schedule, Sgd, Span, Trainer,
};

/// The factor at a step of a run of so many, 10 an epoch.
fn at(schedule: &Schedule, step: u64, steps: u64) -> f64 {
    schedule.factor(Moment { step, steps_per_epoch: 10, steps })
}

#[track_caller]
fn assert_factors(schedule: &Schedule, steps: u64, want: &[(u64, f64)]) {
    for &(step, want) in want {
        let got = at(schedule, step, steps);
        assert!((got - want).abs() <= 1e-12 * want.abs().max(1e-4), "{schedule:?}: {got} at step {step}, not {want}");
    }
}

/// PyTorch 2.15, `torch.optim.lr_scheduler`, in double precision: the rate before each step of SGD with `lr = 1`.
#[test]
fn factors_are_those_of_pytorch() {
    // StepLR(7, 0.3)
    let want = [(0, 1.0), (6, 1.0), (7, 0.3), (20, 0.09), (21, 0.027), (39, 0.00243)];
    assert_factors(&Schedule::step(Span::Steps(7), 0.3), 40, &want);
    // ExponentialLR(0.9)
    let want = [(0, 1.0), (1, 0.9), (7, 0.478_296_900_000_000_14), (39, 0.016_423_203_268_260_675)];
    assert_factors(&Schedule::exponential(Span::Steps(1), 0.9), 40, &want);
    // CosineAnnealingLR(40)
    let want = [(0, 1.0), (1, 0.998_458_666_866_564), (13, 0.761_249_282_357_974_4), (20, 0.5)];
    assert_factors(&Schedule::cosine(Span::Run(1.0)), 40, &want);
    assert_factors(&Schedule::cosine(Span::Run(1.0)), 40, &[(39, 0.001_541_333_133_436_018_5)]);
    // CosineAnnealingWarmRestarts(5, 2, eta_min=0.1)
    let want = [(0, 1.0), (4, 0.185_942_352_531_273_72), (5, 1.0), (14, 0.122_024_567_667_180_92), (15, 1.0)];
    let restarts = Schedule::cosine_restarts(Span::Steps(5), 2.0, 0.1);
    assert_factors(&restarts, 40, &want);
    assert_factors(&restarts, 40, &[(34, 0.105_540_246_732_188_06), (35, 1.0), (39, 0.977_975_432_332_819_1)]);
    // OneCycleLR(max_lr=1, total_steps=40)
    let want = [(0, 0.04), (1, 0.059_443_372_665_041_294), (6, 0.588_311_122_371_176_8), (11, 1.0)];
    assert_factors(&Schedule::one_cycle(), 40, &want);
    let want = [(12, 0.996_856_117_522_201_6), (25, 0.500_002), (38, 0.003_147_882_477_798_484_7), (39, 4e-6)];
    assert_factors(&Schedule::one_cycle(), 40, &want);
    // OneCycleLR(max_lr=1, total_steps=17, pct_start=0.25, div_factor=10, final_div_factor=100): the top is between two steps.
    let one_cycle = Schedule::one_cycle_with(0.25, 0.1, 0.001);
    let want = [(0, 0.1), (1, 0.294_370_863_970_979_9), (2, 0.709_572_199_169_141), (3, 0.986_923_817_841_723_4)];
    assert_factors(&one_cycle, 17, &want);
    let want = [(4, 0.991_495_063_292_109), (5, 0.954_278_403_273_852), (15, 0.016_086_430_450_512_813), (16, 0.001)];
    assert_factors(&one_cycle, 17, &want);
    // SequentialLR([LinearLR(1/5, 1, 4), CosineAnnealingLR(20)], [4]): its step 4 is the cosine's first, ours the warm-up's last.
    let warm = Schedule::cosine(Span::Steps(20)).warm_up(Span::Steps(4));
    assert_factors(&warm, 24, &[(0, 0.25), (1, 0.5), (2, 0.75), (3, 1.0), (4, 1.0), (5, 0.993_844_170_297_568_9)]);
    assert_factors(&warm, 24, &[(14, 0.5), (23, 0.006_155_829_702_431_171)]);
}

#[test]
fn spans_and_sequences() {
    assert_factors(&Schedule::constant(), 40, &[(0, 1.0), (39, 1.0)]);
    // 1.5 epochs are 15 steps, a quarter of the run 10.
    assert_factors(&Schedule::step(Span::Epochs(1.5), 0.5), 40, &[(14, 1.0), (15, 0.5), (29, 0.5), (30, 0.25)]);
    assert_factors(&Schedule::step(Span::Run(0.25), 0.5), 40, &[(9, 1.0), (10, 0.5), (39, 0.125)]);
    // What follows starts its own time; a share of the run is then a share of what is left of it.
    let two = Schedule::constant().then(Span::Epochs(1.0), Schedule::cosine(Span::Run(1.0)));
    assert_factors(&two, 30, &[(0, 1.0), (9, 1.0), (10, 1.0), (20, 0.5)]);
    // The first of two ends where the second begins.
    let two = Schedule::one_cycle().then(Span::Steps(20), Schedule::constant());
    assert_factors(&two, 30, &[(19, 4e-6), (20, 1.0), (29, 1.0)]);
    // After the run's end it stays as it was there.
    assert_factors(&Schedule::step(Span::Epochs(1.0), 0.5), 30, &[(29, 0.25), (30, 0.25), (300, 0.25)]);
    assert_factors(&Schedule::custom(|at| at.step as f64 + 0.5), 30, &[(0, 0.5), (29, 29.5)]);
    // A warm-up that leaves no step to what comes after it, and a run of one step.
    assert_factors(&Schedule::one_cycle().warm_up(Span::Run(1.0)), 4, &[(0, 0.25), (3, 1.0)]);
    for schedule in [Schedule::one_cycle(), Schedule::cosine(Span::Run(1.0)), Schedule::step(Span::Run(0.1), 0.5)] {
        assert_factors(&schedule, 1, &[(0, 1.0)]);
    }
}

fn data(rows: usize) -> (Arch, Dataset) {
    let cost = Cost::CategoricalCrossEntropy;
    let arch = Arch::new(6, &[(9, Activation::Tanh), (4, Activation::Softmax)], cost);
    let (x, y) = arch.data(rows, 3);
    let data = Dataset::new(x, 6, y, 4).expect("data");
    (arch, data)
}

/// A run under a schedule against the reference, told the rate of each step; the last mini-batch is ragged.
#[test]
fn each_step_is_taken_at_its_rate() {
    const ROWS: usize = 23;
    let (arch, data) = data(ROWS);
    let (x, y) = arch.data(ROWS, 3);
    let all = examples(&x, 6, &y, 4);
    let schedules = [
        Schedule::step(Span::Steps(2), 0.5),
        Schedule::exponential(Span::Epochs(0.5), 0.4),
        Schedule::cosine_restarts(Span::Steps(3), 1.0, 0.1),
        Schedule::one_cycle(),
        Schedule::cosine(Span::Run(1.0)).warm_up(Span::Epochs(1.0)),
        Schedule::custom(|at| if at.step % 2 == 0 { 0.0 } else { 1.5 }),
    ];
    let mut compared = 0;
    for (device, kind) in common::devices_and_plans() {
        let (mut results, mut asked) = (Vec::new(), Vec::new());
        for schedule in schedules.iter().chain([&Schedule::constant()]) {
            let mut net = arch.build(&device, kind, 2);
            let mut reference = arch.reference(net.layers(), &net.parameters().expect("parameters"));
            let mut trainer = Trainer::new(arch.cost, Sgd::new(0.7)).batch_size(5).epochs(3).seed(7);
            trainer = trainer.schedule(schedule.clone());
            let history = trainer.fit(&mut net, &data, None).expect("training");

            let batches = Batches::new(ROWS, 5, 7).expect("mini-batches");
            let mut step = 0;
            for epoch in &history.epochs {
                let mut eta = f64::NAN;
                for rows in batches.split(&batches.order(epoch.epoch as u64 - 1)) {
                    let rows: Vec<_> = rows.iter().map(|&row| all[row as usize].clone()).collect();
                    let factor = schedule.factor(Moment { step, steps_per_epoch: 5, steps: 15 });
                    eta = f64::from(0.7_f32) * factor;
                    reference.update_mini_batch(&rows, eta).expect("a step");
                    step += 1;
                }
                assert!((epoch.eta - eta).abs() <= 1e-7 * eta, "{schedule:?}: {epoch:?}, not {eta}");
            }
            let want = arena(net.layers(), &reference.weights, &reference.biases);
            let got = net.parameters().expect("parameters");
            for (i, (&got, want)) in got.iter().zip(want).enumerate() {
                let near = (f64::from(got) - want).abs() <= 1e-4 * want.abs().max(0.1);
                assert!(near, "{device}, {kind} plan, {schedule:?}: parameter {i} is {got}, not {want}");
                compared += 1;
            }
            results.push(bits(&got));
            // A rate of its own for each step costs no dispatch and no byte more than a constant one; submissions are bounded by time.
            let counters = net.counters();
            asked.push((counters.dispatches, counters.bytes_up));
        }
        let constant = asked[asked.len() - 1];
        assert!(constant.1 > 0 && asked.iter().all(|asked| *asked == constant), "{device}, {kind} plan: {asked:?}");
        results.sort();
        results.dedup();
        assert_eq!(results.len(), schedules.len() + 1, "{device}, {kind} plan: two schedules give the same result");
    }
    println!("{compared} parameters as the reference has them");
    assert!(compared >= 2 * 7 * 103);
}

#[test]
fn slices_of_time_follow_the_schedule_too() {
    let (arch, data) = data(61);
    for device in common::devices() {
        let trainer = || {
            let plateau = Plateau::new(1).metric(Metric::TrainCost).min_change(0.05).stop(false);
            Trainer::new(arch.cost, Sgd::new(0.7))
                .batch_size(7)
                .epochs(6)
                .schedule(Schedule::one_cycle())
                .plateau(plateau)
        };
        let mut whole = arch.build(&device, PlanKind::Fused, 2);
        let history = trainer().fit(&mut whole, &data, None).expect("a fit");
        let mut sliced = arch.build(&device, PlanKind::Fused, 2);
        let mut run = trainer().start(&mut sliced, &data).expect("a run");
        let mut reports = Vec::new();
        while reports.len() < 6 {
            reports.extend(run.step_for(std::time::Duration::from_micros(500)).expect("a slice").epoch);
        }
        drop(run);
        let bits_of = |net: &Network| bits(&net.parameters().expect("parameters"));
        assert!(bits_of(&whole) == bits_of(&sliced), "{device}: other bits than fit");
        let etas = |reports: &[wgrad::EpochReport]| reports.iter().map(|report| report.eta).collect::<Vec<_>>();
        assert_eq!(etas(&reports), etas(&history.epochs), "{device}");
        // The plateau had its part: after it, the rate is no longer the schedule's.
        let last =
            Schedule::one_cycle().factor(Moment { step: 53, steps_per_epoch: 9, steps: 54 }) * f64::from(0.7_f32);
        assert!(reports[5].eta < 0.6 * last, "{device}: {} of {last}", reports[5].eta);
    }
}

/// PyTorch: `ReduceLROnPlateau(mode="max", factor=0.5, patience=2, threshold=0, threshold_mode="abs")`; it counts the epochs
/// after which it still waits, one less.
#[test]
fn a_plateau_reduces_when_pytorch_does() {
    let accuracies = [0.5, 0.6, 0.6, 0.6, 0.59, 0.7, 0.7, 0.6, 0.7, 0.65, 0.7, 0.71];
    let want = [1.0, 1.0, 1.0, 1.0, 0.5, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25, 0.25];
    let plateau = Plateau::new(3).metric(Metric::TrainAccuracy);
    let mut slowed = wgrad::Slowed::default();
    for (i, (train_accuracy, want)) in accuracies.into_iter().zip(want).enumerate() {
        let report = report(i + 1, train_accuracy);
        assert!(!plateau.see(&mut slowed, &report));
        assert_eq!(slowed.factor, want, "epoch {}", i + 1);
    }
    // Nine reductions are wanted, and seven are made: the run ends at 1/128.
    let mut slowed = wgrad::Slowed::default();
    let ends: Vec<bool> = (0..28).map(|epoch| plateau.see(&mut slowed, &report(epoch + 1, 0.5))).collect();
    assert_eq!((slowed.factor, ends.iter().position(|&end| end)), (1.0 / 128.0, Some(21)));
}

fn report(epoch: usize, train_accuracy: f64) -> wgrad::EpochReport {
    wgrad::EpochReport {
        epoch,
        steps: 1,
        eta: 1.0,
        train_cost: 1.0,
        train_accuracy,
        test: None,
        seconds: 1.0,
        steps_per_second: 1.0,
    }
}

#[test]
fn numbers_that_cannot_work_are_refused() {
    let (arch, data) = data(8);
    let bad = [
        (Schedule::step(Span::Steps(0), 0.5), "span"),
        (Schedule::step(Span::Epochs(f64::NAN), 0.5), "span"),
        (Schedule::step(Span::Run(-1.0), 0.5), "span"),
        (Schedule::step(Span::Steps(3), 0.0), "factor"),
        (Schedule::exponential(Span::Steps(3), f64::INFINITY), "factor"),
        (Schedule::cosine_restarts(Span::Steps(3), 0.5, 0.0), "growth"),
        (Schedule::cosine_restarts(Span::Steps(3), 1.0, 1.5), "least"),
        (Schedule::one_cycle_with(1.5, 0.1, 0.1), "rise"),
        (Schedule::one_cycle_with(0.5, -0.1, 0.1), "start"),
        (Schedule::one_cycle_with(0.5, 0.1, f64::NAN), "end"),
        (Schedule::constant().warm_up(Span::Epochs(0.0)), "span"),
        (Schedule::constant().then(Span::Steps(1), Schedule::step(Span::Steps(1), -1.0)), "factor"),
        (Schedule::custom(|_| f64::NAN), "factor"),
        (Schedule::custom(|at| 1.0 - at.step as f64), "factor"),
    ];
    for (schedule, said) in bad {
        let mut net = arch.build(&wgrad::Device::cpu(), PlanKind::Fused, 1);
        let shown = format!("{schedule:?}");
        let result = Trainer::new(arch.cost, Sgd::new(0.1)).batch_size(2).schedule(schedule).fit(&mut net, &data, None);
        match result {
            Err(Error::InvalidOption { option, .. }) => assert!(option.contains(said), "{shown}: {option}"),
            other => panic!("{shown}: {other:?}"),
        }
    }
    let bad =
        [Plateau::new(0), Plateau::new(1).by(1.0, 0.1), Plateau::new(1).by(0.5, 0.0), Plateau::new(1).min_change(-1.0)];
    for plateau in bad {
        let mut net = arch.build(&wgrad::Device::cpu(), PlanKind::Fused, 1);
        let mut trainer = Trainer::new(arch.cost, Sgd::new(0.1)).plateau(plateau);
        let result = trainer.fit(&mut net, &data, Some(&data));
        assert!(matches!(result, Err(Error::InvalidOption { .. })), "{plateau:?}: {result:?}");
    }
}
