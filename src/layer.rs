//! Dense layers and where their parameters lie in the flat arena.

use crate::Activation;
use crate::error::{Error, Result};
use crate::problems::Problems;

/// A dense layer: `a = f(a_below w^T + b)`.
///
/// All parameters of a network are one flat array: first the weights of every layer, then the biases of every layer, so that
/// what concerns weights alone (weight decay) is one bound on the index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layer {
    /// `I`: width of the layer below.
    pub inputs: usize,
    /// `O`: width of this layer.
    pub outputs: usize,
    /// `f`.
    pub activation: Activation,
    /// Where `w` (O,I), row-major, starts in the arena.
    pub w: usize,
    /// Where `b` (O) starts in the arena.
    pub b: usize,
}

impl Layer {
    /// The arena's range that holds `w`.
    #[must_use]
    pub fn weights(&self) -> std::ops::Range<usize> {
        self.w..self.w.saturating_add(self.inputs.saturating_mul(self.outputs))
    }

    /// The arena's range that holds `b`.
    #[must_use]
    pub fn biases(&self) -> std::ops::Range<usize> {
        self.b..self.b.saturating_add(self.outputs)
    }
}

/// Lays out the layers above an input of `inputs` columns, or says all that is wrong with them. Returns them with the arena's length.
pub(crate) fn layout(inputs: usize, dense: &[(usize, Activation)]) -> Result<(Vec<Layer>, usize)> {
    let refuse = |problem: String| Err(Error::Architecture { problem });
    let mut problems = Problems::default();
    if dense.is_empty() {
        problems.see::<()>(refuse("it has no layers; add one with .dense(width, activation)".to_owned()));
    }
    if inputs == 0 {
        problems.see::<()>(refuse("its input has no columns".to_owned()));
    }
    for (l, &(outputs, activation)) in dense.iter().enumerate() {
        if outputs == 0 {
            problems.see::<()>(refuse(format!("layer {} has no neurons", l + 1)));
        }
        if activation == Activation::Softmax && l + 1 != dense.len() {
            problems.see::<()>(refuse(format!("layer {} is softmax, which can only be the last layer", l + 1)));
        }
    }
    problems.end()?;
    let refuse = |problem: String| Err(Error::Architecture { problem });
    let mut layers = Vec::with_capacity(dense.len());
    let (mut below, mut at) = (inputs, 0_usize);
    for (l, &(outputs, activation)) in dense.iter().enumerate() {
        layers.push(Layer { inputs: below, outputs, activation, w: at, b: 0 });
        // Offsets and grid sizes are 32-bit in the shaders; half of that leaves room for their sums.
        at = match below.checked_mul(outputs).and_then(|n| n.checked_add(at)) {
            Some(n) if i32::try_from(n).is_ok() => n,
            _ => {
                return refuse(format!("layer {} of {below} x {outputs} weights is too large for 32-bit sizes", l + 1));
            }
        };
        below = outputs;
    }
    for layer in &mut layers {
        layer.b = at;
        at += layer.outputs;
    }
    if i32::try_from(at).is_err() {
        return refuse(format!("its {at} parameters are too many for 32-bit sizes"));
    }
    Ok((layers, at))
}
