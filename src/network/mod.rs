//! A network: its layers, its parameters on a device, and what can be asked of them.

#[cfg(all(feature = "blocking", not(target_arch = "wasm32")))]
mod blocking;
mod builder;
mod gradients;
mod moving;
mod predict;
mod state;
mod stored;
mod visit;

use std::sync::Mutex;

pub use builder::NetworkBuilder;
pub use gradients::Gradients;
pub(crate) use moving::AtRest;
use state::{Key, Moments, State};
pub(crate) use stored::{Stored, at_path, check as check_parameters};

use crate::backend::{Counters, Engine};
use crate::data::{Dataset, Preparation};
use crate::error::{Error, Result};
use crate::layer::Layer;
use crate::metrics::{self, Evaluation, Metrics};
use crate::plan::{Dropout, Emphasis, Format, Goal, Plan, PlanKind, Request, Role, Source, Update};
use crate::problems::Problems;
use crate::session::Shared;
use crate::{Cost, Device, Init, Optimizer};

/// A feed-forward network of dense layers, its parameters resident on a [`Device`].
///
/// ```
/// use wgrad::{Activation, Cost, Device, Network, Sgd};
/// // XOR: the cost falls when one mini-batch is trained on over and over.
/// let x = [0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 1.0, 1.0];
/// let y = [0.0, 1.0, 1.0, 0.0];
/// let mut net = Network::new(2)
///     .dense(8, Activation::Tanh)
///     .dense(1, Activation::Sigmoid)
///     .seed(1)
///     .build(&Device::cpu())?;
/// let before = net.cost(&x, &y, Cost::BinaryCrossEntropy)?;
/// for _ in 0..500 {
///     net.update_mini_batch(&x, &y, Cost::BinaryCrossEntropy, Sgd::new(0.5))?;
/// }
/// assert!(net.cost(&x, &y, Cost::BinaryCrossEntropy)? < 0.1 * before);
/// assert!(net.predict(&[1.0, 0.0])?[0] > 0.5);
/// # Ok::<(), wgrad::Error>(())
/// ```
#[derive(Debug)]
pub struct Network {
    device: Device,
    layers: Vec<Layer>,
    len: usize,
    forced: Option<PlanKind>,
    /// How raw rows become inputs; `rows.rs` uses it.
    pub(crate) preparation: Option<Preparation>,
    rates: Vec<f32>,
    dropout_seed: u32,
    state: Mutex<State>,
    /// A copy of the parameters for predictions of few rows.
    host: predict::Host,
    /// Where the numbers on the device come from.
    known: moving::Known,
}

impl Network {
    /// Starts the description of a network whose input has this many columns.
    #[allow(clippy::new_ret_no_self, reason = "the description comes first; its build makes the network")]
    pub const fn new(inputs: usize) -> NetworkBuilder {
        NetworkBuilder {
            inputs,
            dense: Vec::new(),
            init: Init::ScaledNormal,
            seed: 0,
            plan: None,
            layer_inits: Vec::new(),
            dropout: Vec::new(),
        }
    }

    /// The device that holds the parameters.
    #[must_use]
    pub const fn device(&self) -> &Device {
        &self.device
    }

    /// The layers, from the input up, and where each has its weights and biases in [`parameters`](Self::parameters_async).
    #[must_use]
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// The share of each layer's activations that training drops, from the input up; 0 for none.
    #[must_use]
    pub fn dropout_rates(&self) -> &[f32] {
        &self.rates
    }

    /// The width of the input and of every layer.
    #[must_use]
    pub fn sizes(&self) -> Vec<usize> {
        std::iter::once(self.inputs()).chain(self.layers.iter().map(|layer| layer.outputs)).collect()
    }

    /// Columns of the input.
    #[must_use]
    pub fn inputs(&self) -> usize {
        self.layers[0].inputs
    }

    /// Columns of the output.
    #[must_use]
    pub fn outputs(&self) -> usize {
        self.layers[self.layers.len() - 1].outputs
    }

    /// How many weights and biases there are.
    #[must_use]
    pub const fn parameter_count(&self) -> usize {
        self.len
    }

    /// The kind of plan that trains this network on resident data in mini-batches of so many rows, and why.
    #[must_use]
    pub fn plan(&self, batch_size: usize) -> (PlanKind, &'static str) {
        let (len, format) = (batch_size.max(1), Format::F32);
        let source = Source::Dataset { len, inputs: format, targets: format };
        let request = self.request(Goal::Train, self.any_cost(), source, batch_size);
        let (kind, reason) = self.choice(&request);
        match Plan::new(kind, &request) {
            Ok(plan) if plan.kind != kind => (plan.kind, "the limits of the device allow no plan of fewer dispatches"),
            _ => (kind, reason),
        }
    }

