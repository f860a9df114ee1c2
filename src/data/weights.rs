//! How much each row of a data set counts in training.

use std::sync::Arc;

use super::dataset::{Dataset, Targets};
use crate::error::{Error, Result};

/// # Weights
///
/// A row with weight `v` counts `v` times: training makes `C = 1/B sum_b v_b C_b` small over the `B` rows of a mini-batch, and the
/// error of a row is scaled by its weight where BP1 makes it. The sum is divided by the number of rows, as Keras does, not by the
/// sum of their weights, as PyTorch's `CrossEntropyLoss(weight=...)` does: so what a row contributes does not depend on the rows
/// that happen to be in its mini-batch, and the mean over all mini-batches is the weighted cost of the data set. To have weights
/// change no learning rate, make their mean 1, as [`balanced`](Self::balanced) does.
///
/// Weights are for training alone, where [`EpochReport::train_cost`](crate::EpochReport::train_cost) has them. What is counted or
/// evaluated ([`train_accuracy`](crate::EpochReport::train_accuracy), everything held out, [`Network::evaluate`](crate::Network::evaluate_async))
/// takes each row once, so that it means the same whatever the weights.
impl Dataset {
    /// This data set with a weight for each row, finite and at least 0, on top of what the rows weigh already: weights multiply.
    /// They stay with their rows through [`select`](Self::select), [`slice`](Self::slice) and the splits.
    ///
    /// ```
    /// use wgrad::Dataset;
    /// let data = Dataset::new(vec![0.0, 1.0, 2.0], 1, vec![0.0, 1.0, 4.0], 1)?;
    /// let data = data.with_weights(vec![1.0, 0.5, 0.0])?; // the last row is not trusted at all
    /// assert_eq!(data.select(&[1, 0])?.weights(), Some(&[0.5, 1.0][..]));
    /// # Ok::<(), wgrad::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Shape`] for another number of weights than of rows; [`Error::Weight`] for one that is negative, NaN or infinite, and
    /// where no row is left with a weight above 0.
    pub fn with_weights(&self, weights: Vec<f32>) -> Result<Self> {
        if weights.len() != self.len() {
            let want = format!("one for each of the {} rows", self.len());
            return Err(Error::shape("with_weights: weights", want, weights.len().to_string()));
        }
        check("with_weights: the weight of row", &weights)?;
        self.weighed(weights)
    }

    /// This data set with a weight for each class, finite and at least 0: every row weighs what its class does, on top of what it
    /// weighs already.
    ///
    /// The targets are class labels, or one output that is 0 or 1: then there are two classes, and weights of 1 and `w` are
    /// PyTorch's `BCEWithLogitsLoss(pos_weight=w)`.
    ///
    /// ```
    /// use wgrad::Dataset;
    /// let data = Dataset::with_labels(vec![0.0, 1.0, 2.0], 1, vec![0, 0, 1], 2)?;
    /// assert_eq!(data.with_class_weights(&[1.0, 2.5])?.weights(), Some(&[1.0, 1.0, 2.5][..]));
    /// # Ok::<(), wgrad::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Shape`] for other targets, and for another number of weights than of classes; [`Error::Weight`] as for
    /// [`with_weights`](Self::with_weights).
    pub fn with_class_weights(&self, weights: &[f32]) -> Result<Self> {
        let (classes, count) = self.classes("with_class_weights")?;
        if weights.len() != count {
            let want = format!("one for each of {count} classes");
            return Err(Error::shape("with_class_weights: weights", want, weights.len().to_string()));
        }
        check("with_class_weights: the weight of class", weights)?;
        self.weighed(classes.iter().map(|&class| weights[class as usize]).collect())
    }

    /// This data set with weights that make its classes count alike: class `k`, of which there are `n_k` among `n` rows, weighs
    /// `n / (K n_k)`, where `K` counts the classes that have rows (scikit-learn's `class_weight="balanced"`). Their mean over the
    /// rows is 1.
    ///
    /// ```
    /// use wgrad::Dataset;
    /// let data = Dataset::with_labels(vec![0.0; 4], 1, vec![0, 0, 0, 1], 2)?;
    /// assert_eq!(data.balanced()?.weights(), Some(&[2.0 / 3.0, 2.0 / 3.0, 2.0 / 3.0, 2.0][..]));
    /// # Ok::<(), wgrad::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Shape`] for targets without classes, as for [`with_class_weights`](Self::with_class_weights).
    pub fn balanced(&self) -> Result<Self> {
        let (classes, count) = self.classes("balanced")?;
        let mut rows = vec![0_u32; count];
        classes.iter().for_each(|&class| rows[class as usize] += 1);
        let present = rows.iter().filter(|&&rows| rows > 0).count();
        #[allow(clippy::cast_precision_loss, reason = "a count of rows is far below 2^53")]
        let all = self.len() as f64 / present as f64;
        #[allow(clippy::cast_possible_truncation, reason = "rounded once")]
        let weight = |&class: &u32| (all / f64::from(rows[class as usize])) as f32;
        self.weighed(classes.iter().map(weight).collect())
    }

    /// The weight of each row; `None` where none was given, and each counts once.
    #[must_use]
    pub fn weights(&self) -> Option<&[f32]> {
        self.weights.as_ref().map(|weights| &weights[..])
    }

    /// These weights, times those that the rows have.
    fn weighed(&self, mut weights: Vec<f32>) -> Result<Self> {
        for (weight, old) in weights.iter_mut().zip(self.weights().unwrap_or_default()) {
            *weight *= old;
        }
        check("weights: the product of the weights of row", &weights)?;
        let mut weighed = self.clone();
        weighed.weights = Some(Arc::new(weights));
        weighed.check_weights("weights")?;
        Ok(weighed)
    }

    /// Refuses to train on rows none of which counts.
    pub(crate) fn check_weights(&self, call: &str) -> Result<()> {
        match self.weights() {
            Some(weights) if weights.iter().all(|&weight| weight <= 0.0) => {
                let what = format!("{call}: the weight of every row of the data set");
                Err(Error::Weight { what, problem: "is 0, so that there is nothing to learn from".to_owned() })
            }
            _ => Ok(()),
        }
    }

    /// The class of each row, and how many classes there are.
    fn classes(&self, call: &str) -> Result<(Vec<u32>, usize)> {
        match self.targets() {
            Targets::Labels { labels, classes } => Ok((labels.clone(), *classes)),
            Targets::Values { values, outputs: 1 } if values.iter().all(|y| [0.0_f32, 1.0].contains(y)) => {
                Ok((values.iter().map(|&y| u32::from(y > 0.5)).collect(), 2))
            }
            Targets::Values { .. } => {
                let want = "class labels, or one output that is 0 or 1";
                Err(Error::shape(format!("{call}: targets"), want, "other numbers"))
            }
        }
    }
}

/// Refuses weights that are negative, NaN or infinite.
fn check(what: &str, weights: &[f32]) -> Result<()> {
    match weights.iter().position(|weight| !(0.0..=f32::MAX).contains(weight)) {
        Some(at) => {
            let problem = format!("is {}; a weight must be at least 0, and finite", weights[at]);
            Err(Error::Weight { what: format!("{what} {at}"), problem })
        }
        None => Ok(()),
    }
}
