//! Many networks of the same layers, trained on the same data at once.

#[cfg(not(test))]
mod recovery;
#[cfg(test)]
pub(crate) mod recovery;
mod training;

use crate::cpu::row_right;
use crate::data::Dataset;
use crate::error::{Error, Result};
use crate::kernel::Params;
use crate::metrics::Evaluation;
use crate::network::{Network, NetworkBuilder};
use crate::plan::PlanKind;
use crate::stopwatch::Stopwatch;
use crate::train::{History, Recovery, Trainer};
use crate::{Cost, Device, Optimizer};
use recovery::Kept;

/// `N` independent networks of the same layers, with other initial parameters, learning rates or orders of the data: the search for
/// a good learning rate, or an ensemble, for little more than the price of one small network.
///
/// On a GPU one dispatch trains all of them, one workgroup each, with the
/// [persistent plan](crate::plan::PlanKind::Persistent), or as many as the device has memory for; on the CPU they share the cores, one
/// network a thread, which gains nothing but what a small network leaves of the cores. Each network ends with the same bits as trained
/// alone by that plan. Where the persistent plan does not fit the device, or a step is too much for one workgroup (134 million
/// multiplications), or a member was given another plan or drops activations, or the optimisers are not all of one kind, they are
/// trained one after another.
///
/// A population has no checkpoints: it is a matter of seconds or minutes. Its networks have them afterwards, each as any other
/// ([`Network::save_async`], and [`Trainer::checkpoints`] where one is trained on).
///
/// ```
/// use wgrad::{Activation, Cost, Device, Network, Population, Sgd, data};
/// let (train, test) = data::synthetic_digits(1200, 1)?.split_at(1000)?;
/// let mut population = Population::new(&Device::cpu(), Cost::Quadratic).epochs(2);
/// for (seed, eta) in [(1, 0.3), (2, 1.0), (3, 3.0)] {
///     let net = Network::new(784).dense(20, Activation::Sigmoid).dense(10, Activation::Sigmoid).seed(seed);
///     population.add(net, Sgd::new(eta), seed)?;
/// }
/// let report = population.fit(&train)?;
/// for (net, member) in population.networks().iter().zip(&report.members) {
///     if let Ok(history) = member {
///         let cost = history.epochs[1].train_cost;
///         println!("cost {cost:.4}, {:.1} % right", 100.0 * net.evaluate(&test, Cost::Quadratic)?.accuracy);
///     }
/// }
/// println!("together {:.1} %", 100.0 * population.evaluate_ensemble(&test)?.accuracy);
/// # Ok::<(), wgrad::Error>(())
/// ```
#[derive(Debug)]
pub struct Population {
    device: Device,
    cost: Cost,
    batch_size: usize,
    epochs: usize,
    smoothing: f32,
    recovery: Recovery,
    networks: Vec<Network>,
    options: Vec<Options>,
}

/// What a member has of its own.
#[derive(Debug, Clone, Copy)]
struct Options {
    optimizer: Optimizer,
    seed: u64,
}

/// What [`Population::fit_async`] did.
#[derive(Debug)]
pub struct PopulationReport {
    /// One result a network, in the order they were added: its history, or [`Error::Diverged`]. One that diverges does not hold the
    /// others up.
    pub members: Vec<Result<History>>,
    /// Networks that were trained at once.
    pub at_once: usize,
    /// The kind of plan.
    pub plan: PlanKind,
    /// Time the training took, in seconds.
    pub seconds: f64,
    /// How often the device failed and the networks were put on another ([`Population::recovery`]).
    pub recovered: usize,
}

impl Population {
    /// An empty population, with the notes' habits: mini-batches of 10 rows, 30 epochs.
    #[must_use]
    pub fn new(device: &Device, cost: Cost) -> Self {
        let (networks, options, recovery) = (Vec::new(), Vec::new(), Recovery::default());
        Self { device: device.clone(), cost, batch_size: 10, epochs: 30, smoothing: 0.0, recovery, networks, options }
    }

    /// Rows a mini-batch, of every network; at least 1.
    #[must_use]
    pub const fn batch_size(mut self, rows: usize) -> Self {
        self.batch_size = rows;
        self
    }

    /// How many times every network goes through the data; at least 1.
    #[must_use]
    pub const fn epochs(mut self, epochs: usize) -> Self {
        self.epochs = epochs;
        self
    }

    /// Label smoothing of every network, as [`Trainer::label_smoothing`]; none unless set.
    #[must_use]
    pub const fn label_smoothing(mut self, eps: f32) -> Self {
        self.smoothing = eps;
        self
    }

    /// Adds a network: its layers and initial parameters, its optimiser, and the seed of the order in which each epoch takes the
    /// rows. The number of networks is limited by the device's memory alone.
    ///
    /// # Errors
    /// [`Error::Architecture`] for other layers than those of the first; [`Error::InvalidOption`] for an optimiser that cannot be;
    /// [`Error::Pairing`]; what [`NetworkBuilder::build`] reports.
    pub fn add(&mut self, network: NetworkBuilder, optimizer: impl Into<Optimizer>, seed: u64) -> Result<()> {
        let optimizer = optimizer.into();
        optimizer.check()?;
        let network = network.build(&self.device)?;
        if let Some(first) = self.networks.first()
            && first.layers() != network.layers()
        {
            let problem = format!(
                "network {} of the population has other layers than the first ({:?} and {:?} neurons, or other activations)",
                self.networks.len() + 1,
                network.sizes(),
                first.sizes()
            );
            return Err(Error::Architecture { problem });
        }
        if let Some(last) = network.layers().last() {
            self.cost.check(last.activation)?;
        }
        self.networks.push(network);
        self.options.push(Options { optimizer, seed });
        Ok(())
    }

