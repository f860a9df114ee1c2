//! What a walk through a data set scores: costs and right answers, step by step.

/// The cost and the right answers of every step of a walk.
#[derive(Debug, Clone)]
pub(crate) struct Scores {
    /// Summed over the rows of the step.
    pub(crate) cost: Vec<f32>,
    pub(crate) right: Vec<u32>,
    /// Answers counted over all steps, and two sums of errors an output and step, where the plan's goal has them.
    pub(crate) counts: Vec<u32>,
    pub(crate) errors: Vec<f32>,
    /// Rows walked through.
    len: usize,
}

impl Scores {
    /// From the words of [`Role::Scores`], two a step.
    pub(crate) fn of(words: &[u32], len: usize) -> Self {
        let (pairs, _) = words.as_chunks::<2>();
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count, exact in an f32")]
        let right = pairs.iter().map(|pair| f32::from_bits(pair[1]) as u32).collect();
        Self {
            cost: pairs.iter().map(|pair| f32::from_bits(pair[0])).collect(),
            right,
            counts: Vec::new(),
            errors: Vec::new(),
            len,
        }
    }

    /// The mean over all rows.
    pub(crate) fn mean_cost(&self) -> f64 {
        #[allow(clippy::cast_precision_loss, reason = "a count of rows is far below 2^53")]
        let rows = self.len as f64;
        self.cost.iter().map(|&c| f64::from(c)).sum::<f64>() / rows
    }

    /// The share of right answers, 0 to 1.
    pub(crate) fn accuracy(&self) -> f64 {
        #[allow(clippy::cast_precision_loss, reason = "a count of rows is far below 2^53")]
        let rows = self.len as f64;
        self.right.iter().map(|&n| f64::from(n)).sum::<f64>() / rows
    }

    /// The first step whose cost is not finite.
    pub(crate) fn first_not_finite(&self) -> Option<(usize, f32)> {
        // By the bits: NaN and infinity are where the exponent is all ones.
        self.cost.iter().copied().enumerate().find(|(_, c)| c.to_bits() & 0x7f80_0000 == 0x7f80_0000)
    }
}
