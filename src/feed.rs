//! A data set on its way to a device: the words that kernels gather mini-batches from, of all its rows or of some.

use std::borrow::Cow;

use crate::Cost;
use crate::data::{Dataset, Inputs, Targets};
use crate::plan::{Emphasis, Format, Limits, Source};

/// A data set as a plan takes it. Cheap to clone: it shares the data.
#[derive(Debug, Clone)]
pub(crate) struct Feed {
    data: Dataset,
    pub(crate) source: Source,
    pub(crate) emphasis: Emphasis,
    /// The cost that smooths targets which are numbers already; labels are smoothed where they become numbers.
    smooths: Option<Cost>,
}

/// The words of some rows.
pub(crate) struct Words<'a> {
    pub(crate) inputs: Cow<'a, [u32]>,
    pub(crate) targets: Cow<'a, [u32]>,
    /// One a row, where rows have weights.
    pub(crate) weights: Cow<'a, [u32]>,
}

impl Feed {
    /// For training by this cost: with the weights of the rows, and labels smoothed by `smoothing`.
    pub(crate) fn to_train(data: &Dataset, cost: Cost, smoothing: f32) -> Self {
        let feed = Self::of(data);
        let smooths = (matches!(data.targets(), Targets::Values { .. }) && smoothing > 0.0).then_some(cost);
        Self { emphasis: Emphasis { weighted: data.weights().is_some(), smoothing }, smooths, ..feed }
    }

    /// As the data are, for an evaluation: each row counts as much as any other.
    pub(crate) fn of(data: &Dataset) -> Self {
        let inputs = match data.inputs() {
            Inputs::F32(_) => Format::F32,
            Inputs::U8(_) => Format::U8,
        };
        let targets = match data.targets() {
            Targets::Labels { .. } => Format::Label,
            Targets::Values { .. } => Format::F32,
        };
        let source = Source::Dataset { len: data.len(), inputs, targets };
        Self { data: data.clone(), source, emphasis: Emphasis::default(), smooths: None }
    }

    /// Examples.
    pub(crate) const fn len(&self) -> usize {
        self.data.len()
    }

    /// Words of the inputs, and of the targets with their weights, of so many rows.
    pub(crate) fn words(&self, rows: usize) -> [usize; 2] {
        let Source::Dataset { inputs, targets, .. } = self.source else { return [0; 2] };
        [inputs.words(rows, self.data.features()), self.emphasis.words(targets, rows, self.data.outputs())]
    }

    /// Bytes of both.
    pub(crate) fn bytes(&self, rows: usize) -> u64 {
        self.words(rows).map(|words| 4 * words as u64).iter().sum()
    }

    /// Words that the targets of a row take, without its weight.
    pub(crate) fn target_words(&self) -> usize {
        if matches!(self.data.targets(), Targets::Labels { .. }) { 1 } else { self.data.outputs() }
    }

    /// Whether all rows may lie on the device.
    pub(crate) fn fits(&self, limits: &Limits) -> bool {
        let bytes = self.words(self.len()).map(|words| 4 * words as u64);
        bytes.iter().all(|&bytes| bytes <= limits.binding()) && self.bytes(self.len()) <= limits.max_data_bytes
    }

    /// All rows.
    pub(crate) fn all(&self) -> Words<'_> {
        let inputs = match self.data.inputs() {
            Inputs::F32(values) => Cow::Borrowed(bytemuck::cast_slice(values)),
            Inputs::U8(bytes) => Cow::Owned(packed(bytes)),
        };
        let targets = match self.data.targets() {
            Targets::Labels { labels, .. } => Cow::Borrowed(&labels[..]),
            Targets::Values { values, .. } => self.numbers(Cow::Borrowed(bytemuck::cast_slice(values))),
        };
        Words { inputs, targets, weights: Cow::Borrowed(bytemuck::cast_slice(self.weights())) }
    }

    /// These rows, in this order.
    pub(crate) fn rows(&self, rows: &[u32]) -> Words<'_> {
        let inputs = match self.data.inputs() {
            Inputs::F32(values) => bytemuck::cast_vec(picked(values, self.data.features(), rows)),
            Inputs::U8(bytes) => packed(&picked(bytes, self.data.features(), rows)),
        };
        let targets = match self.data.targets() {
            Targets::Labels { labels, .. } => Cow::Owned(picked(labels, 1, rows)),
            Targets::Values { values, .. } => {
                self.numbers(Cow::Owned(bytemuck::cast_vec(picked(values, self.data.outputs(), rows))))
            }
        };
        let weights = if self.emphasis.weighted { picked(self.weights(), 1, rows) } else { Vec::new() };
        Words { inputs: Cow::Owned(inputs), targets, weights: Cow::Owned(bytemuck::cast_vec(weights)) }
    }

    fn weights(&self) -> &[f32] {
        self.data.weights().filter(|_| self.emphasis.weighted).unwrap_or_default()
    }

    /// The bits of targets that are numbers, smoothed where that is asked for.
    fn numbers<'a>(&self, mut words: Cow<'a, [u32]>) -> Cow<'a, [u32]> {
        if let Some(cost) = self.smooths {
            let (eps, outputs) = (self.emphasis.smoothing, self.data.outputs());
            for word in words.to_mut() {
                *word = cost.smoothed(f32::from_bits(*word), eps, outputs).to_bits();
            }
        }
        words
    }
}

/// Rows of an array, one after another.
fn picked<T: Copy>(values: &[T], columns: usize, rows: &[u32]) -> Vec<T> {
    let mut out = Vec::with_capacity(rows.len() * columns);
    for &row in rows {
        out.extend_from_slice(&values[row as usize * columns..][..columns]);
    }
    out
}

/// Four bytes a word, the first lowest, on every machine.
fn packed(bytes: &[u8]) -> Vec<u32> {
    let word = |chunk: &[u8]| chunk.iter().rev().fold(0, |word, &byte| word << 8 | u32::from(byte));
    bytes.chunks(4).map(word).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is picked row by row is what lies there as a whole.
    #[test]
    fn all_rows_are_the_rows_one_after_another() {
        let (labels, values) = (vec![2, 0, 1, 1, 2], (0..10_u8).map(|v| f32::from(v) / 16.0).collect::<Vec<_>>());
        let bytes: Vec<u8> = (0..35).map(|b| b * 7).collect();
        let weights = vec![0.5, 1.0, 2.0, 0.0, 1.5];
        let a = Dataset::from_bytes(bytes.clone(), 7, labels, 3).and_then(|data| data.with_weights(weights));
        let b = Dataset::new(bytes.into_iter().map(f32::from).collect(), 7, values, 2);
        for data in [a, b] {
            let data = data.expect("a data set");
            let cost = Cost::BinaryCrossEntropy;
            for feed in [Feed::of(&data), Feed::to_train(&data, cost, 0.0), Feed::to_train(&data, cost, 0.1)] {
                let (all, rows) = (feed.all(), feed.rows(&[0, 1, 2, 3, 4]));
                assert_eq!((&all.inputs, &all.targets, &all.weights), (&rows.inputs, &rows.targets, &rows.weights));
                assert_eq!(feed.words(5), [all.inputs.len(), all.targets.len() + all.weights.len()]);
                let (two, other) = (feed.rows(&[3, 1]), feed.rows(&[1, 3]));
                assert_ne!(two.inputs, other.inputs);
                assert_eq!(two.targets.len(), 2 * feed.target_words());
            }
        }
    }
}