    /// The networks, in the order they were added.
    #[must_use]
    pub fn networks(&self) -> &[Network] {
        &self.networks
    }

    /// The networks, to keep some of them.
    #[must_use]
    pub fn into_networks(self) -> Vec<Network> {
        self.networks
    }

    /// Trains every network on the data.
    ///
    /// # Errors
    /// [`Error::Empty`] for a population without networks; those of [`Trainer::check`]; [`Error::OutOfMemory`]; [`Error::NotRecovered`] and
    /// [`Error::ParametersLost`] where the device failed (see [`recovery`](Self::recovery)); what the device reports. A network that diverges is
    /// no error here: it is in the report.
    pub async fn fit_async(&mut self, data: &Dataset) -> Result<PopulationReport> {
        let Some(first) = self.networks.first() else {
            return Err(Error::Empty { what: "fit: the population".to_owned() });
        };
        self.trainer(0).check(first, data, None)?;
        let watch = Stopwatch::start();
        let mut kept = Kept::of(&self.recovery, &self.device, &self.networks).await?;
        let mut report = loop {
            let ended = match kept.failed.take() {
                Some(error) => Err(error),
                None => self.attempt(data, &mut kept).await,
            };
            match ended {
                Ok(report) => break report,
                Err(error) => {
                    let cause = kept.cause(error)?;
                    self.recover(cause, &mut kept).await?;
                }
            }
        };
        report.seconds = watch.elapsed().as_secs_f64();
        report.recovered = kept.recovered;
        Ok(report)
    }

    /// The mean output of all networks for each row of `x` (rows, inputs).
    ///
    /// # Errors
    /// [`Error::Empty`] for a population without networks; as [`Network::predict_async`].
    pub async fn predict_async(&self, x: &[f32]) -> Result<Vec<f32>> {
        let mut sum: Vec<f32> = Vec::new();
        for network in &self.networks {
            let outputs = network.predict_async(x).await?;
            if sum.is_empty() {
                sum = outputs;
            } else {
                sum.iter_mut().zip(outputs).for_each(|(sum, output)| *sum += output);
            }
        }
        if sum.is_empty() {
            return Err(Error::Empty { what: "predict: the population".to_owned() });
        }
        #[allow(clippy::cast_precision_loss, reason = "a count of networks is far below 2^24")]
        let count = self.networks.len() as f32;
        sum.iter_mut().for_each(|sum| *sum /= count);
        Ok(sum)
    }

    /// How many rows the mean output of all networks has right (see [`Evaluation::accuracy`]), and its quadratic cost.
    ///
    /// # Errors
    /// As [`predict_async`](Self::predict_async), and [`Error::Shape`] for data of other columns.
    pub async fn evaluate_ensemble_async(&self, data: &Dataset) -> Result<Evaluation> {
        const CHUNK: usize = 1000;
        let Some(first) = self.networks.first() else {
            return Err(Error::Empty { what: "evaluate: the population".to_owned() });
        };
        first.fits("evaluate", data)?;
        let activation = first.layers().last().map_or(0, |last| last.activation.code());
        let p = Params { activation, ..Params::default() };
        let (mut right, mut cost) = (0_usize, 0.0_f64);
        for start in (0..data.len()).step_by(CHUNK) {
            #[allow(clippy::cast_possible_truncation, reason = "a data set has fewer than 2^32 rows")]
            let rows: Vec<_> = (start..data.len().min(start + CHUNK)).map(|row| row as u32).collect();
            let mut x = vec![0.0; rows.len() * first.inputs()];
            let mut y = vec![0.0; rows.len() * first.outputs()];
            data.copy_inputs(&rows, &mut x)?;
            data.copy_targets(&rows, &mut y)?;
            let outputs = self.predict_async(&x).await?;
            for (a, y) in outputs.chunks(first.outputs()).zip(y.chunks(first.outputs())) {
                right += usize::from(row_right(&p, y, a));
                cost += a.iter().zip(y).map(|(&a, &y)| 0.5 * f64::from(a - y).powi(2)).sum::<f64>();
            }
        }
        #[allow(clippy::cast_precision_loss, reason = "a count of rows is far below 2^53")]
        let rows = data.len() as f64;
        #[allow(clippy::cast_precision_loss, reason = "a count of rows is far below 2^53")]
        let accuracy = right as f64 / rows;
        Ok(Evaluation::new(cost / rows, accuracy, data.len()))
    }

    fn trainer(&self, member: usize) -> Trainer<'static> {
        let Options { optimizer, seed } = self.options[member];
        let trainer = Trainer::new(self.cost, optimizer).batch_size(self.batch_size).epochs(self.epochs);
        trainer.seed(seed).label_smoothing(self.smoothing).recovery(self.recovery.clone())
    }
}

#[cfg(all(feature = "blocking", not(target_arch = "wasm32")))]
impl Population {
    /// Blocking form of [`fit_async`](Self::fit_async).
    ///
    /// # Errors
    /// As there.
    pub fn fit(&mut self, data: &Dataset) -> Result<PopulationReport> {
        crate::blocking::block_on(self.fit_async(data))
    }

    /// Blocking form of [`predict_async`](Self::predict_async).
    ///
    /// # Errors
    /// As there.
    pub fn predict(&self, x: &[f32]) -> Result<Vec<f32>> {
        crate::blocking::block_on(self.predict_async(x))
    }

    /// Blocking form of [`evaluate_ensemble_async`](Self::evaluate_ensemble_async).
    ///
    /// # Errors
    /// As there.
    pub fn evaluate_ensemble(&self, data: &Dataset) -> Result<Evaluation> {
        crate::blocking::block_on(self.evaluate_ensemble_async(data))
    }
}
