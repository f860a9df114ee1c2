//! Settings and rows of any numbers, the awkward ones more often than they come by chance.

use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

use proptest::prelude::{ProptestConfig, Strategy, any, prop_oneof};
use proptest::test_runner::TestRunner;
use wgrad::plan::PlanKind;
use wgrad::{
    Activation, Confusion, Cost, Dataset, Device, EarlyStopping, EpochReport, Error, History, Metric, Moment, Network,
    Optimizer, Population, Regularization, Result, Schedule, Sgd, Span, Trainer, Watch, data,
};

use crate::common;
use crate::common::nets::{Arch, bits};

/// Any number, the awkward ones more often than they come by chance.
pub fn number() -> impl Strategy<Value = f32> + Clone {
    let awkward = [
        0.0,
        -0.0,
        1.0,
        -1.0,
        f32::MIN_POSITIVE,
        f32::MIN_POSITIVE / 8.0,
        f32::MAX,
        f32::MIN,
        f32::NAN,
        f32::INFINITY,
        f32::NEG_INFINITY,
        1.0 + f32::EPSILON,
    ];
    prop_oneof![2 => proptest::sample::select(awkward.to_vec()), 3 => -0.5_f32..2.0, 1 => any::<f32>()]
}

fn count() -> impl Strategy<Value = u64> + Clone {
    prop_oneof![0_u64..20, proptest::sample::select(vec![1 << 24, 1 << 53, u64::MAX - 1, u64::MAX])]
}

pub fn runner(cases: u32) -> TestRunner {
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    TestRunner::new_with_rng(
        config,
        proptest::test_runner::TestRng::deterministic_rng(proptest::test_runner::RngAlgorithm::ChaCha),
    )
}

fn spans() -> impl Strategy<Value = Span> + Clone {
    prop_oneof![
        count().prop_map(Span::Steps),
        number().prop_map(|x| Span::Epochs(x.into())),
        number().prop_map(|x| Span::Run(x.into()))
    ]
}

fn schedules() -> impl Strategy<Value = Schedule> {
    let base = prop_oneof![
        (spans(), number()).prop_map(|(every, by)| Schedule::step(every, by.into())),
        (spans(), number()).prop_map(|(every, by)| Schedule::exponential(every, by.into())),
        (spans(), number(), number())
            .prop_map(|(p, growth, least)| { Schedule::cosine_restarts(p, growth.into(), least.into()) }),
        (number(), number(), number())
            .prop_map(|(rise, start, end)| { Schedule::one_cycle_with(rise.into(), start.into(), end.into()) }),
    ];
    (base, spans(), any::<bool>()).prop_map(|(base, over, warm)| if warm { base.warm_up(over) } else { base })
}

/// A schedule of any numbers at any step gives a number in no time; what `Trainer::check` passes, a factor that a run can take.
#[test]
fn schedules_of_any_numbers() {
    let device = Device::cpu();
    let net = Network::new(1).dense(1, Activation::Identity).build(&device).expect("a network");
    let rows = Dataset::new(vec![0.5, 1.0], 1, vec![0.0, 1.0], 1).expect("data");
    let started = Instant::now();
    let (passed, refused) = (Cell::new(0_u32), Cell::new(0_u32));
    let cases = (schedules(), count(), count(), count());
    runner(20_000)
        .run(&cases, |(schedule, step, steps_per_epoch, steps)| {
            let factor = schedule.factor(Moment { step, steps_per_epoch, steps });
            let trainer = Trainer::new(Cost::Quadratic, Sgd::new(0.1)).schedule(schedule.clone());
            match trainer.check(&net, &rows, None) {
                Ok(()) => {
                    passed.set(passed.get() + 1);
                    assert!(!factor.is_nan(), "{schedule:?} at step {step} of {steps}, {steps_per_epoch} an epoch");
                }
                Err(error) => {
                    refused.set(refused.get() + 1);
                    assert!(matches!(error, Error::InvalidOption { .. } | Error::Several { .. }), "{error}");
                }
            }
            Ok(())
        })
        .expect("every case");
    println!("{} schedules pass, {} are refused, in {:?}", passed.get(), refused.get(), started.elapsed());
    assert!(passed.get() > 1000 && refused.get() > 1000);
}

