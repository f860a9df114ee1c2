//! What is stored of a run: with it, training goes on as if it had never been interrupted.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::recovery::Recovery;
use super::run::{Later, Training};
use super::stopping::{Slowed, Watch};
use super::{History, Metric, Settings, Trainer};
use crate::checkpoint::{self, BYTES, Tensors, Writer};
use crate::data::Dataset;
use crate::error::{Error, Result};
use crate::network::{AtRest, Network, Stored, at_path, check_parameters};
use crate::{Device, Optimizer};

/// The tensor that has the text of [`State`].
pub(crate) const TRAINING: &str = "training";

/// The run, but for arrays.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct State {
    pub(super) settings: Settings,
    pub(super) place: Position,
    /// The kind of optimiser that the network's memory is of, and its steps.
    pub(super) optimizer: String,
    pub(super) optimizer_steps: u64,
    pub(super) slowed: Slowed,
    pub(super) slowest: bool,
    pub(super) record: Record,
    /// Of a run that ended within an epoch: whether it was best then, and left the parameters of now.
    #[serde(default)]
    pub(super) is_best: bool,
    pub(super) train: Identity,
    pub(super) test: Option<Identity>,
}

/// How far a run has come. The order of the examples follows from the seed and the epoch, so that this is its place in it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Position {
    /// Epochs that are done.
    pub(super) epoch: usize,
    /// Steps of the next that are done, or handed to the device.
    pub(super) step: usize,
    /// Time that these took, in seconds.
    pub(super) seconds: f64,
    /// Steps of the whole run.
    pub(super) steps: u64,
}

/// What a run has seen so far, of which its end hangs.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Record {
    pub(super) history: History,
    /// Of early stopping.
    pub(super) waiting: Watch,
    /// Of the parameters that are kept for the end.
    pub(super) best: Watch,
    /// Of the file of the best epoch, and by which metric.
    pub(super) kept: Watch,
    pub(super) kept_by: Option<Metric>,
    /// Time since it began, in seconds.
    pub(super) elapsed: f64,
    /// The parameters of the best epoch; a tensor of its own in the file.
    #[serde(skip)]
    pub(super) best_parameters: Vec<f32>,
    /// What the optimiser remembered then, in tensors too, and after how many steps.
    #[serde(skip)]
    pub(super) best_memory: Vec<f32>,
    pub(super) best_steps: u64,
}

/// By what a data set is known again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Identity {
    rows: usize,
    crc32: u32,
}

impl Identity {
    pub(super) fn of(data: &Dataset) -> Self {
        Self { rows: data.len(), crc32: data.fingerprint() }
    }
}

/// All of a run that changes while it goes on.
#[derive(Debug, Clone)]
pub(super) struct Rest {
    pub(super) net: AtRest,
    pub(super) place: Position,
    pub(super) record: Record,
    pub(super) slowed: Slowed,
    pub(super) slowest: bool,
    /// Whether a run that ended within an epoch was best then.
    pub(super) is_best: bool,
    /// Cost and right answers of each step of the epoch under way.
    pub(super) scores: Vec<u32>,
}

/// A run at rest, with its network, as a file has it.
#[derive(Debug)]
pub(crate) struct Snapshot {
    pub(crate) network: Stored,
    pub(crate) parameters: Vec<f32>,
    pub(super) state: State,
    /// What the optimiser remembers.
    pub(super) memory: Vec<f32>,
    /// Cost and right answers of each step of the epoch under way.
    pub(super) scores: Vec<f32>,
}

/// What a trainer goes on with; the rest is in the network.
#[derive(Debug, Clone)]
pub(super) struct Resumed {
    pub(super) state: State,
    pub(super) scores: Vec<u32>,
}

/// The arenas that an optimiser remembers, in their order.
const fn arenas(optimizer: Optimizer) -> &'static [&'static str] {
    match optimizer {
        Optimizer::Sgd(_) => &[],
        Optimizer::Momentum(_) | Optimizer::Nesterov(_) => &["optimizer.m."],
        Optimizer::RmsProp(_) => &["optimizer.v."],
        Optimizer::Adam(_) | Optimizer::AdamW(_) => &["optimizer.m.", "optimizer.v."],
    }
}

