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

    /// Blocking form of [`finish_async`](Self::finish_async).
    ///
    /// # Errors
    /// As there.
    pub fn finish(&self) -> Result<()> {
        crate::blocking::block_on(self.finish_async())
    }

    /// Blocking form of [`to_bytes_async`](Self::to_bytes_async).
    ///
    /// # Errors
    /// As there.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        crate::blocking::block_on(self.to_bytes_async())
    }

    /// Blocking form of [`save_async`](Self::save_async).
    ///
    /// # Errors
    /// As there.
    pub fn save(&self, path: impl AsRef<std::path::Path>) -> Result<()> {
        crate::blocking::block_on(self.save_async(path))
    }

    /// Blocking form of [`predict_async`](Self::predict_async).
    ///
    /// # Errors
    /// As there.
    pub fn predict(&self, x: &[f32]) -> Result<Vec<f32>> {
        let mut outputs = self.room_for(x)?;
        self.predict_into(x, &mut outputs)?;
        Ok(outputs)
    }

    /// Blocking form of [`predict_into_async`](Self::predict_into_async).
    ///
    /// # Errors
    /// As there.
    pub fn predict_into(&self, x: &[f32], outputs: &mut [f32]) -> Result<()> {
        // Without the async form where nothing has to be waited for: to block on a future allocates.
        match self.predict_now(x, outputs) {
            Some(done) => done,
            None => crate::blocking::block_on(self.predict_into_async(x, outputs)),
        }
    }

    /// Blocking form of [`predict_on_device_async`](Self::predict_on_device_async).
    ///
    /// # Errors
    /// As there.
    pub fn predict_on_device(&self, x: &[f32]) -> Result<Vec<f32>> {
        crate::blocking::block_on(self.predict_on_device_async(x))
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
