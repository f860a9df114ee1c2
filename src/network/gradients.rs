//! The gradients that backpropagation gives.

use crate::layer::Layer;

/// The gradients of a mini-batch's mean cost.
#[derive(Debug, Clone)]
pub struct Gradients {
    /// The mean cost over the rows.
    pub cost: f32,
    pub(super) layers: Vec<Layer>,
    pub(super) arena: Vec<f32>,
}

impl Gradients {
    /// All of them, in the order of [`Network::parameters`](crate::Network::parameters_async).
    #[must_use]
    pub fn as_slice(&self) -> &[f32] {
        &self.arena
    }

    /// As [`as_slice`](Self::as_slice), to change them before [`Network::update`](crate::Network::update).
    #[must_use]
    pub fn as_mut_slice(&mut self) -> &mut [f32] {
        &mut self.arena
    }

    /// `dC/dw` of layer `l`, counted from 1, row-major (O,I) (BP4).
    ///
    /// # Panics
    /// If there is no layer `l`.
    #[must_use]
    pub fn nabla_w(&self, l: usize) -> &[f32] {
        &self.arena[self.layers[l - 1].weights()]
    }

    /// `dC/db` of layer `l`, counted from 1, (O) (BP3).
    ///
    /// # Panics
    /// If there is no layer `l`.
    #[must_use]
    pub fn nabla_b(&self, l: usize) -> &[f32] {
        &self.arena[self.layers[l - 1].biases()]
    }
}
