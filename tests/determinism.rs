//! The same seeds on the same device give the same bits, whatever the number of threads or the type of the data.

#![cfg(feature = "blocking")]
#![allow(clippy::print_stdout, reason = "what was compared, and where, is the result of these tests")]

mod common;

use common::nets::{Numbers, bits};
use wgrad::data::{Dataset, Inputs, synthetic_digits};
use wgrad::plan::PlanKind;
use wgrad::{Activation, Cost, Device, Network, Sgd, Trainer};

/// All that a run of training depends on.
#[derive(Debug, Clone, Copy)]
struct Run {
    widths: [usize; 2],
    kind: PlanKind,
    init: u64,
    order: u64,
    batch: usize,
    epochs: usize,
}

impl Run {
    const fn new(kind: PlanKind, batch: usize) -> Self {
        Self { widths: [30, 10], kind, init: 1, order: 2, batch, epochs: 2 }
    }

    /// The bits of all parameters after training, and of what the net then says about the first rows.
    fn bits(&self, device: &Device, data: &Dataset) -> Vec<u32> {
        let mut net = Network::new(data.features())
            .dense(self.widths[0], Activation::Sigmoid)
            .dense(self.widths[1], Activation::Softmax)
            .seed(self.init)
            .plan(self.kind)
            .build(device)
            .expect("a network");
        let history = Trainer::new(Cost::CategoricalCrossEntropy, Sgd::new(0.5))
            .seed(self.order)
            .batch_size(self.batch)
            .epochs(self.epochs)
            .fit(&mut net, data, None)
            .expect("training");
        assert_eq!(history.epochs.len(), self.epochs);
        let mut numbers = net.parameters().expect("parameters");
        let count = numbers.len();
        let rows: Vec<f32> = (0..3).flat_map(|row| data.input_row(row).expect("a row")).collect();
        numbers.extend(net.predict_on_device(&rows).expect("outputs"));
        #[allow(clippy::cast_possible_truncation, reason = "a sum of f32")]
        numbers.extend(history.epochs.last().map(|epoch| epoch.train_cost as f32));
        assert!(numbers.iter().all(|x| x.is_finite()) && numbers.len() > count);
        bits(&numbers)
    }
}

fn digits(rows: usize) -> Dataset {
    synthetic_digits(rows, 3).expect("digits")
}

/// Where two runs differ first.
fn difference(a: &[u32], b: &[u32]) -> Option<usize> {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).position(|(a, b)| a != b)
}

#[test]
fn the_same_seeds_give_the_same_bits_and_others_give_others() {
    let mut compared = 0;
    for (device, kind) in common::devices_and_plans() {
        // With batches of 32 the last has 4 rows, with 7 it has 2; with 1000 there is one of all rows.
        let data = digits(100);
        for batch in [32, 7, 1000] {
            let run = Run::new(kind, batch);
            let first = run.bits(&device, &data);
            // An evaluation by another network in between changes nothing.
            let _ = Run { init: 9, epochs: 1, ..run }.bits(&device, &data);
            assert_eq!(difference(&first, &run.bits(&device, &data)), None, "{device}, {run:?}");
            for other in [Run { init: 5, ..run }, Run { order: 6, ..run }, Run { epochs: 1, ..run }] {
                // A batch of all rows is the same set in every order; even then sums round otherwise.
                assert!(difference(&other.bits(&device, &data), &first).is_some(), "{device}, {run:?}, {other:?}");
                compared += 1;
            }
            compared += 1;
        }
        println!("{device}, {kind} plan: same seeds, same bits");
    }
    assert!(compared >= 2 * 3 * 4, "{compared}");
}

/// Other seeds change nearly every parameter, not one in a corner.
#[test]
fn each_seed_changes_nearly_every_parameter() {
    for (device, kind) in common::devices_and_plans() {
        let data = digits(100);
        let run = Run::new(kind, 32);
        let first = run.bits(&device, &data);
        for other in [Run { init: 5, ..run }, Run { order: 6, ..run }] {
            let changed = other.bits(&device, &data).iter().zip(&first).filter(|(a, b)| a != b).count();
            // Weights of pixels that no digit reaches keep what the initialisation gave them.
            let least = if other.init == run.init { first.len() / 2 } else { first.len() * 99 / 100 };
            assert!(changed > least, "{device}, {other:?}: {changed} of {}", first.len());
        }
    }
}

/// The products of the wide net have 67 million terms, far beyond where the CPU backend starts other threads.
#[test]
fn the_number_of_threads_does_not_matter() {
    let mut numbers = Numbers(4);
    let rows = 600;
    let labels = (0..rows).map(|_| numbers.below(10)).collect();
    let wide = Dataset::with_labels(numbers.many(rows * 512), 512, labels, 10).expect("data");
    let small = digits(100);
    for kind in PlanKind::ALL {
        let large = Run { widths: [512, 10], batch: 256, ..Run::new(kind, 256) };
        for (run, data) in [(large, &wide), (Run::new(kind, 32), &small)] {
            let first = run.bits(&Device::cpu_with_threads(1), data);
            for threads in [2, 3, 0] {
                let other = run.bits(&Device::cpu_with_threads(threads), data);
                assert_eq!(difference(&first, &other), None, "{threads} threads, {run:?}");
            }
            println!("CPU, {kind} plan, {:?}: the same bits with 1, 2, 3 and all threads", run.widths);
        }
    }
}

#[test]
fn bytes_and_the_floats_that_they_stand_for_give_the_same_bits() {
    let bytes = digits(150);
    assert!(matches!(bytes.inputs(), Inputs::U8(_)));
    let rows = 0..u32::try_from(bytes.len()).expect("few");
    let rows: Vec<u32> = rows.collect();
    let mut x = vec![0.0; bytes.len() * bytes.features()];
    bytes.copy_inputs(&rows, &mut x).expect("all rows");
    let labels: Vec<u32> = (0..bytes.len()).map(|row| bytes.label(row).expect("a label")).collect();
    let floats = Dataset::with_labels(x.clone(), bytes.features(), labels, 10).expect("data");
    let mut y = vec![0.0; bytes.len() * 10];
    bytes.copy_targets(&rows, &mut y).expect("all rows");
    let values = Dataset::new(x, bytes.features(), y, 10).expect("data");
    for (device, kind) in common::devices_and_plans() {
        let run = Run::new(kind, 32);
        let first = run.bits(&device, &bytes);
        for other in [&floats, &values] {
            assert_eq!(difference(&first, &run.bits(&device, other)), None, "{device}, {kind} plan, {other:?}");
        }
        println!("{device}, {kind} plan: bytes, floats and one-hot vectors give the same bits");
    }
}

/// All 256 bytes, seen through a net that passes its input on.
#[test]
fn every_byte_is_the_same_on_every_device_as_in_the_data_set() {
    let all: Vec<u8> = (0..=255).collect();
    let data = Dataset::from_bytes(all, 256, vec![0], 1).expect("data");
    let want = data.input_row(0).expect("a row");
    assert_eq!((want[0], want[255]), (0.0, 1.0));
    for device in common::devices() {
        // The quadratic cost of an identity layer without weights moves each weight by eta x (y - a) = x.
        let mut net = Network::new(256).dense(1, Activation::Identity).build(&device).expect("a network");
        net.set_parameters(&[0.0; 257]).expect("finite");
        Trainer::new(Cost::Quadratic, Sgd::new(1.0)).epochs(1).fit(&mut net, &data, None).expect("training");
        let got = net.parameters().expect("parameters");
        assert_eq!(difference(&bits(&got[..256]), &bits(&want)), None, "{device}: this byte differs");
    }
}
