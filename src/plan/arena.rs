//! Where the fused plan keeps what its last kernel needs of all layers: activations and errors in a few long buffers, of which the
//! other kernels see a part each.
//!
//! A buffer cannot be read and written by one dispatch, not even at different places. So there are two of each kind: one for the
//! layers of even number, to which the input belongs as layer 0, and one for the odd ones.

use crate::layer::Layer;
use crate::optimizer::HYPER;

/// Words of the control at the head of `walk`: step, live rows, examples, steps before this epoch, the step whose gradients are there.
pub(crate) const CONTROL: usize = 8;
/// Words of a layer in the table after it.
pub(crate) const LAYER: usize = 6;
/// Parts of a buffer begin at multiples of so many elements, which every device can bind.
pub(crate) const ALIGNED: usize = 64;

/// The places of all parts.
#[derive(Debug)]
pub(crate) struct Arena {
    /// Elements of the activations of even and odd layers.
    pub(crate) activations: [usize; 2],
    /// Elements of their errors.
    pub(crate) deltas: [usize; 2],
    /// Where `a_l` starts in those of its kind, by `l` from 0 to the last but one.
    pub(crate) a: Vec<usize>,
    /// Where `delta_l` starts, by `l` from 1; the place of 0 keeps the numbering.
    pub(crate) delta: Vec<usize>,
    /// Where the numbers of the optimiser start in `walk`, and its length.
    pub(crate) hyper: usize,
    pub(crate) walk: usize,
    /// Where the numbers of the steps start in `scores`, and its length.
    pub(crate) scores: usize,
    pub(crate) scores_len: usize,
}

impl Arena {
    /// For so many rows, and steps of an epoch.
    pub(crate) fn new(layers: &[Layer], rows: usize, steps: usize) -> Self {
        let (mut activations, mut deltas) = ([0; 2], [0; 2]);
        let (mut a, mut delta) = (Vec::with_capacity(layers.len()), vec![0]);
        for (l, layer) in layers.iter().enumerate() {
            a.push(take(&mut activations[l % 2], rows.saturating_mul(layer.inputs)));
            delta.push(take(&mut deltas[(l + 1) % 2], rows.saturating_mul(layer.outputs)));
        }
        let mut walk = 0;
        take(&mut walk, CONTROL + LAYER * layers.len());
        let hyper = walk;
        walk = walk.saturating_add(steps.saturating_mul(HYPER));
        let mut scores_len = 0;
        take(&mut scores_len, rows.saturating_mul(2));
        let scores = scores_len;
        scores_len = scores_len.saturating_add(steps.saturating_mul(2));
        // A kernel binds all four, also where a single layer needs but two.
        let [activations, deltas] = [activations, deltas].map(|lens| lens.map(|len| len.max(1)));
        Self { activations, deltas, a, delta, hyper, walk, scores, scores_len }
    }

    /// The words that `walk` starts with: room for the control, then the layers.
    pub(crate) fn head(&self, layers: &[Layer]) -> Vec<u32> {
        let word = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let table = layers.iter().enumerate().flat_map(|(l, layer)| {
            [layer.inputs, layer.outputs, layer.w, layer.b, self.a[l], self.delta[l + 1]].map(word)
        });
        std::iter::repeat_n(0, CONTROL).chain(table).collect()
    }
}

/// The next part of this length.
fn take(end: &mut usize, len: usize) -> usize {
    let at = *end;
    *end = at.saturating_add(len).checked_next_multiple_of(ALIGNED).unwrap_or(usize::MAX);
    at
}
