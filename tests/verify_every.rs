//! Steps of a run that are done on the CPU too: that a run that is right goes on as it would without, and one that is not is stopped.

#![cfg(feature = "blocking")]
#![allow(clippy::print_stdout, reason = "the devices and the number of steps are the result")]

mod common;

use std::time::Duration;

use common::nets::{Numbers, elementwise, pairings};
use wgrad::plan::PlanKind;
use wgrad::{Adam, Cost, Dataset, Device, Error, Inputs, Momentum, Network, Optimizer, RmsProp, Sgd, Targets, Trainer};

const ROWS: usize = 8;
/// Five mini-batches and three rows.
const EXAMPLES: usize = 43;

/// What is trained: everything that changes a step is in one of them.
fn run(case: usize, device: &Device, kind: PlanKind) -> (Network, Dataset, Trainer<'static>) {
    let (output, cost) = pairings()[case % pairings().len()];
    let hidden = elementwise();
    let [f, g] = [hidden[case % hidden.len()], hidden[(case / 2 + 3) % hidden.len()]];
    let (inputs, outputs) = (case % 7 + 1, case % 4 + 1);
    let mut net = Network::new(inputs).plan(kind).seed(case as u64).dense(9, f).dense(5, g);
    if case % 3 == 1 {
        net = net.dropout(0.3);
    }
    let net = net.dense(outputs, output).build(device).expect("a network that can be");
    let mut numbers = Numbers(case as u64);
    let labels = cost == Cost::CategoricalCrossEntropy;
    let x = numbers.many(EXAMPLES * inputs);
    let mut data = if labels {
        let label = |_| numbers.below(u32::try_from(outputs).expect("few"));
        Dataset::with_labels(x, inputs, (0..EXAMPLES).map(label).collect(), outputs).expect("a data set")
    } else {
        let y = (0..EXAMPLES * outputs).map(|_| numbers.unit()).collect();
        Dataset::new(x, inputs, y, outputs).expect("a data set")
    };
    if case % 4 == 2 {
        data = data.with_weights((0..EXAMPLES).map(|_| 0.2 + numbers.unit()).collect()).expect("weights");
    }
    let optimizer: Optimizer = match case % 4 {
        _ if case % 5 == 4 => Adam::new(0.01).clip_norm(0.5).max_norm(1.0).into(),
        0 => Sgd::new(0.1).into(),
        1 => Momentum::new(0.05).into(),
        2 => Adam::new(0.01).into(),
        _ => RmsProp::new(0.003).into(),
    };
    (net, data, Trainer::new(cost, optimizer).batch_size(ROWS).epochs(3).seed(case as u64))
}

/// Every plan, with every pairing of output and cost, dropout, weights, bounds: none is stopped, and all have the bits that they have
/// without.
#[test]
fn a_run_that_is_right_has_the_bits_that_it_has_without() {
    for device in common::devices() {
        let cases = if device.kind() == "cpu" { 3 * pairings().len() } else { pairings().len() };
        let mut steps = 0;
        for (kind, case) in PlanKind::ALL.into_iter().flat_map(|kind| (0..cases).map(move |case| (kind, case))) {
            let (mut plain, data, mut trainer) = run(case, &device, kind);
            let history = trainer.fit(&mut plain, &data, None).expect("training");
            let every = [1, 2, 5][case % 3];
            let (mut verified, data, trainer) = run(case, &device, kind);
            let mut trainer = trainer.verify_every(every);
            let same = trainer
                .fit(&mut verified, &data, None)
                .unwrap_or_else(|error| panic!("{device}, {kind} plan, case {case}: {error}"));
            let bits = |net: &Network| common::nets::bits(&net.parameters().expect("parameters"));
            assert_eq!(bits(&plain), bits(&verified), "{device}, {kind} plan, case {case}");
            let costs =
                |history: &wgrad::History| history.epochs.iter().map(|e| e.train_cost.to_bits()).collect::<Vec<_>>();
            assert_eq!(costs(&history), costs(&same));
            let [read, more] = [&plain, &verified].map(|net| net.counters().bytes_down);
            assert!(more > read, "nothing was read to be verified");
            steps += 18 / every;
        }
        println!("{device}: {cases} runs by each plan, {steps} steps verified");
    }
}

