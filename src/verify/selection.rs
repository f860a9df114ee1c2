//! Which cases of a kernel the self-check runs: every code and tile, on few pipelines, since compiling them is most of its time.

use super::case::{Case, Fill, Shape};
use super::maker::Maker;
use crate::Activation;
use crate::kernel::{Kernel, Tiling};
use crate::plan::Limits;

/// A single output, which is judged by the middle of its range; and more outputs than a workgroup has lanes.
const SINGLE: Shape = [23, 3, 1];
const WIDE: Shape = [21, 3, 130];

/// The smallest, odd ones, one off a tile or a workgroup, long sums, results that take each of the tiles, and more rows or outputs than
/// a workgroup has lanes.
const SHAPES: &[Shape] = &[
    [1, 1, 1],
    [3, 17, 2],
    [7, 8, 9],
    [9, 15, 16],
    [10, 150, 30],
    [65, 16, 10],
    [17, 63, 64],
    [5, 37, 13],
    SINGLE,
    [14, 6, 3],
    [63, 62, 61],
    [31, 63, 64],
    [64, 31, 30],
    [30, 29, 62],
    [30, 62, 29],
    [130, 2, 3],
    WIDE,
];

/// Cases of each variant, and cases of a kernel with few variants.
const OF_EACH: usize = 3;
const OF_ALL: usize = 24;

/// Shapes of the kernels that do whole steps: theirs are slow to follow in `f64`.
const SMALL: usize = 10;

/// The shape that a variant has before any other where the kernel judges rows: by chance too few would have it. What has small last layers
/// has no wide rows.
fn first(kernel: Kernel, variant: u32) -> Option<Shape> {
    match kernel {
        Kernel::CountRight | Kernel::Answers | Kernel::OutputError => Some([SINGLE, WIDE][variant as usize % 2]),
        Kernel::OutputLayer | Kernel::Persistent => Some(SINGLE),
        _ => None,
    }
}