/// What an optimiser remembers, if it can have come to that: a mean of squares, `v`, is not below 0, and nothing is NaN.
fn remembered(name: &str, arena: Vec<f32>) -> Result<Vec<f32>, String> {
    let least = if name.ends_with("v.") { 0.0 } else { f32::NEG_INFINITY };
    match arena.iter().position(|&x| x.is_nan() || x < least) {
        Some(at) => Err(format!("number {at} of '{name}' is {}, which no optimiser remembers", arena[at])),
        None => Ok(arena),
    }
}

impl Snapshot {
    /// The bytes of a checkpoint.
    pub(super) fn to_bytes(&self) -> Result<Vec<u8>> {
        self.write().map_err(|problem| Error::file(BYTES, problem))
    }

    fn write(&self) -> Result<Vec<u8>, String> {
        let Self { network, parameters, state, memory, scores } = self;
        check_parameters(parameters)?;
        let layers = network.layers()?;
        let mut writer = Writer::default();
        checkpoint::put_arena(&mut writer, "", &layers, parameters);
        let len = parameters.len();
        for (name, arena) in arenas(state.settings.optimizer).iter().zip(memory.chunks(len)) {
            checkpoint::put_arena(&mut writer, name, &layers, arena);
        }
        if !state.record.best_parameters.is_empty() {
            checkpoint::put_arena(&mut writer, "best.", &layers, &state.record.best_parameters);
            for (name, arena) in arenas(state.settings.optimizer).iter().zip(state.record.best_memory.chunks(len)) {
                checkpoint::put_arena(&mut writer, &format!("best.{name}"), &layers, arena);
            }
        }
        if !scores.is_empty() {
            writer.numbers("scores".to_owned(), vec![scores.len() / 2, 2], scores);
        }
        let text = serde_json::to_string(state).map_err(|error| error.to_string())?;
        writer.text(TRAINING, text);
        writer.finish(network)
    }

    /// The network that the run left, or that it had come to.
    pub(crate) fn into_network(self) -> (Stored, Vec<f32>) {
        let State { record: Record { history, best_parameters, .. }, is_best, .. } = self.state;
        let is_over = history.stop.is_some() && !best_parameters.is_empty();
        (self.network, if is_over && !is_best { best_parameters } else { self.parameters })
    }

    /// What the bytes of a checkpoint say, or what is wrong with them.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, String> {
        let (mut tensors, network, _) = Tensors::checkpoint::<Stored>(bytes)?;
        if !tensors.has(TRAINING) {
            return Err("it has a network alone, and no run to go on with; Network::load takes it".to_owned());
        }
        let layers = network.layers()?;
        let mut state: State = tensors.json(TRAINING)?;
        let parameters = checkpoint::take_arena(&mut tensors, "", &layers)?;
        check_parameters(&parameters)?;
        let mut memory = Vec::new();
        for name in arenas(state.settings.optimizer) {
            memory.extend(remembered(name, checkpoint::take_arena(&mut tensors, name, &layers)?)?);
        }
        if state.record.best.best.is_some() {
            state.record.best_parameters = checkpoint::take_arena(&mut tensors, "best.", &layers)?;
            check_parameters(&state.record.best_parameters)?;
            for name in arenas(state.settings.optimizer) {
                let arena = checkpoint::take_arena(&mut tensors, &format!("best.{name}"), &layers)?;
                state.record.best_memory.extend(remembered(name, arena)?);
            }
        }
        let step = state.place.step;
        let scores = if step > 0 { tensors.numbers("scores", &[step, 2])? } else { Vec::new() };
        tensors.finish()?;
        state.check()?;
        Ok(Self { network, parameters, state, memory, scores })
    }
}

impl State {
    /// What would make no sense, though it can be read.
    fn check(&self) -> Result<(), String> {
        let Position { epoch, step, steps, seconds } = self.place;
        if self.optimizer != self.settings.optimizer.name() {
            return Err("the memory of its optimiser is of another kind than the optimiser".to_owned());
        }
        if (step as u64) > self.optimizer_steps || (step as u64) > steps {
            return Err("it has done more steps of an epoch than steps".to_owned());
        }
        let counts = [steps, self.optimizer_steps, self.record.best_steps];
        if epoch > usize::MAX / 2 || counts.iter().any(|&count| count > u64::MAX / 2) {
            return Err("its counts of epochs and steps are beyond all bounds".to_owned());
        }
        let is_time = |seconds: f64| (0.0..1e12).contains(&seconds);
        if !(is_time(seconds) && is_time(self.record.elapsed)) {
            return Err("its times are none".to_owned());
        }
        if !(self.slowed.factor >= 0.0 && self.slowed.factor <= 1.0) {
            return Err("its plateau's factor is not between 0 and 1".to_owned());
        }
        Ok(())
    }

