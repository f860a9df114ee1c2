//! Many networks of the same layers, trained on the same data at once.

#[cfg(not(test))]
mod recovery;
#[cfg(test)]
pub(crate) mod recovery;

use std::ops::ControlFlow;

use crate::cpu::row_right;
use crate::data::{Batches, Dataset};
use crate::error::{Error, Result};
use crate::feed::Feed;
use crate::kernel::Params;
use crate::metrics::Evaluation;
use crate::network::{AtRest, Network, NetworkBuilder};
use crate::plan::{Dropout, Goal, Plan, PlanKind, Request};
use crate::session::{Resident, Stopwatch};
use crate::train::{History, Recovery, StopReason, Trainer, report};
use crate::{Cost, Device, Optimizer};
use recovery::Kept;

/// `N` independent networks of the same layers, with other initial parameters, learning rates or orders of the data: the search for
/// a good learning rate, or an ensemble, for little more than the price of one small network.
///
/// On a GPU one dispatch trains all of them, one workgroup each, with the
/// [persistent plan](crate::plan::PlanKind::Persistent); on the CPU they share the cores, one network a thread. Each network ends with
/// the same bits as trained alone by that plan. Where the persistent plan does not fit the device, or the optimisers are not all of one kind, they are trained one after another.
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

    /// Trains what is not done yet, on the device of now.
    async fn attempt(&mut self, data: &Dataset, kept: &mut Kept) -> Result<PopulationReport> {
        if self.device.kind() == "cpu" {
            self.on_threads(data, kept).await
        } else {
            let first = &self.networks[0];
            let feed = Feed::to_train(data, self.cost, self.smoothing);
            let rows = self.batch_size.min(data.len());
            let layers = first.layers().to_vec();
            // One plan trains all of them, so it has to be right for each.
            let update = self.options[0].optimizer.update();
            let alike = self.options.iter().all(|options| options.optimizer.update() == update);
            let drops = self.networks.iter().any(|network| !network.dropout().is_off());
            let dropout = Dropout::default();
            let request = first.request(Goal::Train, self.cost, feed.source, rows);
            let request = Request { layers: &layers, update, dropout, emphasis: feed.emphasis, ..request };
            // One order a network: what is streamed is sent to each alone.
            let at_once = if alike && !drops && feed.fits(&request.limits) {
                groups(&request, self.networks.len())
            } else {
                None
            };
            match at_once {
                Some(at_once) => self.on_workgroups(&request, &feed, at_once, kept).await,
                None => self.one_by_one(data, kept).await,
            }
        }
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

    /// As [`trainer`](Self::trainer), to go on after the epochs that were kept; what became of the network where it is to train no more.
    fn trainer_on(&self, member: usize, data: &Dataset, kept: &Kept) -> Result<Trainer<'static>, Error> {
        let trainer = self.trainer(member);
        match kept.under_way.get(member - kept.done.len()) {
            Some(so_far) => {
                let history = recovery::copy(so_far)?;
                Ok(trainer.going_on(&self.networks[member], data, history, kept.epochs))
            }
            None => Ok(trainer),
        }
    }

    /// On a GPU, so many at once.
    async fn on_workgroups(
        &mut self,
        request: &Request<'_>,
        feed: &Feed,
        at_once: usize,
        kept: &mut Kept,
    ) -> Result<PopulationReport> {
        while kept.done.len() < self.networks.len() {
            let first = kept.done.len();
            let group = first..self.networks.len().min(first + at_once);
            let plan = Plan::population(request, group.len())?;
            let mut engine = self.device.engine();
            let mut resident = Resident::open_population(&mut engine, plan, feed)?;
            let trained = self.train_group(&mut engine, &mut resident, group, kept).await;
            resident.close(&mut engine);
            kept.finish(trained?);
        }
        let members = std::mem::take(&mut kept.done);
        Ok(PopulationReport { members, at_once, plan: PlanKind::Persistent, seconds: 0.0, recovered: 0 })
    }

    /// The members of one dispatch: their parameters to the device, epoch after epoch, and back. It begins after the epochs that were
    /// kept.
    async fn train_group(
        &mut self,
        engine: &mut crate::backend::Engine,
        resident: &mut Resident,
        group: std::ops::Range<usize>,
        kept: &mut Kept,
    ) -> Result<Vec<Result<History>>> {
        use crate::plan::Role;
        let steps = resident.steps();
        let mut batches = Vec::with_capacity(group.len());
        for (place, member) in group.clone().enumerate() {
            // An optimiser of another kind than the last begins with nothing, in the network as in the plan's buffers.
            self.networks[member].prepare(self.options[member].optimizer)?;
            let AtRest { parameters, .. } = &kept.networks[member];
            resident.session().write_of(engine, Role::Parameters, place, bytemuck::cast_slice(parameters))?;
            let remembered = self.networks[member].remembers(&kept.networks[member]);
            resident.session().write_of(engine, Role::State, place, bytemuck::cast_slice(&remembered))?;
            batches.push(Batches::new(resident.len(), self.batch_size, self.options[member].seed)?);
        }
        let mut members: Vec<Result<History>> = group.clone().map(|_| Ok(History::default())).collect();
        for (member, so_far) in members.iter_mut().zip(&kept.under_way) {
            *member = recovery::copy(so_far);
        }
        let before = kept.epochs;
        for epoch in before + 1..=self.epochs {
            let watch = Stopwatch::start();
            for (place, member) in group.clone().enumerate() {
                let taken = self.networks[member].optimizer_steps() + ((epoch - 1 - before) * steps) as u64;
                let optimizer = self.options[member].optimizer;
                let hyper: Vec<f32> = (taken + 1..).take(steps).flat_map(|step| optimizer.hyper(step, 1.0)).collect();
                resident.start_of(engine, place, &batches[place].order(epoch as u64 - 1), &hyper, taken)?;
            }
            let _ = resident.walk(engine, |_| {}, steps, || false, |_| ControlFlow::Continue(())).await?;
            let scores = resident.scores_of_all(engine).await?;
            let seconds = watch.elapsed().as_secs_f64();
            for ((member, scores), options) in members.iter_mut().zip(&scores).zip(&self.options[group.clone()]) {
                // A network that has diverged goes on computing, for nothing, until the others are done.
                let Ok(history) = member else { continue };
                match report(epoch, steps, seconds, scores, options.optimizer.eta().into()) {
                    Ok(report) => history.epochs.push(report),
                    Err(diverged) => *member = Err(diverged),
                }
            }
            if epoch < self.epochs && kept.is_due(&self.recovery) {
                let rests = self.group_at_rest(engine, resident, group.clone(), (epoch - before) * steps).await?;
                kept.keep(group.start, rests, epoch, &members);
            }
        }
        let rests = self.group_at_rest(engine, resident, group.clone(), (self.epochs - before) * steps).await?;
        for ((member, rest), result) in group.clone().zip(&rests).zip(&mut members) {
            let AtRest { parameters, memory, taken, .. } = rest;
            // Costs are taken before each step, so only the parameters can tell that the last one was too large.
            if result.is_ok() && !parameters.iter().all(|w| w.is_finite()) {
                *result = Err(Error::Diverged { epoch: self.epochs, step: steps, cost: f32::NAN });
            }
            if let Ok(history) = result {
                history.stop = Some(StopReason::Epochs);
            }
            self.networks[member].put(parameters, memory, *taken)?;
        }
        kept.networks.splice(group, rests);
        Ok(members)
    }

    /// The members of one dispatch, so many steps after their networks were read.
    async fn group_at_rest(
        &self,
        engine: &mut crate::backend::Engine,
        resident: &Resident,
        group: std::ops::Range<usize>,
        steps: usize,
    ) -> Result<Vec<AtRest>> {
        use crate::plan::Role;
        let first = &self.networks[group.start];
        let (len, remembered) = (first.parameter_count(), first.memory_len());
        let all = resident.session().read(engine, Role::Parameters, len * group.len()).await?;
        let memory = resident.session().read(engine, Role::State, remembered * group.len()).await?;
        let numbers = |words: &[u32]| words.iter().copied().map(f32::from_bits).collect();
        let rest = |(place, member): (usize, usize)| {
            let (parameters, memory) = (&all[place * len..][..len], &memory[place * remembered..][..remembered]);
            let network = &self.networks[member];
            network.at_rest_with(numbers(parameters), numbers(memory), network.optimizer_steps() + steps as u64)
        };
        Ok(group.enumerate().map(rest).collect())
    }

    /// Where the persistent plan does not fit.
    async fn one_by_one(&mut self, data: &Dataset, kept: &mut Kept) -> Result<PopulationReport> {
        while kept.done.len() < self.networks.len() {
            let member = kept.done.len();
            let result = match self.trainer_on(member, data, kept) {
                Ok(mut trainer) => {
                    let fitted = own(trainer.fit_async(&mut self.networks[member], data, None).await);
                    if !kept.networks.is_empty() {
                        self.follow(member, kept)?;
                    }
                    fitted?
                }
                Err(diverged) => Err(diverged),
            };
            if let Some(rest) = kept.networks.get_mut(member) {
                *rest = self.networks[member].at_rest_async().await?;
                self.networks[member].note(rest);
            }
            kept.finish([result]);
        }
        let (plan, members) = (self.networks[0].plan(self.batch_size).0, std::mem::take(&mut kept.done));
        Ok(PopulationReport { members, at_once: 1, plan, seconds: 0.0, recovered: 0 })
    }

    /// On the CPU: each core takes the next network that nobody has.
    #[cfg(all(feature = "blocking", not(target_arch = "wasm32")))]
    #[allow(clippy::unused_async, reason = "the other form waits")]
    async fn on_threads(&mut self, data: &Dataset, kept: &mut Kept) -> Result<PopulationReport> {
        use std::sync::Mutex;
        let left = kept.done.len()..self.networks.len();
        let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get).min(left.len());
        let trainers: Vec<_> = left.clone().map(|member| self.trainer_on(member, data, kept)).collect();
        let waiting = Mutex::new(self.networks[left].iter_mut().zip(trainers).enumerate());
        let work = || {
            let mut done = Vec::new();
            loop {
                let next = waiting.lock().unwrap_or_else(std::sync::PoisonError::into_inner).next();
                let Some((member, (network, trainer))) = next else { return done };
                done.push((member, trainer.and_then(|mut trainer| trainer.fit(network, data, None))));
            }
        };
        let mut done: Vec<_> = std::thread::scope(|scope| {
            let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
            let mut done = work();
            for other in others {
                match other.join() {
                    Ok(more) => done.extend(more),
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
            done
        });
        done.sort_by_key(|(member, _)| *member);
        kept.finish(done.into_iter().map(|(_, result)| own(result)).collect::<Result<Vec<_>>>()?);
        let (plan, members) = (self.networks[0].plan(self.batch_size).0, std::mem::take(&mut kept.done));
        Ok(PopulationReport { members, at_once: threads, plan, seconds: 0.0, recovered: 0 })
    }

    #[cfg(not(all(feature = "blocking", not(target_arch = "wasm32"))))]
    async fn on_threads(&mut self, data: &Dataset, kept: &mut Kept) -> Result<PopulationReport> {
        self.one_by_one(data, kept).await
    }
}

/// A member's own failure, apart from what ends the whole run.
fn own(result: Result<History>) -> Result<Result<History>> {
    match result {
        Err(error @ Error::Diverged { .. }) => Ok(Err(error)),
        Err(error) => Err(error),
        Ok(history) => Ok(Ok(history)),
    }
}

/// How many networks one dispatch can train: all, or as large a part as the limits of buffers allow; `None` if not even one.
fn groups(request: &Request<'_>, networks: usize) -> Option<usize> {
    let mut at_once = networks;
    while at_once > 0 {
        if Plan::population(request, at_once).is_ok() {
            return Some(at_once);
        }
        at_once /= 2;
    }
    None
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