/// What tells a pipeline from the kernel's others: its tile as one, and each other number that its shader is specialised with.
type Factors = Vec<Vec<(&'static str, u32)>>;

/// A shape, a tiling, and the constants of the pipeline that they take.
type Candidate = (Shape, Tiling, Vec<(&'static str, u32)>);

/// A case, and what it runs under: a tiling, and so few workgroups a dimension that the grid of some folds.
#[derive(Debug)]
pub(super) struct Chosen {
    pub(super) case: Case,
    pub(super) tiling: Tiling,
    pub(super) max_groups: u32,
}

impl Chosen {
    /// The limits of the device, as far as the case keeps to them.
    pub(super) fn limits(&self, device: Limits) -> Limits {
        Limits { tiling: self.tiling, max_groups: device.max_groups.min(self.max_groups), ..device }
    }
}

/// The cases of a kernel on a device with this tiling. Of what a shader is specialised with (tile, activation, cost, rule) each
/// value is in one pipeline at least; and each variant that such a pipeline has is in a case.
pub(super) fn cases(kernel: Kernel, tiling: Tiling, lanes: u32, seed: u64) -> Vec<Chosen> {
    // Where one workgroup is enough, small results take the tiles that large ones take else.
    let tilings = match tiling {
        Tiling::Workgroup { .. } => vec![tiling, Tiling::Workgroup { busy: 1 }],
        Tiling::Registers => vec![tiling],
    };
    let shapes = if kernel == Kernel::Persistent { &SHAPES[..SMALL] } else { SHAPES };
    let of_each = OF_EACH.max(OF_ALL.div_ceil(Case::variants(kernel) as usize));
    let mut seen: Factors = Vec::new();
    let mut pipelines = Vec::new();
    let mut chosen = Vec::new();
    for variant in 0..Case::variants(kernel) {
        let at = variant as usize;
        // Each variant starts at another shape.
        let shapes = (0..shapes.len()).map(|i| shapes[(at * 5 + i) % shapes.len()]);
        let mut candidates: Vec<Candidate> = Vec::new();
        for (shape, tiling) in shapes.flat_map(|shape| tilings.iter().map(move |&tiling| (shape, tiling))) {
            let constants = Maker::new(kernel, shape, Fill::Ordinary, variant, seed).constants(tiling, lanes);
            // Most kernels are the same under every tiling.
            if !candidates.iter().any(|other| other.0 == shape && other.2 == constants) {
                candidates.push((shape, tiling, constants));
            }
        }
        // A candidate that brings something new adds a pipeline, and runs; the others have to do with those there are.
        let mut new = Vec::new();
        let brings = |candidate: &&Candidate, seen: &Factors| factors(&candidate.2).iter().any(|f| !seen.contains(f));
        while let Some(candidate) = candidates.iter().find(|candidate| brings(candidate, &seen)) {
            seen.extend(factors(&candidate.2));
            pipelines.push(candidate.2.clone());
            new.push(candidate.clone());
        }
        let of_each = of_each.max(new.len());
        candidates.sort_by_key(|candidate| Some(candidate.0) != first(kernel, variant));
        let known = candidates.into_iter().filter(|one| pipelines.contains(&one.2) && !new.contains(one));
        let known: Vec<_> = new.iter().cloned().chain(known).collect();
        chosen.extend(known.into_iter().take(of_each).zip(0..).map(|((shape, tiling, _), i)| {
            let fill = if (at + i).is_multiple_of(2) { Fill::Ordinary } else { Fill::Extreme };
            let case = Case::new(kernel, shape, fill, variant, seed);
            let max_groups = if i % 3 == 1 { folding(kernel.groups(case.params(), tiling)) } else { u32::MAX };
            Chosen { case, tiling, max_groups }
        }));
    }
    chosen
}

/// So many workgroups a dimension that a grid of `groups` has several rows, and some workgroups too many.
fn folding(groups: u64) -> u32 {
    let is_ragged = |&most: &u64| {
        let high = groups.div_ceil(most);
        high > 1 && high <= most && groups.div_ceil(high) * high > groups
    };
    let most = (groups.isqrt().max(1)..groups).find(is_ragged).unwrap_or(groups);
    u32::try_from(most).unwrap_or(u32::MAX)
}

fn factors(constants: &[(&'static str, u32)]) -> Factors {
    let is_tile = |(name, _): &&(&'static str, u32)| ["SIDE", "ROW_QUADS", "COLUMN_QUADS"].contains(name);
    let tile: Vec<_> = constants.iter().filter(is_tile).copied().collect();
    let others = constants.iter().filter(|constant| !is_tile(constant)).map(|&constant| vec![constant]);
    // A cost is one thing on outputs that are far off, and another on those that cannot be.
    let value = |name| constants.iter().find(|constant| constant.0 == name).map(|constant| constant.1);
    let is_bounded = |code| matches!(Activation::from_code(code), Activation::Sigmoid | Activation::Tanh);
    let both = value("COST").zip(value("ACTIVATION"));
    let both = both.map(|(cost, code)| vec![("COST", cost), ("is bounded", u32::from(is_bounded(code)))]);
    std::iter::once(tile).chain(others).chain(both).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The constants of each pipeline that runs, with how often.
    fn pipelines(kernel: Kernel, tiling: Tiling) -> std::collections::BTreeMap<Vec<(&'static str, u32)>, usize> {
        let mut counts = std::collections::BTreeMap::new();
        for chosen in cases(kernel, tiling, 64, 1) {
            *counts.entry(kernel.constants(chosen.case.params(), chosen.tiling, 64)).or_insert(0) += 1;
        }
        counts
    }

    #[test]
    fn every_code_and_every_tile_runs() {
        for (tiling, most) in [(Tiling::GPU, 128), (Tiling::Registers, 112)] {
            let mut total = 0;
            for &kernel in Kernel::ALL {
                let pipelines = pipelines(kernel, tiling);
                total += pipelines.len();
                let cases = cases(kernel, tiling, 64, 1);
                // Variants that would need a pipeline of their own are left out.
                assert!(cases.len() >= OF_ALL.min(SHAPES.len()), "{kernel:?}: {} cases", cases.len());
                assert!(cases.iter().any(|case| case.max_groups < u32::MAX), "{kernel:?}: no grid folds");
                let has = |name: &str, value| pipelines.keys().any(|constants| constants.contains(&(name, value)));
                if matches!(kernel, Kernel::DenseForward | Kernel::DenseBackward) {
                    let all = Activation::ALL.iter().filter(|f| f.is_elementwise());
                    assert!(all.clone().all(|f| has("ACTIVATION", f.code())), "{kernel:?}: {pipelines:?}");
                }
                if kernel == Kernel::Persistent {
                    assert!((1..=4).all(|held| has("HELD", held)), "{pipelines:?}");
                }
                if matches!(kernel, Kernel::DenseUpdate | Kernel::Persistent) {
                    assert!((0..5).all(|rule| has("RULE", rule)), "{kernel:?}: {pipelines:?}");
                }
                if matches!(kernel, Kernel::OutputError | Kernel::OutputLayer | Kernel::Persistent) {
                    assert!((0..5).all(|cost| has("COST", cost)), "{kernel:?}: {pipelines:?}");
                }
                let of_layers = [Kernel::DenseForward, Kernel::DenseBackward, Kernel::DenseGradient];
                if tiling == Tiling::GPU && (of_layers.contains(&kernel) || kernel == Kernel::DenseUpdate) {
                    for tile in [[8, 2, 2], [8, 2, 1], [8, 1, 2], [8, 1, 1], [4, 1, 1]] {
                        let names = ["SIDE", "ROW_QUADS", "COLUMN_QUADS"];
                        let all = |constants: &Vec<_>| {
                            names.iter().zip(tile).all(|(&name, n)| constants.contains(&(name, n)))
                        };
                        assert!(pipelines.keys().any(all), "{kernel:?}: no tile {tile:?} in {pipelines:?}");
                    }
                }
            }
            assert!(total <= most, "{tiling:?}: {total} pipelines");
        }
    }
}