/// Periods that grow by next to nothing are as many as there are steps.
#[test]
fn restarts_with_a_growth_next_to_one_end() {
    let at = |step, growth| {
        let steps = 1 << 40;
        Schedule::cosine_restarts(Span::Steps(7), growth, 0.0).factor(Moment { step, steps_per_epoch: 1, steps })
    };
    for step in [0, 6, 7, 8, 1 << 20, (1 << 40) - 1] {
        let (even, near) = (at(step, 1.0), at(step, 1.0 + f64::EPSILON));
        assert!((0.0..=1.0).contains(&near), "{near}");
        // Where the sum of the periods is still what it would be without any growth.
        assert!(step > 1 << 20 || (even - near).abs() < 1e-6, "step {step}: {near}, not {even}");
    }
    // The closed form goes on where the loop ends: period 2000 of a growth by a millionth.
    let growth: f64 = 1.0 + 1e-6;
    let began = 1000.0 * (growth.powi(2000) - 1.0) / (growth - 1.0);
    let schedule = Schedule::cosine_restarts(Span::Steps(1000), growth, 0.0);
    let factor = |step| schedule.factor(Moment { step, steps_per_epoch: 1, steps: 1 << 30 });
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count of steps")]
    let first = began.ceil() as u64;
    assert!(factor(first) > 0.999 && factor(first - 2) < 1e-3, "{} {}", factor(first), factor(first - 2));
}

/// An optimiser of any numbers is refused, or takes a step; a step of finite numbers within a sane range stays finite.
#[test]
fn optimizers_of_any_numbers() {
    use wgrad::{Adam, AdamW, Momentum, Nesterov, RmsProp};
    let arch = Arch::new(3, &[(4, Activation::Tanh), (2, Activation::Sigmoid)], Cost::Quadratic);
    let (x, y) = arch.data(4, 2);
    let (taken, refused) = (Cell::new(0_u32), Cell::new(0_u32));
    for device in common::devices() {
        let net = RefCell::new(arch.build(&device, PlanKind::Fused, 1));
        let start = net.borrow().parameters().expect("parameters");
        let regular = proptest::option::of(number());
        let cases = (
            (0..6, number(), number(), number()),
            (number(), number(), number()),
            (regular.clone(), regular.clone(), regular),
        );
        runner(if device.kind() == "cpu" { 2000 } else { 60 })
            .run(&cases, |((which, a, b, c), (l1, l2, decay), (max_norm, clip_value, clip_norm))| {
                let mut regularization = Regularization::default();
                if which % 2 == 0 {
                    (regularization.l1, regularization.l2, regularization.decoupled) = (l1, l2, decay);
                    (regularization.max_norm, regularization.clip_value) = (max_norm, clip_value);
                    regularization.clip_norm = clip_norm;
                }
                macro_rules! with {
                    ($optimizer:expr) => {{
                        let mut optimizer = $optimizer;
                        optimizer.regularization = regularization;
                        Optimizer::from(optimizer)
                    }};
                }
                let optimizer = match which {
                    0 => with!(Sgd::new(a)),
                    1 => with!(Momentum::new(a).mu(b)),
                    2 => with!(Nesterov::new(a).mu(b)),
                    3 => with!(RmsProp::new(a).alpha(b).epsilon(c)),
                    4 => with!(Adam::new(a).betas(b, c).epsilon(l1)),
                    _ => with!(AdamW::new(a).betas(b, c).epsilon(l2)),
                };
                let mut net = net.borrow_mut();
                net.set_parameters(&start).expect("finite");
                let before = bits(&start);
                match net.update_mini_batch(&x, &y, Cost::Quadratic, optimizer) {
                    Ok(()) => {
                        taken.set(taken.get() + 1);
                        let after = net.parameters().expect("parameters");
                        let sane = a < 10.0 && c >= 1e-8 && l1.max(l2) >= 1e-8 && l1.max(l2).max(decay) < 10.0;
                        assert!(!sane || after.iter().all(|w| w.is_finite()), "{device}: {optimizer:?}: {after:?}");
                    }
                    Err(Error::InvalidOption { .. } | Error::Several { .. }) => {
                        refused.set(refused.get() + 1);
                        assert_eq!(bits(&net.parameters().expect("parameters")), before, "{device}: {optimizer:?}");
                    }
                    Err(error) => panic!("{device}: {optimizer:?}: {error}"),
                }
                Ok(())
            })
            .expect("every case");
    }
    println!("{} optimisers take a step, {} are refused", taken.get(), refused.get());
    assert!(taken.get() > 50 && refused.get() > 1000);
}

