//! What a run would be refused for, found before any work.

use super::{Settings, Trainer};
use crate::data::{Batches, Dataset};
use crate::error::{Error, Result};
use crate::metrics;
use crate::network::Network;
use crate::problems::Problems;

impl Trainer<'_> {
    /// Whether [`fit`](Self::fit_async) would train this network on these data, and if not, everything that is wrong: options out of
    /// their range, data that do not go with the network or the cost, metrics that the run does not have, and where checkpoints
    /// could not be written. `fit` asks it by itself, before anything is trained.
    ///
    /// ```
    /// use wgrad::{Activation, Adam, Cost, Device, Error, Metric, Network, Trainer, data};
    /// let net = Network::new(784).dense(10, Activation::Identity).build(&Device::cpu())?;
    /// let digits = data::synthetic_digits(20, 1)?;
    /// let trainer = Trainer::new(Cost::CategoricalCrossEntropy, Adam::new(-1.0)).epochs(0).keep_best(Metric::TestF1);
    /// let error = trainer.check(&net, &digits, None).unwrap_err();
    /// assert!(matches!(&error, Error::Several { problems } if problems.len() == 4));
    /// println!("{error}");
    /// // 4 problems:
    /// // - epochs is 0; it must be at least 1
    /// // - eta is -1; it must be finite and above 0
    /// // - cost categorical-cross-entropy does not go with identity outputs; categorical-cross-entropy goes with: softmax
    /// // - watched metric is test_f1; it must be of the training data, or the run needs held-out data
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Several`] where more than one thing is wrong; else [`Error::InvalidOption`], [`Error::Pairing`], [`Error::Shape`],
    /// [`Error::Empty`], [`Error::Target`], [`Error::Weight`], [`Error::Io`] or [`Error::File`].
    pub fn check(&self, net: &Network, train: &Dataset, test: Option<&Dataset>) -> Result<()> {
        let Settings { cost, optimizer, epochs, batch_size, seed, smoothing, .. } = &self.settings;
        let Settings { schedule, plateau, early_stopping, max_steps, .. } = &self.settings;
        let mut problems = Problems::default();
        let verified = "steps of which one is verified";
        for (option, is_none) in
            [("epochs", *epochs == 0), ("most steps", *max_steps == Some(0)), (verified, self.verify_every == Some(0))]
        {
            if is_none {
                problems.see::<()>(Err(Error::InvalidOption { option, value: "0".to_owned(), want: "at least 1" }));
            }
        }
        if !train.is_empty() {
            problems.see(Batches::new(train.len(), *batch_size, *seed));
        }
        problems.see(optimizer.check());
        problems.see(schedule.check());
        problems.see(plateau.map_or(Ok(()), |plateau| plateau.check()));
        problems.see(early_stopping.map_or(Ok(()), |stopping| stopping.check()));
        let pairs = problems.see(net.goes_with(*cost)).is_some();
        problems.see(cost.check_smoothing(*smoothing));
        for (data, call) in [(Some(train), "fit: training"), (test, "fit: held-out")] {
            let Some(data) = data else { continue };
            let fits = problems.see(net.fits(call, data)).is_some();
            // What a cost asks of its targets is of no use where they are of another network, or the cost is.
            if fits && pairs {
                problems.see(data.suits(call, *cost));
            }
        }
        problems.see(train.check_weights("fit: training"));
        let goal = test.map(|test| metrics::goal(test, *cost, false));
        let mut seen = Vec::new();
        for metric in self.watched() {
            if !seen.contains(&metric) {
                problems.see(metric.check(goal, net.outputs()));
                seen.push(metric);
            }
        }
        if let Some(checkpoints) = &self.checkpoints {
            problems.see(checkpoints.check());
        }
        problems.end()
    }
}