    /// Whether this run can go on with such settings and data, on a network that has taken so many steps.
    pub(super) fn suits(
        &self,
        settings: &Settings,
        [train, test]: [Option<Identity>; 2],
        taken: u64,
        steps_per_epoch: usize,
    ) -> Result<()> {
        let other = |option, value: &str, want| Err(Error::InvalidOption { option, value: value.to_owned(), want });
        if train != Some(self.train) {
            return other("training data", "another data set", "the one that the resumed run was trained on");
        }
        if test.is_some() && self.test.is_some() && test != self.test {
            return other("held-out data", "another data set", "the one that the resumed run was evaluated on");
        }
        if taken != self.optimizer_steps {
            let want = "the one that Trainer::resume gave, as it was then";
            return other("network of the resumed run", "another network, or trained on since", want);
        }
        let (now, then) = (settings, &self.settings);
        if self.place.step > 0 && (now.batch_size, now.seed) != (then.batch_size, then.seed) {
            let want = "as it was, since the run was saved within an epoch";
            return other("batch size or seed of the resumed run", "changed", want);
        }
        if self.place.step > steps_per_epoch {
            return other("step of the resumed run", "past the end of its epoch", "within it");
        }
        Ok(())
    }

    /// What the run has seen, as far as the settings still ask for it.
    pub(super) fn record_for(&self, settings: &Settings) -> Record {
        let mut record = self.record.clone();
        if settings.keeps() != self.settings.keeps() {
            (record.best, record.best_parameters) = (Watch::default(), Vec::new());
            (record.best_memory, record.best_steps) = (Vec::new(), 0);
        }
        let waits = |settings: &Settings| settings.early_stopping.map(|stopping| stopping.metric);
        if waits(settings) != waits(&self.settings) {
            record.waiting = Watch::default();
        }
        record
    }
}

impl Rest {
    /// What a file says of this run of this network.
    pub(super) fn snapshot(
        &self,
        network: &Network,
        settings: &Settings,
        [train, test]: [Option<Identity>; 2],
    ) -> Result<Snapshot> {
        let Position { epoch, step, .. } = self.place;
        let scores: Vec<f32> = self.scores.iter().copied().map(f32::from_bits).collect();
        let (costs, _): (&[[f32; 2]], _) = scores.as_chunks();
        if let Some((at, [cost, _])) = costs.iter().enumerate().find(|(_, [cost, _])| !cost.is_finite()) {
            return Err(Error::Diverged { epoch: epoch + 1, step: at + 1, cost: *cost });
        }
        if !self.net.is_finite() {
            return Err(Error::Diverged { epoch: epoch + 1, step, cost: f32::NAN });
        }
        settings.check_storable()?;
        let AtRest { parameters, memory, taken, .. } = self.net.clone();
        let state = State {
            settings: settings.clone(),
            place: self.place,
            optimizer: settings.optimizer.name().to_owned(),
            optimizer_steps: taken,
            slowed: self.slowed,
            slowest: self.slowest,
            record: self.record.clone(),
            is_best: self.is_best,
            train: train.ok_or_else(|| Error::file(BYTES, "the data of this run are not known"))?,
            test,
        };
        Ok(Snapshot { network: Stored::of(network), parameters, state, memory, scores })
    }
}