/// Rows of any numbers and of any length.
#[test]
fn answers_to_any_rows() {
    let arch = Arch::new(3, &[(4, Activation::Tanh), (2, Activation::Sigmoid)], Cost::Quadratic);
    for device in common::devices() {
        let net = arch.build(&device, PlanKind::Fused, 1);
        let (answered, refused) = (Cell::new(0_u32), Cell::new(0_u32));
        let any_rows = proptest::collection::vec(number(), 0..60);
        let whole_rows = (1_usize..20).prop_flat_map(|rows| proptest::collection::vec(-1e3_f32..1e3, 3 * rows));
        let cases = (prop_oneof![any_rows, whole_rows], proptest::option::of(0_usize..45));
        runner(if device.kind() == "cpu" { 3000 } else { 150 })
            .run(&cases, |(x, len)| {
                let rows = x.len() / 3;
                let len = len.unwrap_or(2 * rows);
                let good = !x.is_empty() && x.len() % 3 == 0 && x.iter().all(|x| x.is_finite());
                let mut into = vec![f32::NAN; len];
                let before = bits(&into);
                let results: [(Result<Vec<f32>>, bool); 3] = [
                    (net.predict(&x), good),
                    (net.predict_on_device(&x), good),
                    (net.predict_into(&x, &mut into).map(|()| into.clone()), good && len == 2 * rows),
                ];
                for (result, is_good) in results {
                    match result {
                        Ok(a) => {
                            assert!(is_good && a.len() == 2 * rows, "{device}: {x:?} gives {a:?}");
                            // A sigmoid of whatever is finite before it; sums of the largest numbers need not be.
                            let finite = x.iter().all(|x| x.abs() < 1e30);
                            assert!(
                                !finite || a.iter().all(|a| (0.0..=1.0).contains(a)),
                                "{device}: {x:?} gives {a:?}"
                            );
                            answered.set(answered.get() + 1);
                        }
                        Err(Error::Empty { .. } | Error::Shape { .. } | Error::NotFinite { .. }) => {
                            assert!(!is_good, "{device}: {x:?} is refused");
                            refused.set(refused.get() + 1);
                        }
                        Err(error) => panic!("{device}: {x:?}: {error}"),
                    }
                }
                if !(good && len == 2 * rows) {
                    assert_eq!(bits(&into), before, "{device}: what was refused wrote something");
                }
                Ok(())
            })
            .expect("every case");
        println!("{device}: {} answers, {} refused", answered.get(), refused.get());
        assert!(answered.get() > 20 && refused.get() > 20);
    }
}

#[test]
fn populations_given_nothing_and_nonsense() {
    let mut population = Population::new(&Device::cpu(), Cost::Quadratic).epochs(1);
    assert!(matches!(population.predict(&[1.0]), Err(Error::Empty { .. })));
    let net = || Network::new(2).dense(1, Activation::Sigmoid);
    population.add(net(), Sgd::new(0.1), u64::MAX).expect("a member");
    assert!(matches!(population.predict(&[]), Err(Error::Empty { .. })));
    assert!(matches!(population.predict(&[1.0]), Err(Error::Shape { .. })));
    assert!(matches!(population.predict(&[1.0, f32::NAN]), Err(Error::NotFinite { .. })));
    let one = Dataset::new(vec![0.0, 1.0], 2, vec![1.0], 1).expect("one row");
    assert_eq!(population.fit(&one).expect("one row").members.len(), 1);
    assert_eq!(population.evaluate_ensemble(&one).expect("one row").rows, 1);
    let mut spoilt = Population::new(&Device::cpu(), Cost::Quadratic).epochs(0).batch_size(0).label_smoothing(f32::NAN);
    spoilt.add(net(), Sgd::new(0.1), 0).expect("a member");
    assert!(matches!(spoilt.fit(&one), Err(Error::Several { problems }) if problems.len() == 3));
}