/// Bytes of the data set a mini-batch, as a device holds them.
fn batch_bytes(data: &Dataset, batch: usize) -> u64 {
    let words = |numbers: usize, is_bytes: bool| if is_bytes { numbers.div_ceil(4) } else { numbers };
    let inputs = words(batch * data.features(), matches!(data.inputs(), Inputs::U8(_)));
    let targets = if matches!(data.targets(), Targets::Labels { .. }) { batch } else { batch * data.outputs() };
    4 * (inputs + targets + if data.weights().is_some() { batch } else { 0 }) as u64
}

/// Where the data are streamed, with one mini-batch, two or three in a buffer, so that steps that are verified are at every place in
/// it; also where the bytes of a mini-batch are no whole words.
#[test]
fn a_streamed_run_that_is_right_has_the_bits_of_the_resident_one() {
    for device in common::devices() {
        let (mut runs, mut steps) = (0, 0);
        for (kind, case) in PlanKind::ALL.into_iter().flat_map(|kind| (0..8).map(move |case| (kind, case))) {
            let start = |device: &Device| {
                let (net, data, trainer) = run(case, device, kind);
                // Thirteen mini-batches of five rows with an odd number of bytes.
                let bytes = (case >= 6).then(|| {
                    let inputs = net.inputs();
                    let mut numbers = Numbers(9);
                    let x = (0..61 * inputs).map(|_| u8::try_from(numbers.below(256)).expect("a byte")).collect();
                    let labels = (0..61).map(|_| numbers.below(u32::try_from(net.outputs()).expect("few"))).collect();
                    Dataset::from_bytes(x, inputs, labels, net.outputs()).expect("a data set")
                });
                let batch = if case >= 6 { 5 } else { ROWS };
                (net, bytes.unwrap_or(data), trainer.batch_size(batch), batch)
            };
            let (mut plain, data, mut trainer, batch) = start(&device);
            let history = trainer.fit(&mut plain, &data, None).expect("training");
            assert!(!history.streamed);
            let bits = |net: &Network| common::nets::bits(&net.parameters().expect("parameters"));
            for (half, every) in [(1, 1), (1, 4), (2, 1), (2, 3), (3, 1), (3, 5)] {
                let few = device.clone().with_data_memory((2 * half + 1) * batch_bytes(&data, batch) - 1);
                let (mut net, data, trainer, _) = start(&few);
                if 2 * half * (batch as u64) + batch as u64 > data.len() as u64 {
                    continue;
                }
                let streamed = trainer.verify_every(every).fit(&mut net, &data, None);
                let streamed =
                    streamed.unwrap_or_else(|error| panic!("{device}, {kind}, case {case}, {half}: {error}"));
                assert!(streamed.streamed, "{device}, {kind} plan, case {case}");
                assert_eq!(
                    bits(&net),
                    bits(&plain),
                    "{device}, {kind} plan, case {case}, {half} a half, every {every}"
                );
                runs += 1;
                steps += streamed.epochs.iter().map(|epoch| epoch.steps as u64).sum::<u64>() / every;
            }
        }
        println!("{device}: {runs} streamed runs, {steps} steps verified");
        assert!(runs > 3 * 8 * 4);
    }
}

/// In slices of time too.
#[test]
fn slices_of_time_are_verified() {
    for (device, kind) in common::devices_and_plans() {
        let (mut plain, data, mut trainer) = run(2, &device, kind);
        trainer.fit(&mut plain, &data, None).expect("training");
        let (mut net, data, trainer) = run(2, &device, kind);
        let mut training = trainer.verify_every(4).start(&mut net, &data).expect("a run");
        let mut epochs = 0;
        while epochs < 3 {
            epochs += usize::from(training.step_for(Duration::from_millis(1)).expect("steps").epoch.is_some());
        }
        drop(training);
        let bits = |net: &Network| common::nets::bits(&net.parameters().expect("parameters"));
        assert_eq!(bits(&plain), bits(&net), "{device}, {kind} plan");
    }
}

