//! Outputs that are judged: the targets, and numbers whose order no rounding decides.

use rand::RngExt;

use super::Maker;
use crate::cpu::argmax;
use crate::verify::case::{Case, Fill, GARBAGE};
use crate::{Activation, Cost};

/// What a label stands for: the target of the other classes, and of its own.
const LABEL: [f32; 2] = [0.025, 0.925];

/// Where the largest of these numbers is.
fn largest(row: &[u32]) -> usize {
    argmax(&row.iter().map(|&x| f32::from_bits(x)).collect::<Vec<_>>())
}

/// Leaves one of the largest numbers: the softmax of several is the same but for rounding, which would decide the answer.
fn part(row: &mut [u32]) {
    let top = largest(row);
    let most = row[top];
    for z in row[top + 1..].iter_mut().filter(|z| **z == most) {
        *z = (-f32::from_bits(*z)).to_bits();
    }
}

/// In every second pair of rows the largest number changes places with that at the truth, where there is one, and none before it is as
/// large: by chance a wide row would hardly ever be right.
fn agree(a: &mut [u32], outputs: usize, truth: impl Fn(usize) -> Option<usize>) {
    for (row, a) in a.chunks_exact_mut(outputs).enumerate().filter(|(row, _)| row % 4 < 2) {
        if let Some(truth) = truth(row) {
            a.swap(truth, largest(a));
            let most = a[truth];
            for other in a[..truth].iter_mut().filter(|other| **other == most) {
                *other = (-f32::from_bits(*other)).to_bits();
            }
        }
    }
}

impl Maker {
    /// Outputs that are judged beside these targets: single ones at the middle of their range and beside it; of several, every second row
    /// is right; among extreme numbers every fifth row is spoilt, by a NaN at any place of it.
    pub(super) fn answers(&mut self, y: &[u32]) -> Vec<u32> {
        let outputs = self.p.outputs as usize;
        let mut a = self.numbers(self.p.rows * self.p.outputs);
        if outputs == 1 {
            let middle = if self.p.activation == Activation::Tanh.code() { 0.0 } else { 0.5 };
            for (row, a) in a.iter_mut().enumerate().filter(|(row, _)| row % 4 > 0) {
                *a = [middle, middle + 0.004, middle - 0.004_f32][row % 3].to_bits();
            }
        }
        agree(&mut a, outputs, |row| Some(largest(&y[row * outputs..][..outputs])));
        for row in a.chunks_mut(outputs).step_by(5).filter(|_| self.fill == Fill::Extreme) {
            row[self.random.random_range(0..outputs)] = f32::NAN.to_bits();
        }
        a
    }

    /// One-hot rows for the odd rows, soft ones between 0 and 1 for the even ones; single targets at the middle of that in some.
    pub(super) fn targets(&mut self) -> Vec<u32> {
        let (rows, outputs) = (self.p.rows, self.p.outputs);
        let mut y = Vec::with_capacity((rows * outputs) as usize);
        for row in 0..rows {
            let label = self.random.random_range(0..outputs);
            for j in 0..outputs {
                let soft: f32 = self.random.random_range(0.0..1.0);
                let soft = if outputs == 1 && row % 4 == 2 { 0.5 } else { soft };
                let hot = if j == label { 1.0 } else { 0.0_f32 };
                y.push(if row % 2 == 1 { hot } else { soft }.to_bits());
            }
        }
        // Their weights, some of them 0.
        y.extend(
            (0..rows * (self.p.format / 16))
                .map(|row| if row % 5 == 3 { 0.0 } else { 0.3 + row as f32 % 7.0 }.to_bits()),
        );
        y
    }

    /// `a` for the weighted inputs `z`, with the activation and cost of this case.
    pub(super) fn activations(&self, z: &[u32]) -> Vec<u32> {
        let outputs = self.p.outputs as usize;
        let f = Activation::from_code(self.p.activation);
        if Cost::from_code(self.p.cost) == Cost::CategoricalCrossEntropy {
            let numbers: Vec<f64> = z.iter().map(|&z| f32::from_bits(z).into()).collect();
            return numbers
                .chunks(outputs)
                .flat_map(|row| {
                    let m = row.iter().fold(f64::MIN, |m, &z| m.max(z));
                    let sum: f64 = row.iter().map(|z| (z - m).exp()).sum();
                    row.iter().map(move |z| crate::real::Real::to_f32((z - m).exp() / sum).to_bits())
                })
                .collect();
        }
        // Below the smallest normal number a device may see 0, and where numbers are compared that is another answer.
        let normal = |a: f32| if a.is_subnormal() { 0.0 } else { a };
        z.iter().map(|&z| normal(f.f(f32::from_bits(z))).to_bits()).collect()
    }

