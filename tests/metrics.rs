//! Metrics: counts and errors as a plain program has them, on every device, and the same on all.

#![cfg(feature = "blocking")]
#![allow(clippy::print_stdout, reason = "the devices and what was compared are the result of these tests")]

mod common;

use common::nets::{Arch, Numbers};
use wgrad::plan::PlanKind;
use wgrad::{Activation, Confusion, Cost, Dataset, Device, Metrics, Network};

/// The place of the largest number, the first of equals.
fn argmax(row: &[f32]) -> usize {
    (1..row.len()).fold(0, |best, j| if row[j] > row[best] { j } else { best })
}

/// What a plain program counts: the pairs of true class and answer, and how many rows have each rank.
fn counted(outputs: &[f32], truths: &[usize], width: usize) -> (Confusion, Vec<u64>) {
    let classes = width.max(2);
    let mut ranks = vec![0; classes];
    let pairs: Vec<(usize, usize)> = outputs
        .chunks(width)
        .zip(truths)
        .map(|(a, &truth)| {
            if width == 1 {
                let answer = usize::from(a[0] >= 0.5);
                ranks[usize::from(answer != truth)] += 1;
                return (truth, answer);
            }
            ranks[a.iter().enumerate().filter(|&(j, &x)| x > a[truth] || x == a[truth] && j < truth).count()] += 1;
            (truth, argmax(a))
        })
        .collect();
    (Confusion::from_pairs(classes, pairs).expect("a matrix"), ranks)
}

/// Small whole numbers, so that every sum is exact in any order and all devices have the same outputs, ties among them.
fn exact_net(device: &Device, kind: PlanKind, inputs: usize, outputs: usize) -> Network {
    let mut net = Network::new(inputs).dense(outputs, Activation::Identity).plan(kind).build(device).expect("a net");
    let mut numbers = Numbers(11);
    let weights: Vec<f32> = (0..net.parameter_count()).map(|_| numbers.below(5) as f32 - 2.0).collect();
    net.set_parameters(&weights).expect("parameters");
    net
}

fn exact_inputs(rows: usize, columns: usize) -> Vec<f32> {
    let mut numbers = Numbers(12);
    (0..rows * columns).map(|_| numbers.below(4) as f32).collect()
}

/// Several mini-batches of 1,000, the last one ragged; widths around those of a workgroup.
const SHAPES: [(usize, usize); 8] =
    [(1, 2), (7, 3), (1000, 10), (2303, 10), (64, 63), (65, 64), (130, 65), (1001, 131)];

#[test]
fn answers_are_counted_as_a_plain_program_counts_them() {
    let mut first: Vec<Metrics> = Vec::new();
    for (device, kind) in common::devices_and_plans() {
        for (at, &(rows, classes)) in SHAPES.iter().enumerate() {
            let mut numbers = Numbers(13);
            let labels: Vec<u32> = (0..rows).map(|_| numbers.below(classes as u32)).collect();
            let truths: Vec<usize> = labels.iter().map(|&label| label as usize).collect();
            let x = exact_inputs(rows, 4);
            let net = exact_net(&device, kind, 4, classes);
            let outputs = net.predict(&x).expect("outputs");
            let data = Dataset::with_labels(x, 4, labels, classes).expect("data");
            let metrics = net.metrics(&data, Cost::Quadratic).expect("metrics");

            let confusion = metrics.confusion.as_ref().expect("classes");
            let (want, ranks) = counted(&outputs, &truths, classes);
            for truth in 0..classes {
                for answer in 0..classes {
                    assert_eq!(
                        confusion.count(truth, answer),
                        want.count(truth, answer),
                        "{device}: {truth} as {answer}"
                    );
                }
                assert_eq!(confusion.support(truth), want.support(truth));
            }
            for k in 1..=classes {
                let share = ranks[..k].iter().sum::<u64>() as f64 / rows as f64;
                assert_eq!(confusion.top_k(k), share, "{device}, {kind} plan, {rows} rows: top {k}");
            }
            assert_eq!(confusion.top_k(classes), 1.0);
            assert_eq!((confusion.rows(), metrics.rows), (rows as u64, rows));
            // One kernel counts right answers, another one the diagonal.
            assert_eq!(confusion.accuracy(), metrics.accuracy, "{device}, {kind} plan");
            assert_eq!(confusion.top_k(1), metrics.accuracy, "{device}, {kind} plan");
            assert!(metrics.errors.is_empty());

            let summary = net.evaluate(&data, Cost::Quadratic).expect("an evaluation");
            assert_eq!(summary, metrics.summary());
            assert_eq!(summary.top5, (classes > 5).then(|| confusion.top_k(5)));
            // Exactly the same on every device.
            match first.get(at) {
                None => first.push(metrics),
                Some(first) => assert_eq!(first.confusion, metrics.confusion, "{device}, {kind} plan"),
            }
        }
        println!("{device}, {kind} plan: {} shapes", SHAPES.len());
    }
}