#[test]
fn every_0th_step_is_refused() {
    let (mut net, data, trainer) = run(0, &Device::cpu(), PlanKind::Fused);
    let refused = trainer.verify_every(0).fit(&mut net, &data, None);
    assert!(matches!(refused, Err(Error::InvalidOption { .. })), "{refused:?}");
}

/// The fault of a device that is right but for the sixth mini-batch of an epoch, for each plan and tiling: file, text, fault.
#[cfg(feature = "gpu")]
const FAULTS: [(PlanKind, &str, &str, &str); 4] = [
    (PlanKind::Textbook, "data.wgsl", "let live = r < control[1];", "let live = r < control[1] && control[0] != 5u;"),
    (PlanKind::Fused, "dense.wgsl", "if (b >= control[1]) {", "if (b >= control[1] || control[0] == 5u) {"),
    (PlanKind::Fused, "dense_registers.wgsl", "if (b >= control[1]) {", "if (b >= control[1] || control[0] == 5u) {"),
    (
        PlanKind::Persistent,
        "persistent.wgsl",
        "if (o == p.outputs) {",
        "if (step == 5u) { return 0.25; }\n    if (o == p.outputs) {",
    ),
];

/// A device with a fault in one step of the epoch is stopped where that step is verified, and not before.
#[cfg(feature = "gpu")]
#[test]
fn a_device_with_a_fault_is_stopped() {
    use wgrad::Activation;
    use wgrad::kernel::{SHADERS, Tiling};
    for device in common::adapters() {
        for (kind, file, from, to) in FAULTS {
            if kind != PlanKind::Textbook && device.limits().max_storage_buffers < 8 {
                common::left_out(&format!("{device}: a fault in {file}"), "max_storage_buffers_per_shader_stage of 8");
                continue;
            }
            let (_, text) = SHADERS.iter().find(|(name, _)| *name == file).expect("the file");
            assert!(text.contains(from), "{file} has no '{from}'");
            let tiling = if file == "dense.wgsl" { Tiling::GPU } else { Tiling::Registers };
            let device = device.clone().with_tiling(tiling);
            let doctored =
                wgrad::verify::with_shader(&device, file, &text.replace(from, to)).expect("a file of shaders/");
            // Three of six steps an epoch are verified; the fault is in the sixth, which is one of them, or in none.
            // So it is where the data are streamed, by one mini-batch or two at a time, so that its rows begin a buffer or end one.
            let runs = [(2, true), (6, true), (4, false)];
            for ((every, stops), half) in
                runs.into_iter().flat_map(|run| [None, Some(1), Some(2)].map(|half| (run, half)))
            {
                let of_data = |device: &Device| match half {
                    Some(half) => device.clone().with_data_memory(2 * half * 4 * (ROWS * 7) as u64),
                    None => device.clone(),
                };
                let build = |device: &Device| {
                    let device = &of_data(device);
                    let net = Network::new(4).plan(kind).dense(6, Activation::Tanh).dense(3, Activation::Sigmoid);
                    net.build(device).expect("a network")
                };
                let mut numbers = Numbers(9);
                let y = (0..3 * EXAMPLES).map(|_| numbers.unit()).collect();
                let data = Dataset::new(numbers.many(4 * EXAMPLES), 4, y, 3).expect("a data set");
                let trainer =
                    || Trainer::new(Cost::Quadratic, Sgd::new(0.5)).batch_size(ROWS).epochs(1).verify_every(every);
                let right =
                    trainer().fit(&mut build(&device), &data, None).expect("without the fault nothing stops it");
                assert_eq!(right.streamed, half.is_some());
                match trainer().fit(&mut build(&doctored), &data, None) {
                    Err(Error::WrongStep { epoch: 1, step: 6, what, got, want, bound, .. }) if stops => {
                        let within = (got - want).abs() <= bound;
                        assert!(!within && bound > 0.0);
                        println!(
                            "{device}, {kind} plan, {file}, every {every}, streamed {half:?}: stopped at step 6, {what}"
                        );
                    }
                    Ok(_) if !stops => {}
                    other => panic!("{device}, {kind} plan, {file}, every {every}, streamed {half:?}: {other:?}"),
                }
            }
        }
    }
}
