//! What a network says of rows, in the words and units of the table that it learned from.

use super::target::Target;
use crate::error::{Error, Result};

/// The answers for some rows: classes, or numbers in the units of the target column.
///
/// [`Network::predict_rows_async`](crate::Network::predict_rows_async) and
/// [`Preparation::answers`](super::Preparation::answers) make it.
#[derive(Debug, Clone, PartialEq)]
pub struct Predictions {
    kind: Kind,
}

#[derive(Debug, Clone, PartialEq)]
enum Kind {
    Classes { names: Vec<String>, scores: Vec<f32> },
    Values(Vec<f64>),
}

impl Predictions {
    pub(super) fn new(target: &Target, outputs: &[f32]) -> Result<Self> {
        if !outputs.len().is_multiple_of(target.outputs()) {
            let want = format!("whole rows of {} numbers", target.outputs());
            return Err(Error::shape("answers: outputs", want, format!("{} numbers", outputs.len())));
        }
        if let Some(index) = outputs.iter().position(|a| !a.is_finite()) {
            let what = "answers: outputs".to_owned();
            return Err(Error::NotFinite { what, index, value: outputs[index] });
        }
        let kind = match target {
            Target::Classes { names, .. } => Kind::Classes { names: names.clone(), scores: outputs.to_vec() },
            Target::Number { scale, .. } => {
                Kind::Values(outputs.iter().map(|&a| scale.center + scale.scale * f64::from(a)).collect())
            }
        };
        Ok(Self { kind })
    }

    /// How many rows there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        match &self.kind {
            Kind::Classes { names, scores } => scores.len() / names.len(),
            Kind::Values(values) => values.len(),
        }
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The class of a row, from 0: the one with the largest output, the first of several. `None` in regression, or if there is
    /// no such row.
    #[must_use]
    pub fn class(&self, row: usize) -> Option<&str> {
        match &self.kind {
            Kind::Classes { names, .. } => names.get(self.class_index(row)?).map(String::as_str),
            Kind::Values(_) => None,
        }
    }

    /// The place of that class in [`Preparation::classes`](super::Preparation::classes).
    #[must_use]
    pub fn class_index(&self, row: usize) -> Option<usize> {
        let scores = self.probabilities(row)?;
        Some((1..scores.len()).fold(0, |best, at| if scores[at] > scores[best] { at } else { best }))
    }

    /// The outputs of a row, one a class; behind a softmax they are probabilities. `None` in regression, or if there is no such
    /// row.
    #[must_use]
    pub fn probabilities(&self, row: usize) -> Option<&[f32]> {
        match &self.kind {
            Kind::Classes { names, scores } => scores.chunks_exact(names.len()).nth(row),
            Kind::Values(_) => None,
        }
    }

    /// The predicted number of a row, from 0, in the units of the target column. `None` in classification, or if there is no
    /// such row.
    #[must_use]
    pub fn value(&self, row: usize) -> Option<f64> {
        match &self.kind {
            Kind::Classes { .. } => None,
            Kind::Values(values) => values.get(row).copied(),
        }
    }

    /// All predicted numbers; none in classification.
    #[must_use]
    pub fn values(&self) -> &[f64] {
        match &self.kind {
            Kind::Classes { .. } => &[],
            Kind::Values(values) => values,
        }
    }

    /// All predicted classes; none in regression.
    pub fn classes(&self) -> impl Iterator<Item = &str> {
        let rows = if matches!(self.kind, Kind::Classes { .. }) { self.len() } else { 0 };
        (0..rows).filter_map(|row| self.class(row))
    }
}