impl Training<'_> {
    /// The run as it is, after all that was handed to the device.
    pub(super) async fn rest(&mut self) -> Result<Rest> {
        self.has_not_ended()?;
        // While there is no device, it is what it will go on from.
        if let Some(kept) = self.slices.as_ref().and_then(|slices| slices.kept()) {
            return Ok(kept.clone());
        }
        self.rest_later().await
    }

    /// As [`rest`](Self::rest): it is asked for now.
    pub(super) fn rest_later(&mut self) -> Later<Rest> {
        let scores = (self.place.step > 0).then(|| self.score_words());
        let net = self.network().at_rest_async();
        let rest = self.rest_with(AtRest::default(), Vec::new());
        Box::pin(async move {
            let scores = match scores {
                Some(words) => words.await?,
                None => Vec::new(),
            };
            Ok(Rest { net: net.await?, scores, ..rest })
        })
    }

    /// As [`rest`](Self::rest), where the host has the numbers.
    pub(super) fn rest_with(&self, net: AtRest, scores: Vec<u32>) -> Rest {
        let (place, record) = (self.place, self.record.clone());
        let (slowed, slowest) = (self.pace.slowed, self.pace.slowest);
        Rest { net, place, record, slowed, slowest, is_best: false, scores }
    }

    /// The run, with its network, as the bytes of a checkpoint: what [`Trainer::resume`] goes on with. It can be taken at any
    /// moment, also in the middle of an epoch; this waits until the device has done what it was given.
    ///
    /// # Errors
    /// [`Error::Diverged`] if the parameters are no numbers any more; what the device reports.
    pub async fn to_bytes_async(&mut self) -> Result<Vec<u8>> {
        let rest = self.rest().await?;
        self.bytes_of(&rest)
    }

    /// What it was at rest, as the bytes of a checkpoint.
    pub(super) fn bytes_of(&self, rest: &Rest) -> Result<Vec<u8>> {
        rest.snapshot(self.network(), &self.settings, [self.train, self.test])?.to_bytes()
    }

    /// Writes [`to_bytes`](Self::to_bytes_async) to a file, of which there is always a whole one, as with
    /// [`Network::save`](Network::save_async).
    ///
    /// ```
    /// # #[cfg(feature = "blocking")] {
    /// use std::time::Duration;
    /// use wgrad::{Activation, Adam, Cost, Device, Network, Trainer, data};
    /// let (digits, device) = (data::synthetic_digits(500, 1)?, Device::cpu());
    /// let mut net = Network::new(784).dense(10, Activation::Sigmoid).build(&device)?;
    /// let mut run = Trainer::new(Cost::BinaryCrossEntropy, Adam::new(0.01)).start(&mut net, &digits)?;
    /// run.step_for(Duration::from_millis(4))?;
    /// let file = std::env::temp_dir().join(format!("wgrad training {}.safetensors", std::process::id()));
    /// run.save(&file)?;
    ///
    /// // Later, in another process:
    /// let (mut net, trainer) = Trainer::resume(&file, &device)?;
    /// let mut run = trainer.start(&mut net, &digits)?;
    /// run.step_for(Duration::from_millis(4))?;
    /// # std::fs::remove_file(&file).expect("it was there");
    /// # }
    /// # Ok::<(), wgrad::Error>(())
    /// ```
    ///
    /// # Errors
    /// As there; [`Error::Io`] and [`Error::File`] for a path that cannot be written.
    pub async fn save_async(&mut self, path: impl AsRef<Path>) -> Result<()> {
        checkpoint::save(path.as_ref(), &self.to_bytes_async().await?)
    }

    /// Blocking form of [`to_bytes_async`](Self::to_bytes_async).
    ///
    /// # Errors
    /// As there.
    #[cfg(all(feature = "blocking", not(target_arch = "wasm32")))]
    pub fn to_bytes(&mut self) -> Result<Vec<u8>> {
        crate::blocking::block_on(self.to_bytes_async())
    }

    /// Blocking form of [`save_async`](Self::save_async).
    ///
    /// # Errors
    /// As there.
    #[cfg(all(feature = "blocking", not(target_arch = "wasm32")))]
    pub fn save(&mut self, path: impl AsRef<Path>) -> Result<()> {
        crate::blocking::block_on(self.save_async(path))
    }
}