#[test]
fn one_output_tells_two_classes_apart() {
    for (device, kind) in common::devices_and_plans() {
        let arch = Arch::new(3, &[(5, Activation::Tanh), (1, Activation::Sigmoid)], Cost::BinaryCrossEntropy);
        let mut net = arch.build(&device, kind, 4);
        // Steep, and not on one side.
        net.set_parameters(&Numbers(8).many(net.parameter_count()).iter().map(|w| 3.0 * w).collect::<Vec<_>>())
            .expect("w");
        let x = Numbers(5).many(3 * 1100);
        let truths: Vec<usize> = (0..1100).map(|row| usize::from(row % 3 == 0)).collect();
        let y = truths.iter().map(|&truth| truth as f32).collect();
        let outputs = net.predict(&x).expect("outputs");
        let metrics = net.metrics(&Dataset::new(x, 3, y, 1).expect("data"), arch.cost).expect("metrics");
        let confusion = metrics.confusion.expect("classes");
        let (want, _) = counted(&outputs, &truths, 1);
        let cells = |c: &Confusion| [(0, 0), (0, 1), (1, 0), (1, 1)].map(|(t, g)| c.count(t, g));
        assert_eq!(cells(&confusion), cells(&want), "{device}, {kind} plan");
        assert!(cells(&want).iter().all(|&n| n > 0), "every cell has something to count: {want:?}");
        assert_eq!((confusion.classes(), confusion.accuracy()), (2, metrics.accuracy));
    }
}

#[test]
fn errors_are_as_a_plain_program_has_them() {
    for (device, kind) in common::devices_and_plans() {
        for (rows, outputs) in [(1, 1), (2, 3), (63, 2), (65, 70), (1000, 3), (2303, 3)] {
            let arch = Arch::new(4, &[(6, Activation::Tanh), (outputs, Activation::Identity)], Cost::Quadratic);
            let net = arch.build(&device, kind, 3);
            let x = Numbers(6).many(4 * rows);
            // Far from zero: a variance from sums of squares would have lost its digits.
            let y: Vec<f32> = Numbers(7).many(rows * outputs).iter().map(|y| 1000.0 + y).collect();
            let a = net.predict(&x).expect("outputs");
            let metrics =
                net.metrics(&Dataset::new(x, 4, y.clone(), outputs).expect("data"), arch.cost).expect("metrics");
            assert_eq!((metrics.errors.len(), metrics.confusion.is_none()), (outputs, true));
            let (mut all_mse, mut all_mae, mut all_r2) = (0.0, 0.0, 0.0);
            for (j, errors) in metrics.errors.iter().enumerate() {
                let pairs: Vec<(f64, f64)> =
                    (0..rows).map(|row| (f64::from(a[row * outputs + j]), f64::from(y[row * outputs + j]))).collect();
                let n = rows as f64;
                let mean = pairs.iter().map(|p| p.1).sum::<f64>() / n;
                let squares: f64 = pairs.iter().map(|(a, y)| (a - y) * (a - y)).sum();
                let spread: f64 = pairs.iter().map(|(_, y)| (y - mean) * (y - mean)).sum();
                let mae = pairs.iter().map(|(a, y)| (a - y).abs()).sum::<f64>() / n;
                let r2 = if rows == 1 { 0.0 } else { 1.0 - squares / spread };
                let near = |got: f64, want: f64| (got - want).abs() <= 2e-6 * want.abs();
                let what = format!("{device}, {kind} plan, {rows} rows, output {j}: {errors:?}");
                assert!(near(errors.mse, squares / n) && near(errors.mae, mae) && near(errors.r2, r2), "{what}");
                assert!(near(errors.rmse(), (squares / n).sqrt()), "{what}");
                all_mse += errors.mse / outputs as f64;
                all_mae += errors.mae / outputs as f64;
                all_r2 += errors.r2 / outputs as f64;
            }
            let summary = metrics.summary();
            let near = |got: Option<f64>, want: f64| got.is_some_and(|got| (got - want).abs() <= 1e-12 * want.abs());
            assert!(near(summary.rmse, all_mse.sqrt()) && near(summary.mae, all_mae) && near(summary.r2, all_r2));
            assert_eq!((summary.f1, summary.top5), (None, None));
        }
    }
}

