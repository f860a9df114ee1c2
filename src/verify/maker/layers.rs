//! The kernels of all layers of the fused plan.

use super::Maker;
use crate::Activation;
use crate::kernel::{Kernel, NO_TALLY, Params, most_groups_of_layers};
use crate::layer::layout;
use crate::plan::Arena;
use crate::verify::case::{Case, GARBAGE};

impl Maker {
    /// The gradients, or the step, of one to three layers. There are workgroups for any tiling, and tiles of every kind.
    pub(super) fn all_layers(mut self) -> Case {
        let Params { rows, inputs, outputs, .. } = self.p;
        let f = Activation::Sigmoid;
        let dense = [(outputs as usize, f), (3, f), (outputs as usize % 4 + 2, f)];
        let layers = layout(inputs as usize, &dense[..1 + self.variant as usize % 3]).map(|(layers, _)| layers);
        let layers = layers.unwrap_or_default();
        let arena = Arena::new(&layers, rows as usize, 3);
        let word = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let sizes = layers.iter().map(|layer| (word(layer.outputs), word(layer.inputs)));
        let count = layers.last().map_or(0, |last| word(last.biases().end));
        self.p = Params {
            inputs: u32::try_from(most_groups_of_layers(sizes)).unwrap_or(u32::MAX),
            outputs: word(layers.len()),
            w: word(arena.scores),
            b: word(arena.hyper),
            activation: 0,
            cost: self.variant % (NO_TALLY + 1),
            format: self.p.format,
            count,
            ..self.p
        };
        let mut walk = arena.head(&layers);
        for (at, control) in walk.iter_mut().zip(self.control()) {
            *at = control;
        }
        walk.resize(arena.hyper, GARBAGE);
        walk.extend(self.hyper());
        let mut scoring = self.scored_rows();
        scoring.resize(arena.scores_len, GARBAGE);
        let arenas = arena.activations.into_iter().chain(arena.deltas);
        let mut contents: Vec<_> = arenas.map(|len| self.numbers(word(len))).collect();
        contents.extend([walk, scoring]);
        if self.kernel == Kernel::DenseGradient {
            contents.push(self.output(count));
        } else {
            contents.extend([self.state(), self.numbers(count)]);
        }
        self.case(contents)
    }
}
