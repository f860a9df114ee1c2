//! Data sets that the device may not hold: they are streamed, and every number is that of the resident run, to the bit.

#![cfg(feature = "blocking")]
#![allow(clippy::print_stdout, reason = "the devices and what was compared on them are the result of these tests")]

mod common;

use std::time::Duration;

use common::nets::{Numbers, bits};
use wgrad::plan::PlanKind;
use wgrad::{Activation, Adam, Cost, Dataset, Device, EpochReport, History, Network, Optimizer, Trainer};

/// A kind of data set, and what training makes of it.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Kind {
    bytes: bool,
    labels: bool,
    weighted: bool,
    smoothing: f32,
    dropout: f32,
}

const KINDS: [Kind; 6] = [
    Kind { bytes: false, labels: false, weighted: false, smoothing: 0.0, dropout: 0.0 },
    Kind { bytes: true, labels: true, weighted: false, smoothing: 0.0, dropout: 0.0 },
    Kind { bytes: true, labels: true, weighted: true, smoothing: 0.1, dropout: 0.0 },
    Kind { bytes: false, labels: false, weighted: true, smoothing: 0.2, dropout: 0.0 },
    Kind { bytes: false, labels: true, weighted: true, smoothing: 0.0, dropout: 0.3 },
    Kind { bytes: true, labels: false, weighted: false, smoothing: 0.0, dropout: 0.5 },
];

const INPUTS: usize = 7;
const OUTPUTS: usize = 3;

impl Kind {
    fn data(self, rows: usize, seed: u64) -> Dataset {
        let mut numbers = Numbers(seed);
        let labels: Vec<u32> = (0..rows).map(|_| numbers.below(3)).collect();
        let x = numbers.many(rows * INPUTS);
        let y: Vec<f32> = (0..rows * OUTPUTS).map(|_| numbers.unit()).collect();
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a byte")]
        let bytes = || x.iter().map(|x| (127.0 * x + 127.0) as u8).collect();
        let data = match (self.bytes, self.labels) {
            (true, true) => Dataset::from_bytes(bytes(), INPUTS, labels, OUTPUTS),
            (false, true) => Dataset::with_labels(x, INPUTS, labels, OUTPUTS),
            (false, false) => Dataset::new(x, INPUTS, y, OUTPUTS),
            (true, false) => Dataset::from_parts(
                wgrad::Inputs::U8(bytes()),
                INPUTS,
                wgrad::Targets::Values { values: y, outputs: OUTPUTS },
            ),
        };
        let data = data.expect("data");
        let weights = (0..rows).map(|_| numbers.unit()).collect();
        if self.weighted { data.with_weights(weights).expect("weights") } else { data }
    }

    /// Bytes of so many rows.
    fn bytes(self, rows: usize) -> u64 {
        let inputs = if self.bytes { (rows * INPUTS).div_ceil(4) } else { rows * INPUTS };
        let targets = if self.labels { rows } else { rows * OUTPUTS };
        4 * (inputs + targets + if self.weighted { rows } else { 0 }) as u64
    }

    fn net(self, device: &Device, kind: PlanKind) -> Network {
        let start = Network::new(INPUTS).plan(kind).seed(3).dense(6, Activation::Tanh);
        let hidden = if self.dropout > 0.0 { start.dropout(self.dropout) } else { start };
        hidden.dense(OUTPUTS, Activation::Sigmoid).build(device).expect("a network")
    }

    fn trainer(self, batch: usize) -> Trainer<'static> {
        let adam = Optimizer::from(Adam::new(0.01));
        Trainer::new(Cost::BinaryCrossEntropy, adam).batch_size(batch).epochs(3).seed(5).label_smoothing(self.smoothing)
    }
}

/// What a run ends in, without its times.
#[derive(Debug, PartialEq)]
struct Outcome {
    parameters: Vec<u32>,
    epochs: Vec<[u64; 2]>,
}

fn outcome(net: &Network, history: &History) -> Outcome {
    let seen = |report: &EpochReport| [report.train_cost.to_bits(), report.train_accuracy.to_bits()];
    let parameters = bits(&net.parameters().expect("parameters"));
    Outcome { parameters, epochs: history.epochs.iter().map(seen).collect() }
}

/// Rows in all, and in a mini-batch: with a ragged last one, and where bytes of a mini-batch are no whole words.
const SHAPES: [(usize, usize); 4] = [(61, 5), (40, 8), (23, 1), (30, 11)];

