//! How much work a dispatch is: workgroups, terms of its sums, loop iterations of an invocation.

use super::tile::register_groups;
use super::{Kernel, LANES, NO_TALLY, OUTPUT_PARTS, Params, SQUARES, TILE, Tiling};

/// Terms of a sum that the tiled matrix kernels have in workgroup memory at a time, and loop iterations of an invocation for them:
/// at most one a term, and four for each of the two loads, in one round of the outer loop.
const DEPTH: u64 = 16;
const DEPTH_ROUNDS: u64 = DEPTH + 8 + 1;

impl Kernel {
    /// Whether this kernel keeps a tile in registers under this tiling.
    fn in_registers(self, tiling: Tiling) -> bool {
        self.entry(tiling).file == "dense_registers.wgsl"
    }

    /// How many workgroups one dispatch takes, before folding.
    #[must_use]
    pub fn groups(self, p: &Params, tiling: Tiling) -> u64 {
        let [rows, inputs, outputs] = [p.rows, p.inputs, p.outputs].map(u64::from);
        let registers = self.in_registers(tiling);
        let tiles = |m: u64, n: u64| match registers {
            true => register_groups(m, n),
            false => self.tile(p, tiling).map_or_else(|| m.div_ceil(TILE) * n.div_ceil(TILE), |tile| tile.groups(m, n)),
        };
        match self {
            Self::Gather => {
                let columns = outputs + u64::from(p.format / 16);
                (rows * columns.div_ceil(4)).div_ceil(LANES)
            }
            Self::Tally => 1,
            Self::Persistent => u64::from(p.w),
            Self::MatmulNt | Self::GatherForward | Self::DenseForward => tiles(rows, outputs),
            Self::MatmulNn | Self::DenseBackward => tiles(rows, inputs),
            Self::OuterProducts => tiles(outputs, inputs),
            Self::DenseGradient | Self::DenseUpdate => inputs,
            Self::BiasGradient => outputs.div_ceil(LANES),
            Self::Activation
            | Self::ActivationPrime
            | Self::Hadamard
            | Self::CostDerivative
            | Self::Update
            | Self::ClipGradients
            | Self::CountAnswers
            | Self::Dropout => u64::from(p.count).div_ceil(LANES),
            Self::GradientSquares => SQUARES.into(),
            Self::MaxNorm => outputs,
            Self::Softmax
            | Self::CostValue
            | Self::CountRight
            | Self::OutputError
            | Self::OutputLayer
            | Self::Answers => rows,
            Self::Residuals => outputs.div_ceil(4),
        }
    }

    /// How many terms the sum of one element has that may be cut into several dispatches; `None` for the other kernels.
    #[must_use]
    pub fn sum_length(self, p: &Params) -> Option<u32> {
        match self {
            Self::MatmulNt | Self::GatherForward | Self::DenseForward => Some(p.inputs),
            Self::MatmulNn | Self::DenseBackward => Some(p.outputs),
            Self::OuterProducts | Self::BiasGradient | Self::DenseGradient | Self::DenseUpdate => Some(p.rows),
            _ => None,
        }
    }

    /// How many terms of its sum one dispatch can do within this many loop iterations of an invocation.
    #[must_use]
    pub fn most_terms(self, p: &Params, iterations: u64, tiling: Tiling) -> u32 {
        let iterations = iterations.saturating_sub(self.other_iterations(p, tiling));
        let terms = match self {
            _ if self.in_registers(tiling) => iterations.saturating_sub(2 * 48) / 33 * 32,
            Self::BiasGradient => iterations,
            Self::GatherForward
            | Self::DenseForward
            | Self::DenseBackward
            | Self::DenseGradient
            | Self::DenseUpdate => iterations / DEPTH_ROUNDS * DEPTH,
            _ => iterations / (TILE + 1) * TILE,
        };
        u32::try_from(terms).unwrap_or(u32::MAX)
    }

    /// Loop iterations of the kernels of all layers besides their sums: the search for the layer, and the tally.
    fn other_iterations(self, p: &Params, tiling: Tiling) -> u64 {
        if !matches!(self, Self::DenseGradient | Self::DenseUpdate) {
            return 0;
        }
        let lanes = if self.in_registers(tiling) { 8 } else { LANES };
        let tally = if p.cost == NO_TALLY { 0 } else { u64::from(p.rows).div_ceil(lanes) + 6 };
        u64::from(p.outputs) + tally
    }

    /// Loop iterations of one invocation, all its loops together, for the terms that these parameters ask for.
    #[must_use]
    pub fn iterations(self, p: &Params, tiling: Tiling) -> u64 {
        if self.in_registers(tiling) {
            // One round a term and one a block of 32, and at most two a stored element.
            let terms = u64::from(p.k_end.saturating_sub(p.k_begin));
            return terms + terms.div_ceil(32) + 2 * 48 + self.other_iterations(p, tiling);
        }
        let terms = u64::from(p.k_end.saturating_sub(p.k_begin));
        let strided = |n: u32| u64::from(n).div_ceil(LANES);
        match self {
            Self::MatmulNt | Self::MatmulNn | Self::OuterProducts => terms.div_ceil(TILE) * (TILE + 1),
            Self::GatherForward
            | Self::DenseForward
            | Self::DenseBackward
            | Self::DenseGradient
            | Self::DenseUpdate => terms.div_ceil(DEPTH) * DEPTH_ROUNDS + self.other_iterations(p, tiling),
            Self::BiasGradient => terms,
            Self::Softmax | Self::CostValue => 3 * strided(p.outputs) + 18,
            Self::CountRight => strided(p.outputs) + 6,
            Self::OutputError => {
                let terms = u64::from(p.outputs).div_ceil(self.lanes_of_a_row(tiling));
                if p.cost == 2 { 8 * terms + 30 } else { 4 * terms + 12 }
            }
            Self::OutputLayer => {
                let (lanes, parts) = (self.lanes_of_a_row(tiling), u64::from(OUTPUT_PARTS));
                let [outputs, sums] = [1, parts].map(|each| (u64::from(p.outputs) * each).div_ceil(lanes));
                let forward = sums * (u64::from(p.inputs).div_ceil(parts) + 1) + outputs * (parts + 1);
                forward + if p.cost == 2 { 9 * outputs + 30 } else { 5 * outputs + 12 }
            }
            Self::Tally => strided(p.rows) + 12,
            Self::Answers => 2 * strided(p.outputs) + 18,
            Self::CountAnswers => u64::from(p.rows),
            Self::Residuals => u64::from(p.rows).div_ceil(16) + 4,
            Self::Gather => 4,
            // Depends on the layers, which Params does not have: the planner counts them (plan/persistent.rs).
            Self::Persistent => 0,
            Self::GradientSquares => u64::from(p.count).div_ceil(LANES * u64::from(SQUARES)) + 6,
            Self::ClipGradients => 6,
            Self::MaxNorm => 2 * strided(p.inputs) + 6,
            Self::Activation
            | Self::ActivationPrime
            | Self::Hadamard
            | Self::CostDerivative
            | Self::Update
            | Self::Dropout => 0,
        }
    }
}
