//! How much of a product one workgroup of the matrix kernels computes.

use super::{Kernel, Params};

/// Which shader of a matrix kernel runs: there are two ways to use a loaded number often.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Tiling {
    /// Through workgroup memory and registers, up to 64 elements an invocation: for GPUs.
    Workgroup {
        /// Workgroups that keep the device busy: tiles are as large as leaves so many.
        busy: u32,
    },
    /// In registers, 48 elements an invocation, without workgroup memory: for software adapters.
    Registers,
}

impl Tiling {
    /// For a GPU of the middle class.
    pub const GPU: Self = Self::Workgroup { busy: 96 };

    /// Weights of the last layer up to which its forward pass and its error are one kernel, a workgroup a row. On a GPU it saves a
    /// dispatch, and with more weights the tiles of the matrix kernels are worth one of their own (an estimate); on a software adapter a
    /// dispatch costs next to nothing, and the one kernel is not faster than the two.
    pub(crate) const fn output_layer_up_to(self) -> u64 {
        match self {
            Self::Workgroup { .. } => 4096,
            Self::Registers => 0,
        }
    }
}

/// What a workgroup of 64 invocations computes of a product: see `shaders/dense.wgsl`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tile {
    side: u32,
    row_quads: u32,
    column_quads: u32,
}

impl Tile {
    /// From 64 x 64 down to 32 x 32; and last 16 x 16, with the sum split among four groups of invocations.
    const ALL: [Self; 5] =
        [Self::new(8, 2, 2), Self::new(8, 2, 1), Self::new(8, 1, 2), Self::new(8, 1, 1), Self::new(4, 1, 1)];

    const fn new(side: u32, row_quads: u32, column_quads: u32) -> Self {
        Self { side, row_quads, column_quads }
    }

    /// The tile for `m x n` results that are computed at once: the one with the least work in all, padding counted, of those that
    /// make enough workgroups, the larger of equals; the split one where none does, since a small result has only its sums to
    /// share out.
    fn of(results: impl Iterator<Item = (u32, u32)> + Clone, busy: u32) -> Self {
        let groups = |tile: Self| results.clone().map(|(m, n)| tile.groups(m.into(), n.into())).sum::<u64>();
        let [whole @ .., split] = Self::ALL;
        let whole = whole.into_iter().filter(|&tile| groups(tile) >= u64::from(busy));
        whole.min_by_key(|&tile| groups(tile).saturating_mul(tile.cost())).unwrap_or(split)
    }

    const fn rows(self) -> u64 {
        4 * (self.side * self.row_quads) as u64
    }

    const fn columns(self) -> u64 {
        4 * (self.side * self.column_quads) as u64
    }

    /// What one term of the sum costs a workgroup: products, and eight times the numbers that it loads for them.
    const fn cost(self) -> u64 {
        self.rows() * self.columns() + 8 * (self.rows() + self.columns())
    }

    pub(super) const fn groups(self, m: u64, n: u64) -> u64 {
        m.div_ceil(self.rows()) * n.div_ceil(self.columns())
    }

    pub(super) fn constants(self) -> Vec<(&'static str, u32)> {
        vec![("SIDE", self.side), ("ROW_QUADS", self.row_quads), ("COLUMN_QUADS", self.column_quads)]
    }
}

/// Workgroups of an `m x n` result with tiles in registers: 6 x 8 an invocation, 8 invocations a workgroup.
pub(super) const fn register_groups(m: u64, n: u64) -> u64 {
    (m.div_ceil(6) * n.div_ceil(8)).div_ceil(8)
}

/// For the kernels of all layers, whose outputs and inputs are given: workgroups in all, and which tile they have.
pub(crate) fn tiles_of_layers(layers: impl Iterator<Item = (u32, u32)> + Clone, tiling: Tiling) -> (u64, u32) {
    let results = layers.map(|(outputs, inputs)| (outputs, inputs.saturating_add(1)));
    let Tiling::Workgroup { busy } = tiling else {
        return (results.map(|(m, n)| register_groups(m.into(), n.into())).sum(), 0);
    };
    let tile = Tile::of(results.clone(), busy);
    let which = (0..).zip(Tile::ALL).find(|(_, other)| *other == tile).map_or(0, |(which, _)| which);
    (results.map(|(m, n)| tile.groups(m.into(), n.into())).sum(), which)
}

/// Workgroups that are enough for the kernels of all layers under any tiling; those too many do nothing.
pub(crate) fn most_groups_of_layers(layers: impl Iterator<Item = (u32, u32)> + Clone) -> u64 {
    let [.., split] = Tile::ALL;
    let results = layers.map(|(outputs, inputs)| (u64::from(outputs), u64::from(inputs) + 1));
    results.map(|(m, n)| register_groups(m, n).max(split.groups(m, n))).sum()
}

impl Kernel {
    /// The tile that a workgroup of the fused plan's matrix kernels has of the result, under [`Tiling::Workgroup`].
    pub(super) fn tile(self, p: &Params, tiling: Tiling) -> Option<Tile> {
        let Tiling::Workgroup { busy } = tiling else { return None };
        match self {
            Self::GatherForward | Self::DenseForward => Some(Tile::of(std::iter::once((p.rows, p.outputs)), busy)),
            Self::DenseBackward => Some(Tile::of(std::iter::once((p.rows, p.inputs)), busy)),
            Self::DenseGradient | Self::DenseUpdate => Tile::ALL.get(p.format as usize).copied(),
            _ => None,
        }
    }
}