    /// A cost that goes with the output.
    fn any_cost(&self) -> Cost {
        let output = self.layers.last().map(|last| last.activation);
        Cost::ALL
            .into_iter()
            .find(|cost| output.is_some_and(|output| cost.goes_with(output)))
            .unwrap_or(Cost::Quadratic)
    }

    /// Whether the persistent plan may be chosen for it, since no other is forced.
    pub(crate) fn may_persist(&self) -> bool {
        self.forced.is_none_or(|kind| kind == PlanKind::Persistent)
    }

    /// The kind of plan for a request of this network, and why.
    fn choice(&self, request: &Request<'_>) -> (PlanKind, &'static str) {
        match self.forced {
            Some(PlanKind::Persistent) if self.device.kind() == "cpu" => {
                (PlanKind::Fused, "the persistent plan that was asked for is for GPUs")
            }
            Some(PlanKind::Persistent) if !request.may_persist() => {
                (PlanKind::Fused, "the persistent plan that was asked for cannot do this")
            }
            Some(kind) => (kind, "it was asked for"),
            None => request.choice(),
        }
    }

    /// The kind of plan for a request of this network.
    pub(crate) fn kind(&self, request: &Request<'_>) -> PlanKind {
        self.choice(request).0
    }

    /// What this network has asked of its device so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.lock().engine.counters
    }

    /// The description of a plan for this network, with plain SGD where it trains, for
    /// [`Plan::new`](crate::plan::Plan::new) and the tools of [`verify`](crate::verify).
    #[must_use]
    pub fn request(&self, goal: Goal, cost: Cost, source: Source, rows: usize) -> Request<'_> {
        let (limits, update, dropout) = (self.device.limits(), Update::default(), self.dropout());
        let (layers, cost, emphasis) = (&self.layers[..], Some(cost), Emphasis::default());
        Request { layers, cost, goal, source, held: None, rows, limits, update, dropout, emphasis }
    }

    /// All weights, layer after layer, each row-major (O,I), then all biases; [`layers`](Self::layers) says where. Where the device is
    /// lost and they are as the host once gave them, they are what it gave.
    ///
    /// # Errors
    /// What the device reports.
    pub async fn parameters_async(&self) -> Result<Vec<f32>> {
        let read = {
            let mut state = self.lock();
            let parameters = state.parameters;
            state.engine.read(parameters, 0, self.len)
        };
        match read.await {
            Ok(words) => Ok(words.into_iter().map(f32::from_bits).collect()),
            Err(error) => crate::train::known(self, &error).map(|rest| rest.parameters).ok_or(error),
        }
    }

    /// Replaces all parameters; the order is that of [`parameters`](Self::parameters_async).
    ///
    /// # Errors
    /// [`Error::Shape`] for another number of them; [`Error::NotFinite`]; what the device reports.
    pub fn set_parameters(&mut self, parameters: &[f32]) -> Result<()> {
        if parameters.len() != self.len {
            let got = parameters.len().to_string();
            return Err(Error::shape("set_parameters", format!("{} numbers", self.len), got));
        }
        finite("set_parameters", parameters)?;
        let state = self.state_mut();
        state.engine.write_f32(state.parameters, 0, parameters)?;
        self.note_parameters(parameters);
        Ok(())
    }

    /// The mean cost of rows: `x` (rows, inputs), `y` (rows, outputs).
    ///
    /// # Errors
    /// [`Error::Shape`], [`Error::NotFinite`], [`Error::Target`], [`Error::Pairing`]; what the device reports.
    pub async fn cost_async(&self, x: &[f32], y: &[f32], cost: Cost) -> Result<f32> {
        let live = self.pairs("cost", x, y, cost)?;
        let read = self.direct(Goal::Cost, Some(cost), x, y, live, Role::Scores, 1)?;
        Ok(mean(&read.await?, live))
    }

    /// The gradients of the mean cost of rows with respect to every weight and bias (BP1 to BP4): `x` (rows, inputs), `y`
    /// (rows, outputs).
    ///
    /// # Errors
    /// [`Error::Shape`], [`Error::NotFinite`], [`Error::Target`], [`Error::Pairing`]; what the device reports.
    pub async fn gradients_async(&self, x: &[f32], y: &[f32], cost: Cost) -> Result<Gradients> {
        let live = self.pairs("gradients", x, y, cost)?;
        let (costs, arena) = {
            let mut state = self.lock();
            let key = Key::new(Goal::Gradients, Some(cost));
            let session = state.ready(self, key, live)?;
            let done = session.step(&mut state.engine, x, y, live, None, 0);
            let costs = session.read(&mut state.engine, Role::Scores, 1);
            let arena = session.read(&mut state.engine, Role::Gradients, self.len);
            state.keep(key, session);
            done?;
            (costs, arena)
        };
        let cost = mean(&costs.await?, live);
        let arena = arena.await?.into_iter().map(f32::from_bits).collect();
        Ok(Gradients { cost, layers: self.layers.clone(), arena })
    }

    /// One step of the optimiser on a mini-batch: `x` (rows, inputs), `y` (rows, outputs). Forward, backward and update are one
    /// submission, and nothing is waited for. A GPU that is slower than its caller falls behind, and each step under way holds a copy of
    /// its rows: a long loop that reads nothing calls [`finish`](Self::finish_async) now and then.
    ///
    /// # Errors
    /// [`Error::Shape`], [`Error::NotFinite`], [`Error::Target`], [`Error::Pairing`], [`Error::InvalidOption`]; what the device reports.
    pub fn update_mini_batch(
        &mut self,
        x: &[f32],
        y: &[f32],
        cost: Cost,
        optimizer: impl Into<Optimizer>,
    ) -> Result<()> {
        let optimizer = optimizer.into();
        optimizer.check()?;
        let live = self.pairs("update_mini_batch", x, y, cost)?;
        self.prepare(optimizer)?;
        self.known = moving::Known::Nothing;
        let mut state = self.lock();
        state.version += 1;
        let key = Key { goal: Goal::Train, cost: Some(cost), update: optimizer.update() };
        let session = state.ready(self, key, live)?;
        let hyper = optimizer.hyper(state.moments.steps + 1, 1.0);
        let taken = state.moments.steps;
        let done = session.step(&mut state.engine, x, y, live, Some(&hyper), taken);
        state.moments.steps += u64::from(done.is_ok());
        state.keep(key, session);
        done
    }

    /// One step of the optimiser by gradients that the caller has: those of [`gradients`](Self::gradients_async), or what the
    /// caller made of several.
    ///
    /// ```
    /// use wgrad::{Activation, Adam, Cost, Device, Network};
    /// let mut net = Network::new(1).dense(4, Activation::Tanh).dense(1, Activation::Identity).build(&Device::cpu())?;
    /// // The mean of two gradients, each of one row.
    /// let mut gradients = net.gradients(&[0.5], &[1.0], Cost::Quadratic)?;
    /// let other = net.gradients(&[-0.5], &[0.0], Cost::Quadratic)?;
    /// for (g, other) in gradients.as_mut_slice().iter_mut().zip(other.as_slice()) {
    ///     *g = 0.5 * (*g + other);
    /// }
    /// net.update(&gradients, Adam::new(0.01))?;
    /// # Ok::<(), wgrad::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Shape`] for the gradients of a network with other layers; [`Error::NotFinite`], [`Error::InvalidOption`]; what the
    /// device reports.
    pub fn update(&mut self, gradients: &Gradients, optimizer: impl Into<Optimizer>) -> Result<()> {
        let optimizer = optimizer.into();
        optimizer.check()?;
        if gradients.layers != self.layers {
            let sizes = |layers: &[Layer]| {
                let widths = layers.iter().map(|layer| layer.outputs.to_string());
                let inputs = layers.first().map_or(0, |layer| layer.inputs).to_string();
                std::iter::once(inputs).chain(widths).collect::<Vec<_>>().join("-")
            };
            let (want, got) = (sizes(&self.layers), sizes(&gradients.layers));
            return Err(Error::shape("update: gradients", format!("those of {want}, as the network is"), got));
        }
        finite("update: gradients", &gradients.arena)?;
        self.prepare(optimizer)?;
        self.known = moving::Known::Nothing;
        let mut state = self.lock();
        state.version += 1;
        let key = Key { goal: Goal::Update, cost: None, update: optimizer.update() };
        let session = state.ready(self, key, 1)?;
        let hyper = optimizer.hyper(state.moments.steps + 1, 1.0);
        let taken = state.moments.steps;
        let written = session.write(&mut state.engine, Role::Gradients, bytemuck::cast_slice(&gradients.arena));
        let done = written.and_then(|()| session.step(&mut state.engine, &[], &[], 1, Some(&hyper), taken));
        state.moments.steps += u64::from(done.is_ok());
        state.keep(key, session);
        done
    }

    /// Waits until the device has done all that this network was asked for. Whoever reads a result has waited already.
    ///
    /// ```
    /// use wgrad::{Activation, Cost, Device, Network, Sgd};
    /// let mut net = Network::new(1).dense(4, Activation::Tanh).dense(1, Activation::Identity).build(&Device::cpu())?;
    /// for step in 1..=1000_u16 {
    ///     let x = f32::from(step % 7) / 7.0;
    ///     net.update_mini_batch(&[x], &[x * x], Cost::Quadratic, Sgd::new(0.1))?;
    ///     if step % 100 == 0 {
    ///         net.finish()?;
    ///     }
    /// }
    /// # Ok::<(), wgrad::Error>(())
    /// ```
    ///
    /// # Errors
    /// What the device reports.
    pub async fn finish_async(&self) -> Result<()> {
        let done = self.lock().engine.done();
        done.await.map(drop)
    }

    /// How many steps the optimiser that last trained this network has taken; 0 again with another kind of optimiser.
    #[must_use]
    pub fn optimizer_steps(&self) -> u64 {
        self.lock().moments.steps
    }

    /// Makes the optimiser forget what it remembers of earlier steps, and their number.
    ///
    /// # Errors
    /// What the device reports.
    pub fn reset_optimizer(&mut self) -> Result<()> {
        let len = self.len;
        let state = self.state_mut();
        state.forget(None, 0, len)?;
        self.note_forgotten();
        Ok(())
    }

    /// Has the device remember what this optimiser needs: what is there goes on if the last steps were of the same kind, else it
    /// starts from zeros.
    pub(crate) fn prepare(&mut self, optimizer: Optimizer) -> Result<()> {
        let len = self.len;
        let state = self.state_mut();
        if state.moments.of == Some(optimizer.name()) {
            return Ok(());
        }
        state.forget(Some(optimizer.name()), optimizer.update().rule.remembers(), len)?;
        self.note_forgotten();
        Ok(())
    }

    /// What the optimiser remembers of the steps so far: `m` and `v` of every parameter, as far as its kind has them.
    pub(crate) fn memory_async(&self) -> impl Future<Output = Result<Vec<f32>>> + use<> {
        let mut state = self.lock();
        let Moments { slot, len, .. } = state.moments;
        let read = (len > 0).then(|| state.engine.read(slot, 0, len));
        async move {
            match read {
                Some(read) => Ok(read.await?.into_iter().map(f32::from_bits).collect()),
                None => Ok(Vec::new()),
            }
        }
    }

    /// How many numbers that are.
    pub(crate) fn memory_len(&self) -> usize {
        self.lock().moments.len
    }

    /// Has the optimiser, which was prepared, remember this, after so many steps.
    pub(crate) fn remember(&mut self, memory: &[f32], steps: u64) -> Result<()> {
        let state = self.state_mut();
        state.moments.steps = steps;
        if !memory.is_empty() {
            state.engine.write_f32(state.moments.slot, 0, memory)?;
        }
        self.note_memory(memory, steps);
        Ok(())
    }

    /// The engine, and the optimiser's count of steps: to train, after which only the device knows the parameters.
    pub(crate) fn parts_and_steps(&mut self) -> (&mut Engine, &mut u64) {
        self.known = moving::Known::Nothing;
        let state = self.state_mut();
        (&mut state.engine, &mut state.moments.steps)
    }

    /// How the network does on a data set, in single numbers: cost and accuracy; for classes (at most 256 of them) F1 and
    /// top-5, for values the errors.
    ///
    /// # Errors
    /// [`Error::Shape`] if the data set has other columns than the network; [`Error::Pairing`]; what the device reports.
    pub async fn evaluate_async(&self, data: &Dataset, cost: Cost) -> Result<Evaluation> {
        Ok(self.measure("evaluate", data, cost, false).await?.summary())
    }

    /// All that is measured of the network on a data set: besides cost and accuracy the confusion matrix, or the errors of each
    /// output.
    ///
    /// # Errors
    /// As [`evaluate_async`](Self::evaluate_async); [`Error::Limit`] for so many classes that the device cannot hold the square of
    /// their number.
    pub async fn metrics_async(&self, data: &Dataset, cost: Cost) -> Result<Metrics> {
        self.measure("metrics", data, cost, true).await
    }

    async fn measure(&self, call: &str, data: &Dataset, cost: Cost, details: bool) -> Result<Metrics> {
        self.fits(call, data)?;
        self.goes_with(cost)?;
        data.suits(call, cost)?;
        let goal = metrics::goal(data, cost, details);
        let scores = self.visit(data, goal, cost).await?;
        Ok(Metrics::new(&scores, data.len(), &metrics::spread(data, goal)))
    }

    /// Runs one direct step and asks for a buffer of it.
    #[allow(clippy::too_many_arguments, reason = "private, and each caller names them by its own variables")]
    fn direct(
        &self,
        goal: Goal,
        cost: Option<Cost>,
        x: &[f32],
        y: &[f32],
        live: usize,
        role: Role,
        len: usize,
    ) -> Result<impl Future<Output = Result<Vec<u32>>> + use<>> {
        let mut state = self.lock();
        let key = Key::new(goal, cost);
        let session = state.ready(self, key, live)?;
        let result = session.step(&mut state.engine, x, y, live, None, 0);
        let read = session.read(&mut state.engine, role, len);
        state.keep(key, session);
        result.map(|()| read)
    }

    /// What is on the device, to be changed.
    fn state_mut(&mut self) -> &mut State {
        let state = self.state.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner);
        state.version += 1;
        state
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// What is dropped while it trains.
    pub(crate) fn dropout(&self) -> Dropout<'_> {
        Dropout { rates: &self.rates, seed: self.dropout_seed }
    }

    /// The engine and the buffers that plans share, for training.
    pub(crate) fn parts(&mut self) -> (&mut Engine, Shared) {
        let state = self.state_mut();
        let shared = state.shared();
        (&mut state.engine, shared)
    }

    /// Whether `numbers` are whole rows of `columns`, at least one, all finite; returns how many.
    fn rows(&self, what: &str, numbers: &[f32], columns: usize) -> Result<usize> {
        if numbers.is_empty() {
            return Err(Error::Empty { what: what.to_owned() });
        }
        if !numbers.len().is_multiple_of(columns) {
            let got = format!("{} numbers", numbers.len());
            return Err(Error::shape(what, format!("whole rows of {columns} numbers"), got));
        }
        finite(what, numbers)?;
        Ok(numbers.len() / columns)
    }

    fn pairs(&self, call: &str, x: &[f32], y: &[f32], cost: Cost) -> Result<usize> {
        let rows = self.rows(&format!("{call}: x"), x, self.inputs())?;
        let targets = self.rows(&format!("{call}: y"), y, self.outputs())?;
        if rows != targets {
            return Err(Error::shape(
                format!("{call}: y"),
                format!("{rows} rows, as x has"),
                format!("{targets} rows"),
            ));
        }
        self.goes_with(cost)?;
        cost.check_targets(&format!("{call}: y"), y, self.outputs())?;
        Ok(rows)
    }

    /// Whether a cost goes with the outputs: said before anything is said of the targets.
    pub(crate) fn goes_with(&self, cost: Cost) -> Result<()> {
        self.layers.last().map_or(Ok(()), |last| cost.check(last.activation))
    }

    /// Whether a data set has the columns of this network.
    pub(crate) fn fits(&self, call: &str, data: &Dataset) -> Result<()> {
        if data.is_empty() {
            return Err(Error::Empty { what: format!("{call}: the data set") });
        }
        let mut problems = Problems::default();
        for (side, got, want) in
            [("inputs", data.features(), self.inputs()), ("targets", data.outputs(), self.outputs())]
        {
            if got != want {
                let want = format!("{want} columns, as the network has");
                let what = format!("{call}: {side} of the data set");
                problems.see::<()>(Err(Error::shape(what, want, format!("{got} columns"))));
            }
        }
        problems.end()
    }
}

/// The mean of a cost that was summed over `live` rows.
fn mean(words: &[u32], live: usize) -> f32 {
    #[allow(clippy::cast_precision_loss, reason = "a count of rows of one mini-batch")]
    let live = live as f32;
    words.first().map_or(f32::NAN, |&word| f32::from_bits(word) / live)
}

fn finite(what: &str, numbers: &[f32]) -> Result<()> {
    match numbers.iter().position(|x| !x.is_finite()) {
        Some(index) => Err(Error::NotFinite { what: what.to_owned(), index, value: numbers[index] }),
        None => Ok(()),
    }
}
