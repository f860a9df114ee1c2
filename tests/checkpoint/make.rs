//! Small runs, and files that are not quite what this crate writes.

use std::path::Path;

use safetensors::SafeTensors;
use wgrad::plan::PlanKind;
use wgrad::{
    Activation, Adam, AdamW, Cost, Dataset, Device, EarlyStopping, History, Metric, Momentum, Nesterov, Network,
    Optimizer, Plateau, RmsProp, Schedule, Sgd, Span, Trainer,
};

use crate::common::nets::Numbers;

/// Rows, and so few in a mini-batch that the last one of an epoch is short.
pub const ROWS: usize = 23;
pub const BATCH: usize = 4;
pub const STEPS: usize = 6;
pub const EPOCHS: usize = 5;

pub fn data(rows: usize, seed: u64) -> Dataset {
    let mut numbers = Numbers(seed);
    let x = numbers.many(rows * 5);
    let labels = (0..rows).map(|_| numbers.below(3)).collect();
    Dataset::with_labels(x, 5, labels, 3).expect("data")
}

pub fn net(device: &Device, plan: PlanKind, dropout: f32) -> Network {
    let mut net = Network::new(5).dense(7, Activation::Tanh);
    if dropout > 0.0 {
        net = net.dropout(dropout);
    }
    net.dense(3, Activation::Sigmoid).plan(plan).seed(3).build(device).expect("a small net")
}

pub fn optimizers() -> [Optimizer; 6] {
    [
        Sgd::new(0.5).into(),
        Momentum::new(0.1).l1(1e-3).into(),
        Nesterov::new(0.1).weight_decay(1e-2).into(),
        RmsProp::new(0.01).clip_value(0.1).into(),
        Adam::new(0.01).into(),
        AdamW::new(0.01).max_norm(2.0).clip_norm(0.5).into(),
    ]
}

/// A trainer with everything on whose state a run could hang.
pub fn trainer(optimizer: Optimizer) -> Trainer<'static> {
    let schedule = Schedule::cosine(Span::Run(1.0)).warm_up(Span::Steps(4));
    Trainer::new(Cost::BinaryCrossEntropy, optimizer)
        .batch_size(BATCH)
        .epochs(EPOCHS)
        .seed(11)
        .schedule(schedule)
        .label_smoothing(0.1)
        .plateau(Plateau::new(1).metric(Metric::TestCost).min_change(0.05).by(0.5, 0.01))
        .early_stopping(EarlyStopping::new(4).metric(Metric::TestAccuracy))
        .keep_best(Metric::TestAccuracy)
}

pub fn bits(net: &Network) -> Vec<u32> {
    net.parameters().expect("parameters").into_iter().map(f32::to_bits).collect()
}

/// The history without what the clock says.
pub fn timeless(mut history: History) -> History {
    for report in &mut history.epochs {
        (report.seconds, report.steps_per_second) = (0.0, 0.0);
    }
    history
}

/// Every tensor of numbers in a file, by name, as bytes.
pub fn arrays(path: &Path) -> Vec<(String, Vec<u8>)> {
    let bytes = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let tensors = SafeTensors::deserialize(&bytes).expect("a safetensors file");
    let mut arrays: Vec<_> = tensors
        .iter()
        .filter(|(name, _)| *name != "training")
        .map(|(name, view)| (name.to_owned(), view.data().to_vec()))
        .collect();
    arrays.sort();
    arrays
}

/// The header of a file.
pub fn header(bytes: &[u8]) -> String {
    let (length, rest) = bytes.split_first_chunk().expect("a length");
    let length = usize::try_from(u64::from_le_bytes(*length)).expect("a length");
    String::from_utf8(rest[..length].to_vec()).expect("text")
}

/// A file with another header and other data, and the digest that belongs to them.
pub fn forged(bytes: &[u8], change: impl FnOnce(&mut String, &mut Vec<u8>)) -> Vec<u8> {
    const MARK: &str = r#""wgrad":"{\"crc32\":\""#;
    let mut header = header(bytes);
    let mut data = bytes[8 + header.len()..].to_vec();
    change(&mut header, &mut data);
    let place = header.find(MARK).map(|at| at + MARK.len()..at + MARK.len() + 8);
    if let Some(place) = &place {
        header.replace_range(place.clone(), "00000000");
    }
    let mut bytes = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &data].concat();
    if let Some(place) = place {
        let digest = format!("{:08x}", crc32fast::hash(&bytes));
        bytes[8 + place.start..8 + place.end].copy_from_slice(digest.as_bytes());
    }
    bytes
}