impl Trainer<'_> {
    /// The network and the trainer of a run that was saved ([`Checkpoints`](crate::Checkpoints), [`Training::save`](Training::save_async)), to
    /// go on with: [`fit`](Self::fit_async), or [`start`](Self::start), continues it on the same data.
    ///
    /// On a device of the same kind, with the same driver and plan, it continues **bit for bit** as if it had never been
    /// interrupted, at an epoch's end as in its middle: parameters, what the optimiser remembers, the order of the data, dropout,
    /// schedules, early stopping, and the history but for its times. On another device it continues with the same state, and other
    /// roundings. A run that had come to its end ends again at once, unless it is given more, as by [`epochs`](Self::epochs).
    ///
    /// All settings come from the file. The methods of a trainer change them, but cost and optimiser, which stay; what stops the run
    /// (early stopping, a plateau, steps, time) can be replaced, and not taken away. Five things are not stored, and are given again
    /// where they are wanted: [`on_event`](Self::on_event), [`checkpoints`](Self::checkpoints), [`recovery`](Self::recovery),
    /// [`verify_every`](Self::verify_every), and a [`Schedule::custom`](crate::Schedule::custom), without which the run does not start.
    ///
    /// Where [`fit`](Self::fit_async) fails on its way, the trainer is as before: it refuses the network that has moved on since, and
    /// the file is to be resumed once more.
    ///
    /// ```
    /// # #[cfg(feature = "blocking")] {
    /// use wgrad::{Activation, Adam, Checkpoints, Cost, Device, Network, Trainer, data};
    /// let ((train, test), device) = (data::synthetic_digits(300, 1)?.split_at(200)?, Device::cpu());
    /// let file = std::env::temp_dir().join(format!("wgrad resume {}.safetensors", std::process::id()));
    /// let mut net = Network::new(784).dense(10, Activation::Sigmoid).build(&device)?;
    /// let trainer = Trainer::new(Cost::BinaryCrossEntropy, Adam::new(0.01)).epochs(2);
    /// trainer.checkpoints(Checkpoints::new(&file)).fit(&mut net, &train, Some(&test))?;
    ///
    /// let (mut net, trainer) = Trainer::resume(&file, &device)?;
    /// let history = trainer.epochs(3).fit(&mut net, &train, Some(&test))?;
    /// assert_eq!(history.epochs.len(), 3); // two of them from before
    /// # std::fs::remove_file(&file).expect("it was there");
    /// # }
    /// # Ok::<(), wgrad::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::File`] for what is no such file, or damaged, or of a later format, or a network alone;
    /// [`Error::Limit`] and [`Error::OutOfMemory`] if the device cannot hold it; what the device reports.
    pub fn resume(path: impl AsRef<Path>, device: &Device) -> Result<(Network, Self)> {
        let snapshot = checkpoint::load(path.as_ref(), Snapshot::read)?;
        Self::of(snapshot, device).map_err(|error| at_path(path.as_ref(), error))
    }

    /// As [`resume`](Self::resume), from bytes.
    ///
    /// # Errors
    /// As there.
    pub fn from_bytes(bytes: &[u8], device: &Device) -> Result<(Network, Self)> {
        let snapshot = Snapshot::read(bytes).map_err(|problem| Error::file(BYTES, problem))?;
        Self::of(snapshot, device).map_err(|error| at_path(Path::new(BYTES), error))
    }

    /// What a run that goes on has done so far, epoch by epoch; `None` for one that begins.
    #[must_use]
    pub fn history(&self) -> Option<&History> {
        self.resumed.as_ref().map(|resumed| &resumed.state.record.history)
    }

    /// How many epochs a run that goes on has done, and how many mini-batches of the next; `None` for one that begins.
    #[must_use]
    pub fn position(&self) -> Option<(usize, usize)> {
        self.resumed.as_ref().map(|resumed| (resumed.state.place.epoch, resumed.state.place.step))
    }

    /// The trainer of a run that others began: it goes on after so many whole epochs, of which this is the history.
    pub(crate) fn going_on(mut self, net: &Network, data: &Dataset, history: History, epochs: usize) -> Self {
        let steps = data.len().div_ceil(self.settings.batch_size.max(1));
        let state = State {
            settings: self.settings.clone(),
            place: Position { epoch: epochs, steps: (epochs * steps) as u64, ..Position::default() },
            optimizer: self.settings.optimizer.name().to_owned(),
            optimizer_steps: net.optimizer_steps(),
            slowed: Slowed::default(),
            slowest: false,
            record: Record { history, ..Record::default() },
            is_best: false,
            train: Identity::of(data),
            test: None,
        };
        self.resumed = Some(Box::new(Resumed { state, scores: Vec::new() }));
        self
    }

    fn of(snapshot: Snapshot, device: &Device) -> Result<(Network, Self)> {
        let Snapshot { network, parameters, state, memory, scores } = snapshot;
        let mut net = network.build(&parameters, device)?;
        net.prepare(state.settings.optimizer)?;
        net.remember(&memory, state.optimizer_steps)?;
        let scores = scores.into_iter().map(f32::to_bits).collect();
        let settings = state.settings.clone();
        let resumed = Some(Box::new(Resumed { state, scores }));
        let recovery = Recovery::default();
        Ok((net, Self { settings, checkpoints: None, recovery, verify_every: None, resumed, callback: None }))
    }
}
