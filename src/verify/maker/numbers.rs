//! What numbers are like, and those that a kernel reads besides its operands.

use rand::RngExt;

use super::Maker;
use crate::kernel::Kernel;
use crate::optimizer::{CLIP_NORM, CLIP_VALUE, HYPER, MAX_NORM, Rule};
use crate::verify::case::{Fill, GARBAGE};

impl Maker {
    pub(super) fn number(&mut self) -> f32 {
        let x: f32 = self.random.random_range(-1.0..1.0);
        if self.fill == Fill::Ordinary {
            return x;
        }
        match self.random.random_range(0..12_u32) {
            0 => 0.0,
            1 => 100.0,
            2 => -100.0,
            // Below the smallest normal number, but where a kernel compares: a device that flushes them sees equals there.
            3 if self.compares() => x.signum() * f32::MIN_POSITIVE * (1.0 + x.abs()),
            3 => 1e-38 * x,
            4 => 10.0 * x,
            // What is squared or cubed on the way would overflow.
            5 if matches!(self.kernel, Kernel::Activation | Kernel::ActivationPrime) => 1e30 * x,
            _ => x,
        }
    }

    /// Whether the kernel's result jumps where two numbers, or a number and 0, are equal.
    const fn compares(&self) -> bool {
        matches!(
            self.kernel,
            Kernel::CountRight
                | Kernel::Answers
                | Kernel::ActivationPrime
                | Kernel::CostDerivative
                | Kernel::OutputError
                | Kernel::OutputLayer
                | Kernel::DenseBackward
                | Kernel::Update
                | Kernel::DenseUpdate
        )
    }

    pub(super) fn numbers(&mut self, len: u32) -> Vec<u32> {
        (0..len).map(|_| self.number().to_bits()).collect()
    }

    /// Numbers from 0.1 to 1, none of which is special.
    pub(super) fn positive(&mut self, len: usize) -> Vec<u32> {
        (0..len).map(|_| self.random.random_range(0.1..1.0_f32).to_bits()).collect()
    }

    /// These words, and weights of rows up to a length.
    pub(super) fn with_weights(&mut self, mut words: Vec<u32>, len: usize) -> Vec<u32> {
        let weights = self.positive(len - words.len());
        words.extend(weights);
        words
    }

    /// What an output holds before: garbage where the kernel overwrites, numbers where it adds.
    pub(super) fn output(&mut self, len: u32) -> Vec<u32> {
        if self.p.k_begin > 0 { self.numbers(len) } else { vec![GARBAGE; len as usize] }
    }

    /// What the rule remembers of every parameter; one number where it remembers nothing.
    pub(super) fn state(&mut self) -> Vec<u32> {
        let arenas = Rule::from_code(self.p.rule).remembers();
        self.positive((arenas * self.p.count as usize).max(1))
    }

    /// Numbers of three steps. In the odd variants, and in the later half of them, there are no bounds, or none that is reached.
    pub(super) fn hyper(&mut self) -> Vec<u32> {
        let mut hyper = self.positive(3 * HYPER);
        let loose = self.variant % 2 == 1;
        for step in hyper.chunks_exact_mut(HYPER) {
            if self.variant as usize >= Rule::ALL.len() {
                step[CLIP_VALUE] = 0;
            }
            if loose && matches!(self.kernel, Kernel::ClipGradients | Kernel::MaxNorm) {
                [step[CLIP_NORM], step[MAX_NORM]] = [1e9_f32.to_bits(); 2];
            }
        }
        hyper
    }

    /// The control, and after it the numbers of three steps.
    pub(super) fn walk(&mut self, mut control: Vec<u32>) -> Vec<u32> {
        control.push(GARBAGE);
        self.p.k_begin = u32::try_from(control.len()).unwrap_or(u32::MAX);
        control.extend(self.hyper());
        control
    }

    /// What rows score: their costs, then whether they are right.
    pub(super) fn scored_rows(&mut self) -> Vec<u32> {
        let mut words = self.numbers(self.p.rows);
        words.extend((0..self.p.rows).map(|_| if self.random.random() { 1.0 } else { 0.0_f32 }.to_bits()));
        words
    }
}
