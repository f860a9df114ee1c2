//! The blocking forms.

use super::{Gradients, Network};
use crate::Cost;
use crate::data::Dataset;
use crate::error::Result;
use crate::metrics::{Evaluation, Metrics};

impl Network {
    /// Blocking form of [`parameters_async`](Self::parameters_async).
    ///
    /// # Errors
    /// As there.
    pub fn parameters(&self) -> Result<Vec<f32>> {
        crate::blocking::block_on(self.parameters_async())
    }

    /// Blocking form of [`predict_async`](Self::predict_async).
    ///
    /// # Errors
    /// As there.
    pub fn predict(&self, x: &[f32]) -> Result<Vec<f32>> {
        crate::blocking::block_on(self.predict_async(x))
    }

    /// Blocking form of [`cost_async`](Self::cost_async).
    ///
    /// # Errors
    /// As there.
    pub fn cost(&self, x: &[f32], y: &[f32], cost: Cost) -> Result<f32> {
        crate::blocking::block_on(self.cost_async(x, y, cost))
    }

    /// Blocking form of [`gradients_async`](Self::gradients_async).
    ///
    /// # Errors
    /// As there.
    pub fn gradients(&self, x: &[f32], y: &[f32], cost: Cost) -> Result<Gradients> {
        crate::blocking::block_on(self.gradients_async(x, y, cost))
    }

    /// Blocking form of [`evaluate_async`](Self::evaluate_async).
    ///
    /// # Errors
    /// As there.
    pub fn evaluate(&self, data: &Dataset, cost: Cost) -> Result<Evaluation> {
        crate::blocking::block_on(self.evaluate_async(data, cost))
    }

    /// Blocking form of [`metrics_async`](Self::metrics_async).
    ///
    /// # Errors
    /// As there.
    pub fn metrics(&self, data: &Dataset, cost: Cost) -> Result<Metrics> {
        crate::blocking::block_on(self.metrics_async(data, cost))
    }
}
