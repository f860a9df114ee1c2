//! Rows that count more or less than once, and labels that are smoothed.

use super::{Example, Layers, Network, add, check_length, count};
use crate::error::Result;

impl Network {
    /// `C = 1/n sum_x v_x C_x`, the average (3) in which each example has a weight `v_x`. It is divided by the number of examples, not
    /// by the sum of their weights.
    ///
    /// # Errors
    /// As [`mean_cost`](Self::mean_cost); [`Error::Shape`](crate::Error::Shape) for another number of weights than of examples.
    pub fn weighted_cost(&self, examples: &[Example], weights: &[f64]) -> Result<f64> {
        let n = count(examples)?;
        check_length("weights", examples.len(), weights)?;
        let mut sum = 0.0;
        for ((x, y), v) in examples.iter().zip(weights) {
            sum += v * self.cost(x, y)?;
        }
        Ok(sum / n)
    }

    /// The gradient of [`weighted_cost`](Self::weighted_cost), `(nabla_b, nabla_w)`: that of each example, times its weight.
    ///
    /// # Errors
    /// As there.
    pub fn weighted_gradient(&self, mini_batch: &[Example], weights: &[f64]) -> Result<(Layers, Layers)> {
        let m = count(mini_batch)?;
        check_length("weights", mini_batch.len(), weights)?;
        let mut nabla_b: Layers = self.biases.iter().map(|b| vec![0.0; b.len()]).collect();
        let mut nabla_w: Layers = self.weights.iter().map(|w| vec![0.0; w.len()]).collect();
        for ((x, y), v) in mini_batch.iter().zip(weights) {
            let (of_b, of_w) = self.backprop(x, y)?;
            add(&mut nabla_b, v / m, &of_b);
            add(&mut nabla_w, v / m, &of_w);
        }
        Ok((nabla_b, nabla_w))
    }
}

/// Label smoothing of one target: a share `eps` of it is dealt out to the `classes` evenly, `y_j' = (1 - eps) y_j + eps / K`.
///
/// ```
/// use wgrad::reference::smoothed;
/// assert_eq!(smoothed(&[0.0, 1.0], 0.5, 2), [0.25, 0.75]);
/// ```
#[must_use]
pub fn smoothed(y: &[f64], eps: f64, classes: usize) -> Vec<f64> {
    y.iter().map(|y| y - eps * y + eps / classes as f64).collect()
}
