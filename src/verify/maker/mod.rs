//! The buffers of a case: what a kernel is given.

mod judged;
mod layers;
mod numbers;
mod persistent;
mod variant;

use rand::RngExt;
use rand_pcg::Pcg64Mcg;

use super::case::{Case, Fill, GARBAGE, Shape};
use crate::cpu::random_bits;
use crate::kernel::{Kernel, MOST_SMALL_OUTPUTS, Params, Tiling};
use crate::plan::{BufferId, Step};
pub(super) use variant::{PARTS, elementwise, pairs};

/// Fills the buffers of a case.
pub(super) struct Maker {
    kernel: Kernel,
    p: Params,
    fill: Fill,
    variant: u32,
    random: Pcg64Mcg,
}

impl Maker {
    pub(super) fn new(kernel: Kernel, [rows, inputs, outputs]: Shape, fill: Fill, variant: u32, seed: u64) -> Self {
        let outputs = if kernel == Kernel::OutputLayer { outputs.min(MOST_SMALL_OUTPUTS) } else { outputs };
        // The layer starts at an odd place of an arena with something before, between and after weights and biases.
        let w = 3;
        let b = w + outputs * inputs + 2;
        let mut p = Params { rows, inputs, outputs, w, b, ..Params::default() };
        p.k_end = kernel.sum_length(&p).unwrap_or(0);
        p.count = match kernel {
            // The arena ends with the layer's biases.
            Kernel::Update | Kernel::GradientSquares | Kernel::ClipGradients => b + outputs,
            _ => rows * outputs,
        };
        let mixed = u128::from(seed) << 64 | u128::from(rows) << 40 | u128::from(inputs) << 20 | u128::from(outputs);
        let random = Pcg64Mcg::new(mixed << 1 | 1 | u128::from(variant) << 100);
        let mut maker = Self { kernel, p, fill, variant, random };
        maker.vary();
        maker
    }

    /// What the kernel's shader is specialised with.
    pub(super) fn constants(&self, tiling: Tiling, lanes: u32) -> Vec<(&'static str, u32)> {
        self.kernel.constants(&self.p, tiling, lanes)
    }