#[test]
fn a_streamed_run_is_the_resident_run_to_the_bit() {
    for (device, plan) in common::devices_and_plans() {
        let mut compared = 0;
        for (kind, (rows, batch)) in KINDS.iter().flat_map(|&kind| SHAPES.map(|shape| (kind, shape))) {
            let data = kind.data(rows, 1);
            let run = |device: &Device, seed: u64| {
                let mut net = kind.net(device, plan);
                let history = kind.trainer(batch).seed(seed).fit(&mut net, &data, None).expect("training");
                (outcome(&net, &history), history.streamed)
            };
            let (resident, no) = run(&device, 5);
            assert!(!no, "{device}: {rows} rows are streamed, which fit");
            // Two mini-batches are the least.
            for batches in [2, 3, 6] {
                let memory = kind.bytes(batch).saturating_mul(batches);
                let (streamed, yes) = run(&device.clone().with_data_memory(memory), 5);
                assert_eq!(yes, memory < kind.bytes(rows), "{device}, {plan} plan, {kind:?}, {rows} by {batch}");
                assert_eq!(streamed, resident, "{device}, {plan} plan, {kind:?}, {rows} rows by {batch}, {memory} B");
                compared += usize::from(yes);
            }
            // The comparison sees another order.
            assert_ne!(run(&device.clone().with_data_memory(2 * kind.bytes(batch)), 6).0, resident);
        }
        println!("{device}, {plan} plan: {compared} streamed runs have the bits of the resident ones");
        assert_eq!(compared, 54);
    }
}

/// Metrics of sets that are streamed, with the answers counted and the errors of each output; and those of a run's held-out set.
#[test]
fn streamed_evaluations_are_the_resident_ones_to_the_bit() {
    for (device, plan) in common::devices_and_plans() {
        let mut compared = 0;
        for kind in KINDS {
            // Evaluations take a thousand rows at a time.
            let (rows, least) = (3500, 2 * kind.bytes(1000));
            let data = kind.data(rows, 3);
            let few = device.clone().with_data_memory(least);
            let metrics =
                |device: &Device| kind.net(device, plan).metrics(&data, Cost::BinaryCrossEntropy).expect("metrics");
            assert_eq!(metrics(&few), metrics(&device), "{device}, {plan} plan, {kind:?}");
            // Where two thousand rows are too many, fewer are taken, and sums are rounded elsewhere.
            let [fewer, all] =
                [&device.clone().with_data_memory(least - 1), &device].map(|device| metrics(device).cost);
            assert!((fewer / all - 1.0).abs() <= 1e-6, "{device}, {plan} plan, {kind:?}: {fewer}, not {all}");
            let train = kind.data(50, 4);
            let tested = |device: &Device| {
                let mut net = kind.net(device, plan);
                let history = kind.trainer(10).epochs(1).fit(&mut net, &train, Some(&data)).expect("training");
                assert!(!history.streamed);
                history.epochs[0].test.expect("an evaluation")
            };
            assert_eq!(tested(&few), tested(&device), "{device}, {plan} plan, {kind:?}");
            compared += 2;
        }
        println!("{device}, {plan} plan: {compared} streamed evaluations");
        assert_eq!(compared, 2 * KINDS.len());
    }
}

/// A run in slices of time; its save in the middle of an epoch, from which it goes on streamed or resident.
#[test]
fn streamed_runs_stop_and_go_on_anywhere() {
    for (device, plan) in common::devices_and_plans() {
        let mut saves = 0;
        for kind in KINDS {
            let (data, batch) = (kind.data(61, 1), 5);
            let few = device.clone().with_data_memory(3 * kind.bytes(batch));
            let mut net = kind.net(&device, plan);
            let history = kind.trainer(batch).fit(&mut net, &data, None).expect("training");
            let want = outcome(&net, &history);
            // Streamed and resident may take turns.
            for devices in [[&few, &few], [&few, &device], [&device, &few]] {
                for stop in [2, 7, 13, 14] {
                    let mut net = kind.net(devices[0], plan);
                    let trainer = kind.trainer(batch);
                    let mut run = trainer.start(&mut net, &data).expect("a run");
                    while run.network().optimizer_steps() < stop {
                        run.step_for(Duration::ZERO).expect("a step");
                    }
                    let bytes = run.to_bytes().expect("a checkpoint");
                    drop(run);
                    let (mut net, mut trainer) = Trainer::from_bytes(&bytes, devices[1]).expect("the run");
                    let history = trainer.fit(&mut net, &data, None).expect("training");
                    // An epoch whose report was never asked for is not in the history.
                    let mut got = outcome(&net, &history);
                    got.epochs.splice(..0, want.epochs[..3 - got.epochs.len()].iter().copied());
                    assert!(stop >= 13 || history.epochs.len() == 3);
                    assert_eq!(got, want, "{device}, {plan} plan, {kind:?}, saved after {stop}");
                    saves += 1;
                }
            }
        }
        println!("{device}, {plan} plan: {saves} saves, also within an epoch, went on with the same bits");
    }
}