/// Targets that are all the same have no variance to explain.
#[test]
fn constant_targets() {
    for (device, kind) in common::devices_and_plans() {
        let mut net = exact_net(&device, kind, 1, 1);
        let data = Dataset::new(vec![1.0, 2.0, 3.0], 1, vec![5.0; 3], 1).expect("data");
        net.set_parameters(&[0.0, 5.0]).expect("parameters");
        let met = net.metrics(&data, Cost::Quadratic).expect("metrics");
        assert_eq!((met.errors[0].r2, met.errors[0].mse), (1.0, 0.0), "{device}");
        net.set_parameters(&[0.0, 4.5]).expect("parameters");
        let missed = net.metrics(&data, Cost::Quadratic).expect("metrics");
        assert_eq!((missed.errors[0].r2, missed.errors[0].mse, missed.errors[0].mae), (0.0, 0.25, 0.5), "{device}");
    }
}

/// scikit-learn 1.8: `precision_score`, `recall_score`, `f1_score` of each class, macro F1 and accuracy of these fourteen.
#[test]
fn scores_are_those_of_scikit_learn() {
    let truths = [0, 1, 2, 2, 1, 0, 3, 3, 3, 1, 2, 0, 0, 2];
    let answers = [0, 2, 2, 2, 1, 1, 3, 0, 3, 1, 1, 0, 0, 2];
    // Class 4 neither is nor was answered.
    let confusion = Confusion::from_pairs(5, truths.into_iter().zip(answers)).expect("a matrix");
    let near = |got: Option<f64>, want: f64| got.is_some_and(|got| (got - want).abs() < 1e-15);
    let want =
        [(0.75, 0.75, 0.75), (0.5, 2.0 / 3.0, 0.571_428_571_428_571_4), (0.75, 0.75, 0.75), (1.0, 2.0 / 3.0, 0.8)];
    for (class, (precision, recall, f1)) in want.into_iter().enumerate() {
        assert!(near(confusion.precision(class), precision), "{class}");
        assert!(near(confusion.recall(class), recall), "{class}");
        assert!(near(confusion.f1(class), f1), "{class}");
    }
    assert_eq!((confusion.precision(4), confusion.recall(4), confusion.f1(4)), (None, None, None));
    assert!(near(Some(confusion.macro_f1()), 0.717_857_142_857_142_7), "{}", confusion.macro_f1());
    assert!(near(Some(confusion.accuracy()), 0.714_285_714_285_714_3));
    assert_eq!(
        (confusion.count(3, 0), confusion.count(0, 3), confusion.count(9, 0), confusion.support(9)),
        (1, 0, 0, 0)
    );
    let shown = confusion.to_string();
    assert!(shown.lines().count() == 6 && shown.contains("57.1 %"), "{shown}");
}

/// Parameters that are not finite: such a row has a true class, but no answer.
#[test]
fn what_is_not_a_number_is_no_answer() {
    for (device, kind) in common::devices_and_plans() {
        let mut net = exact_net(&device, kind, 1, 3);
        // One output overflows to infinity, and the cost to NaN or infinity; the largest output is the answer all the same.
        net.set_parameters(&[3e38, 0.0, 1.0, 0.0, 0.0, 0.0]).expect("parameters");
        let data = Dataset::with_labels(vec![9.0, 0.0, -9.0], 1, vec![0, 1, 1], 3).expect("data");
        let confusion = net.metrics(&data, Cost::Quadratic).expect("metrics").confusion.expect("classes");
        let told = [confusion.count(0, 0), confusion.count(1, 0), confusion.count(1, 1)];
        assert_eq!(told, [1, 1, 1], "{device}, {kind} plan: {confusion:?}");
    }
}

/// More classes than an evaluation counts by itself; the metrics that are asked for have them.
#[test]
fn many_classes_are_counted_on_request() {
    let classes = 300;
    for (device, kind) in common::devices_and_plans() {
        let net = exact_net(&device, kind, 2, classes);
        let labels: Vec<u32> = (0..500).map(|row| row % 300).collect();
        let data = Dataset::with_labels(exact_inputs(500, 2), 2, labels, classes).expect("data");
        let summary = net.evaluate(&data, Cost::Quadratic).expect("an evaluation");
        assert_eq!((summary.f1, summary.top5), (None, None));
        let metrics = net.metrics(&data, Cost::Quadratic).expect("metrics");
        assert_eq!((metrics.cost, metrics.accuracy), (summary.cost, summary.accuracy));
        let confusion = metrics.confusion.expect("classes");
        assert_eq!((confusion.rows(), confusion.support(250)), (500, 1));
    }
}