    pub(super) fn make(mut self) -> Case {
        match self.kernel {
            Kernel::Persistent => return self.persistent(),
            Kernel::DenseGradient | Kernel::DenseUpdate => return self.all_layers(),
            _ => {}
        }
        let p = self.p;
        let arena = p.b + p.outputs + 1;
        let (below, here) = (p.rows * p.inputs, p.rows * p.outputs);
        let control = self.control();
        let contents: Vec<Vec<u32>> = match self.kernel {
            Kernel::Gather => {
                // More than there are in the order, or fewer.
                let examples = if p.format < 16 { 3 * p.rows + 5 } else { control[2] / 2 + 1 };
                self.p.count = examples;
                let order = (0..control[2]).map(|_| self.random.random_range(0..examples)).collect();
                let weights = if p.format & 3 == 1 { 0 } else { p.format / 16 };
                self.p.format = (p.format & 3) + 16 * weights; // bytes are inputs, which have none
                let words: Vec<u32> = match p.format & 3 {
                    0 => self.numbers(examples * p.outputs),
                    1 => (0..(examples * p.outputs).div_ceil(4)).map(|_| self.random.random()).collect(),
                    _ => (0..examples).map(|_| self.random.random_range(0..p.outputs)).collect(),
                };
                let len = words.len() + (weights * examples) as usize;
                let words = self.with_weights(words, len);
                vec![control, order, words, vec![GARBAGE; (here + weights * p.rows) as usize]]
            }
            Kernel::MatmulNt => vec![self.numbers(below), self.numbers(arena), self.output(here)],
            Kernel::MatmulNn => vec![self.numbers(here), self.numbers(arena), self.output(below)],
            Kernel::OuterProducts => vec![self.numbers(here), self.numbers(below), self.output(arena)],
            Kernel::BiasGradient => vec![self.numbers(here), self.output(arena)],
            Kernel::Activation | Kernel::ActivationPrime | Kernel::Softmax => {
                vec![self.numbers(here), vec![GARBAGE; here as usize]]
            }
            Kernel::Dropout => {
                if self.variant == 3 {
                    // Bits that are equal to the bound are not below it.
                    self.p.k_end = random_bits(&p, &control)(p.count / 2);
                }
                vec![control, self.numbers(here), vec![GARBAGE; here as usize]]
            }
            Kernel::Hadamard => vec![self.numbers(here), self.numbers(here), vec![GARBAGE; here as usize]],
            Kernel::CostDerivative => {
                vec![control, self.targets(), self.numbers(here), vec![GARBAGE; here as usize]]
            }
            Kernel::CostValue => {
                let z = self.numbers(here);
                let a = self.activations(&z);
                vec![z, self.targets(), a, vec![GARBAGE; 2 * p.rows as usize]]
            }
            Kernel::CountRight => {
                let y = self.targets();
                let a = self.answers(&y);
                vec![control, y, a, vec![GARBAGE; 2 * p.rows as usize]]
            }
            Kernel::Answers => {
                let y = self.targets();
                let a = self.answers(&y);
                vec![control, y, a, vec![GARBAGE; 3 * p.rows as usize]]
            }
            Kernel::CountAnswers => {
                let classes = p.outputs.max(2);
                // Live rows have a true class; past them there is none.
                let answer = (0..3 * p.rows).map(|i| match (i / 3 < control[1], i % 3) {
                    (true, 0) => self.random.random_range(0..classes),
                    (true, _) => self.random.random_range(0..=classes),
                    (false, _) => classes,
                });
                let answer = answer.collect();
                let counts = match self.first_step() {
                    true => vec![GARBAGE; p.count as usize],
                    false => (0..p.count).map(|_| self.random.random_range(0..1000)).collect(),
                };
                vec![control, answer, counts]
            }
            Kernel::Residuals => {
                let (y, a) = (self.targets(), self.numbers(here));
                vec![control, y, a, vec![GARBAGE; 8 * p.outputs as usize]]
            }
            Kernel::Tally => {
                vec![control, self.scored_rows(), vec![GARBAGE; 9]]
            }
            Kernel::Update => {
                let (walk, state) = (self.walk(control), self.state());
                vec![walk, self.numbers(p.count + 1), state, self.numbers(p.count + 1)]
            }
            Kernel::GradientSquares => vec![self.numbers(p.count + 1), vec![GARBAGE; 65]],
            Kernel::ClipGradients => {
                let squares = self.positive(64);
                vec![self.walk(control), squares, self.numbers(p.count + 1)]
            }
            Kernel::MaxNorm => vec![self.walk(control), self.numbers(arena)],
            Kernel::DenseForward => {
                vec![self.numbers(below), self.numbers(arena), self.output(here), vec![GARBAGE; here as usize]]
            }
            Kernel::GatherForward => {
                let examples = 3 * p.rows + 5;
                let order = (0..control[2]).map(|_| self.random.random_range(0..examples)).collect();
                let inputs = match p.format {
                    0 => self.numbers(examples * p.inputs),
                    _ => (0..(examples * p.inputs).div_ceil(4)).map(|_| self.random.random()).collect(),
                };
                let (params, z, a) = (self.numbers(arena), self.output(here), vec![GARBAGE; here as usize]);
                vec![inputs, params, z, a, vec![GARBAGE; below as usize], control, order]
            }
            Kernel::OutputError => return self.output_error(),
            Kernel::OutputLayer => return self.output_layer(),
            Kernel::DenseBackward => {
                let z = self.numbers(below);
                let a = self.activations(&z);
                vec![self.numbers(here), self.numbers(arena), z, a, self.output(below)]
            }
            Kernel::DenseGradient | Kernel::DenseUpdate | Kernel::Persistent => Vec::new(),
        };
        self.case(contents)
    }

    /// The case with these contents of its buffers.
    fn case(&self, contents: Vec<Vec<u32>>) -> Case {
        let p = self.p;
        let bindings = self.kernel.info().bindings;
        let buffers = bindings.iter().zip(contents).map(|(binding, words)| (binding.element, binding.access, words));
        let [rows, inputs, outputs] = [p.rows, p.inputs, p.outputs];
        let label = format!("{} {rows}x{inputs}x{outputs} variant {}", self.kernel.name(), self.variant);
        let ids = (0..bindings.len()).map(BufferId).collect();
        Case { step: Step { kernel: self.kernel, params: p, bindings: ids, label }, buffers: buffers.collect() }
    }
}