/// What is NaN or infinite is never better, whatever came first: no file could hold it.
#[test]
fn watching_what_is_not_a_number() {
    let mut net = Network::new(1).dense(1, Activation::Identity).build(&Device::cpu()).expect("a network");
    let rows = Dataset::new(vec![0.5, 1.0], 1, vec![0.0, 1.0], 1).expect("data");
    let history = Trainer::new(Cost::Quadratic, Sgd::new(0.1)).epochs(1).fit(&mut net, &rows, None).expect("a run");
    let seen = |costs: &[f64]| {
        let mut watch = Watch::default();
        let better: Vec<bool> = (1..)
            .zip(costs)
            .map(|(epoch, &train_cost)| {
                let mut report: EpochReport = history.epochs[0];
                (report.epoch, report.train_cost) = (epoch, train_cost);
                watch.see(Metric::TrainCost, 0.0, &report)
            })
            .collect();
        (better, watch.best.map(|(epoch, _)| epoch), watch.waited)
    };
    assert_eq!(seen(&[f64::NAN, 2.0, f64::NAN, 1.0]), (vec![false, true, false, true], Some(4), 0));
    assert_eq!(seen(&[f64::NAN, f64::NAN]), (vec![false, false], None, 2));
    assert_eq!(seen(&[f64::INFINITY, 1.0, f64::INFINITY]), (vec![false, true, false], Some(2), 1));
    // Neither has a history of nothing a best epoch.
    assert_eq!(History::default().best(Metric::TrainCost), None);
    assert_eq!(History::default().final_test_accuracy(), None);
    let stopping = EarlyStopping::new(1).metric(Metric::TrainCost).min_change(f64::NAN);
    let trainer = Trainer::new(Cost::Quadratic, Sgd::new(0.1)).early_stopping(stopping);
    assert!(matches!(trainer.check(&net, &rows, None), Err(Error::InvalidOption { .. })));
}

#[test]
fn small_things_given_nothing_and_nonsense() {
    let pairs = [(0, 0), (1, 0), (7, 0), (usize::MAX, usize::MAX)];
    let confusion = Confusion::from_pairs(0, pairs).expect("a matrix");
    assert_eq!((confusion.classes(), confusion.rows()), (2, 2), "classes that there are not are left out");
    let nothing = Confusion::from_pairs(3, []).expect("a matrix");
    assert_eq!((nothing.accuracy().to_bits(), nothing.macro_f1().to_bits(), nothing.precision(9)), (0, 0, None));
    assert_eq!((nothing.count(3, usize::MAX), nothing.support(3), nothing.answered(usize::MAX)), (0, 0, 0));
    assert!(nothing.top_k(0).abs() < 1e-12 && nothing.top_k(usize::MAX).abs() < 1e-12);

    for (pixels, width) in [(0, 0), (0, 5), (1, 0), (6, 3), (7, 3), (3, usize::MAX)] {
        let text = data::ascii(&vec![f32::NAN; pixels], width);
        assert!(text.chars().all(|c| c == ' ' || c == '\n'), "{text:?}");
    }
    assert!(data::ascii(&[f32::INFINITY; 4], 2).contains('@'));
    assert!(data::synthetic_digits(0, 1).is_err());

    let arch = Arch::new(3, &[(4, Activation::Tanh), (2, Activation::Sigmoid)], Cost::Quadratic);
    let (x, y) = arch.data(4, 2);
    let rows = Dataset::new(x, 3, y, 2).expect("data");
    assert!(rows.split([0.0; 3], 1).is_err() && rows.split([f64::NAN, 1.0], 1).is_err());
    assert!(rows.take(0).is_err() && rows.take(5).is_err() && rows.slice(4..9).is_err() && rows.select(&[4]).is_err());
    assert!(rows.input_row(4).is_err() && rows.target_row(usize::MAX).is_err() && rows.label(usize::MAX).is_none());
    let mut net = arch.build(&Device::cpu(), PlanKind::Fused, 1);
    let mut run =
        Trainer::new(Cost::Quadratic, Sgd::new(0.1)).batch_size(usize::MAX).start(&mut net, &rows).expect("a run");
    assert_eq!(run.step_for(Duration::ZERO).expect("a slice").steps, 1);
}