    /// The output error of targets that are there, or that it gathers. Of several outputs every second row is right; single ones are at
    /// the middle of their range in some, where the activation passes it on.
    pub(super) fn output_error(mut self) -> Case {
        let (rows, outputs) = (self.p.rows, self.p.outputs as usize);
        let (control, here) = (self.control(), self.p.rows * self.p.outputs);
        let weights = self.p.format / 16;
        let gathers = (self.variant / 2).is_multiple_of(2);
        let (order, targets, y) = if gathers {
            let (order, targets) = self.resident_targets(control[2]);
            if self.p.format & 8 != 0 {
                [self.p.b, self.p.k_begin] = LABEL.map(f32::to_bits);
            }
            (order, targets, vec![GARBAGE; (here + weights * rows) as usize])
        } else {
            self.p.format += 32;
            let y = self.targets();
            (vec![GARBAGE], vec![GARBAGE], y)
        };
        let labels = self.p.format & 8 != 0;
        let truth = |row: usize| {
            let example = |row: usize| order.get(control[0] as usize * rows as usize + row).map(|&e| e as usize);
            match (gathers, labels) {
                (false, _) => Some(largest(&y[row * outputs..][..outputs])),
                (true, true) => Some(targets[example(row)?] as usize),
                (true, false) => Some(largest(&targets[example(row)? * outputs..][..outputs])),
            }
        };
        let mut z = self.numbers(here);
        if outputs == 1 {
            z.iter_mut().skip(1).step_by(4).for_each(|z| *z = 0.5_f32.to_bits());
        }
        let softmax = Cost::from_code(self.p.cost) == Cost::CategoricalCrossEntropy;
        if softmax {
            z.chunks_exact_mut(outputs).for_each(part);
        }
        agree(&mut z, outputs, truth);
        let a = if softmax { vec![GARBAGE; here as usize] } else { self.activations(&z) };
        let delta = vec![GARBAGE; here as usize];
        self.case(vec![control, order, targets, y, a, z, delta, vec![GARBAGE; 2 * rows as usize]])
    }

    /// An order of this length, and the targets of the examples in it, of which there are fewer: labels or numbers, with weights after
    /// them where rows have some.
    fn resident_targets(&mut self, len: u32) -> (Vec<u32>, Vec<u32>) {
        let examples = len / 2 + 1;
        self.p.count = examples;
        let order = (0..len).map(|i| (i * 7 + 3) % examples).collect();
        let softmax = Cost::from_code(self.p.cost) == Cost::CategoricalCrossEntropy;
        let labels = softmax && self.variant.is_multiple_of(2);
        let targets: Vec<u32> = match labels {
            true => (0..examples).map(|_| self.random.random_range(0..self.p.outputs)).collect(),
            false => (0..examples * self.p.outputs).map(|_| self.random.random_range(0.0..1.0_f32).to_bits()).collect(),
        };
        let len = targets.len() + (self.p.format / 16 * examples) as usize;
        self.p.format += if labels { 8 } else { 0 };
        (order, self.with_weights(targets, len))
    }

    /// A small last layer and its error. Numbers are ordinary ones whatever the fill, and weights small for wide layers: between
    /// saturated outputs rounding would decide which answer is right. A single output is 0.5 in some rows, but for its activation; of
    /// several every second row is right.
    pub(super) fn output_layer(mut self) -> Case {
        self.fill = Fill::Ordinary;
        let p = self.p;
        let control = self.control();
        let mut below = self.numbers(p.rows * p.inputs);
        #[allow(clippy::cast_precision_loss, reason = "a rough size")]
        let widest = (p.inputs as f32).sqrt();
        let mut params: Vec<u32> = (0..p.b + p.outputs + 1).map(|_| (self.number() / widest).to_bits()).collect();
        if p.outputs == 1 {
            params[p.b as usize] = 0.5_f32.to_bits();
            below.chunks_mut(p.inputs as usize).step_by(4).for_each(|row| row.fill(0));
        }
        let (order, mut targets) = self.resident_targets(control[2]);
        let number = |words: &[u32], at: u32| f64::from(f32::from_bits(words[at as usize]));
        for row in (0..control[1].min(p.rows)).filter(|row| row % 4 < 2) {
            // By chance a wide row would hardly ever be right.
            let z = (0..p.outputs).map(|o| {
                let term = |i| number(&below, row * p.inputs + i) * number(&params, p.w + o * p.inputs + i);
                number(&params, p.b + o) + (0..p.inputs).map(term).sum::<f64>()
            });
            let top = argmax(&z.collect::<Vec<_>>());
            let (example, outputs) = (order[(control[0] * p.rows + row) as usize] as usize, p.outputs as usize);
            if self.p.format & 8 != 0 {
                targets[example] = u32::try_from(top).unwrap_or(u32::MAX);
            } else {
                let y = &mut targets[example * outputs..][..outputs];
                y.swap(top, largest(y));
            }
        }
        [self.p.k_begin, self.p.k_end] = LABEL.map(f32::to_bits);
        let [delta, rows] = [p.rows * p.outputs, 2 * p.rows].map(|len| vec![GARBAGE; len as usize]);
        self.case(vec![control, order, targets, below, params, delta, rows])
    }
}
