//! What the number of a variant stands for: activation, cost, rule, format, part of a sum, live rows.

use super::Maker;
use crate::kernel::Kernel;
use crate::optimizer::Rule;
use crate::verify::case::GARBAGE;
use crate::{Activation, Cost};

/// The parts of a sum that are tried.
pub(in crate::verify) const PARTS: u32 = 4;

/// The tiles that the kernels of all layers are told.
const TILES: u32 = 5;

/// The rule of a variant.
fn rule(variant: u32) -> Rule {
    Rule::ALL[variant as usize % Rule::ALL.len()]
}

/// The rule of a variant of the persistent kernel: every one with the first cost, and one of its own with each other cost, so that few
/// pipelines have every pair of a cost and an output.
pub(super) fn persistent_rule(variant: u32) -> Rule {
    match pairs()[variant as usize % pairs().len()].0.code() {
        0 => rule(variant),
        code => rule(code),
    }
}

/// The activations that have a code of their own.
pub(in crate::verify) fn elementwise() -> Vec<Activation> {
    Activation::ALL.into_iter().filter(|f| f.is_elementwise()).collect()
}

/// The costs, each with every output that it goes with.
pub(in crate::verify) fn pairs() -> Vec<(Cost, Activation)> {
    let with_outputs =
        |cost: Cost| Activation::ALL.map(|f| (cost, f)).into_iter().filter(|(cost, f)| cost.goes_with(*f));
    Cost::ALL.into_iter().flat_map(with_outputs).collect()
}

impl Maker {
    /// Turns the variant into codes.
    pub(super) fn vary(&mut self) {
        let variant = self.variant;
        let p = &mut self.p;
        match self.kernel {
            Kernel::Activation | Kernel::ActivationPrime => p.activation = elementwise()[variant as usize].code(),
            Kernel::Gather => {
                p.format = variant % 3 + 16 * (variant / 6);
                [p.b, p.k_begin] =
                    if variant.is_multiple_of(8) { [0.0, 1.0] } else { [0.025, 0.925_f32] }.map(f32::to_bits);
            }
            Kernel::Tally => p.count = variant / 2,
            Kernel::CountRight | Kernel::Answers => p.activation = variant / 2,
            Kernel::CountAnswers => p.count = (p.outputs.max(2) + 1) * (p.outputs.max(2) + 1),
            Kernel::CostValue | Kernel::CostDerivative => p.cost = Cost::ALL[variant as usize % Cost::ALL.len()].code(),
            Kernel::DenseForward | Kernel::DenseBackward => {
                p.activation = elementwise()[(variant / PARTS) as usize].code();
                self.part(variant % PARTS);
            }
            Kernel::GatherForward => {
                p.activation = elementwise()[variant as usize % elementwise().len()].code();
                p.format = variant / PARTS;
                self.part(variant % PARTS);
            }
            Kernel::OutputError | Kernel::OutputLayer => {
                let (cost, activation) = pairs()[variant as usize % pairs().len()];
                p.cost = cost.code();
                p.activation = activation.code();
            }
            Kernel::DenseGradient => {
                p.format = variant % TILES;
                self.part(variant % PARTS);
            }
            Kernel::Update => p.rule = rule(variant).code(),
            Kernel::DenseUpdate => {
                p.format = variant % TILES;
                p.rule = rule(variant).code();
            }
            Kernel::Persistent => {
                p.cost = pairs()[variant as usize % pairs().len()].0.code();
                p.rule = persistent_rule(variant).code();
            }
            Kernel::Dropout => {
                let rate = [0.5, 0.1, 0.95_f64][variant as usize % 3];
                (p.w, p.b) = (0xdead_beef, variant);
                #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of 2^32")]
                let bound = ((1.0 - rate) * 4_294_967_296.0) as u32;
                p.k_end = bound;
                p.format = crate::real::Real::to_f32(1.0 / (1.0 - rate)).to_bits();
            }
            kernel if kernel.sum_length(p).is_some() => self.part(variant),
            _ => {}
        }
        if self.weighted() && self.kernel != Kernel::Persistent {
            self.p.format = 16;
        }
    }

    /// Whether rows have weights: in every second variant, and those that have them with all rows live have none with fewer.
    pub(super) fn weighted(&self) -> bool {
        let variant = self.variant as usize;
        let once = match self.kernel {
            Kernel::CostValue | Kernel::CostDerivative => Cost::ALL.len(),
            Kernel::OutputError | Kernel::OutputLayer | Kernel::Persistent => pairs().len(),
            _ => return false,
        };
        (variant + variant / once) % 2 == 1
    }

    /// 0: the whole sum; 1, 2: its end or its middle, which have to be added to what is there; 3: its first part, which
    /// overwrites.
    fn part(&mut self, which: u32) {
        let whole = self.p.k_end;
        match which {
            1 | 2 if whole >= 2 => {
                self.p.k_begin = whole / 3 + 1;
                if which == 2 {
                    self.p.k_end = (self.p.k_begin + 1).max(whole - whole / 4);
                }
            }
            3 => self.p.k_end = whole.div_ceil(2),
            _ => {}
        }
    }

    /// Live rows: all of them, or all but some.
    fn live(&self) -> u32 {
        let ragged = match self.kernel {
            Kernel::OutputError | Kernel::OutputLayer => self.variant as usize >= pairs().len(),
            Kernel::CostValue | Kernel::CostDerivative => self.variant as usize >= Cost::ALL.len(),
            Kernel::Gather => self.variant / 3 % 2 == 1,
            _ => self.variant % 2 == 1,
        };
        if ragged { (self.p.rows - self.p.rows / 3).max(1) } else { self.p.rows }
    }

    /// Step 2 of an epoch; or step 0, where a kernel is different there.
    pub(super) fn control(&self) -> Vec<u32> {
        let live = self.live();
        let step = if self.first_step() { 0 } else { 2 };
        // The output error writes there which step it was; the kernels after it read that.
        let notes = matches!(self.kernel, Kernel::OutputError | Kernel::OutputLayer);
        let of_gradients = if notes { GARBAGE } else { step };
        vec![step, live, step * self.p.rows + live, 0xffff_fffe, of_gradients]
    }

    pub(super) const fn first_step(&self) -> bool {
        matches!(self.kernel, Kernel::CountAnswers) && self.variant >= 2
    }
}
