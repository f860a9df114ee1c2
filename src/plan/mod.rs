//! A training step recorded as data: which kernels, on which buffers, in which order.
//!
//! A [`Plan`] knows nothing of devices. Any backend can run any plan, step by step or as a whole, and nothing else in the
//! crate knows how a step is executed.
//!
//! | plan | one step is |
//! |---|---|
//! | [`PlanKind::Textbook`] | one symbol of the equations |
//! | [`PlanKind::Fused`] | one layer of a phase |
//! | [`PlanKind::Persistent`] | many whole training steps |

mod fused;
mod persistent;
mod textbook;

use std::ops::Range;

use crate::activation::by_name;
use crate::error::{Error, Result};
use crate::kernel::{Element, Kernel, Params, SQUARES, Tiling};
use crate::layer::{Layer, layout};
use crate::optimizer::HYPER;
use crate::{Activation, Cost};

pub use crate::optimizer::{Rule, Update};

/// How finely a step is cut into kernels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PlanKind {
    /// One kernel a symbol of the equations: matrix product, activation, activation-prime, Hadamard product, outer products,
    /// row sum, cost derivative, update. For reading, and for finding the first wrong kernel.
    Textbook,
    /// One kernel a layer of a phase: product + bias + activation; product + Hadamard with `f'`; outer products + update.
    Fused,
    /// One kernel for many whole steps, with one workgroup a network: for small networks on GPUs. Only training on resident data
    /// has such a plan, and only without dropout and without a bound on the norm of gradients or weights; whatever else is asked for, and what does not fit the limits of the device, gets the fused plan.
    Persistent,
}

impl PlanKind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Textbook, Self::Fused, Self::Persistent];

    /// The name in lower case.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Textbook => "textbook",
            Self::Fused => "fused",
            Self::Persistent => "persistent",
        }
    }
}

impl Request<'_> {
    /// The kind of plan that this request gets unless one is forced, and why. It is a rule over shapes and limits, never over
    /// timings, so that results repeat.
    #[must_use]
    pub fn choice(&self) -> (PlanKind, &'static str) {
        let weights: u64 =
            self.layers.iter().map(|layer| (layer.inputs as u64).saturating_mul(layer.outputs as u64)).sum();
        let resident = self.goal == Goal::Train && matches!(self.source, Source::Dataset { .. });
        let bounded = self.update.clip_norm || self.update.max_norm || !self.dropout.is_off();
        if resident && !bounded && weights.saturating_mul(self.rows as u64) <= self.limits.persistent_up_to {
            return (PlanKind::Persistent, "one workgroup is done with so small a step before a dispatch would be");
        }
        (PlanKind::Fused, "it needs the fewest dispatches of the plans that use the whole device")
    }
}

impl std::fmt::Display for PlanKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl std::str::FromStr for PlanKind {
    type Err = Error;
    fn from_str(word: &str) -> Result<Self> {
        by_name(&Self::ALL, Self::name, "plan", word)
    }
}

/// What a plan computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Goal {
    /// The outputs.
    Predict,
    /// The outputs, their cost and the count of right answers.
    Cost,
    /// As `Cost`, and the answers counted by true class, by class answered, and by rank.
    Answers,
    /// As `Cost`, and the squared and absolute errors of each output.
    Errors,
    /// As `Cost`, and the gradients.
    Gradients,
    /// As `Cost`, and a step of the parameters.
    Train,
    /// A step of the parameters by gradients that the host brings, and nothing else; the source is `Direct`.
    Update,
}

/// Where the mini-batch comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Source {
    /// The host writes it into `x` and `y`.
    Direct,
    /// It is gathered from the resident data set, one mini-batch after another.
    Dataset {
        /// Examples.
        len: usize,
        /// How inputs are held.
        inputs: Format,
        /// How targets are held.
        targets: Format,
    },
}

/// How a resident column is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// One `f32` a value.
    F32,
    /// One byte a value, four a word, each worth 1/255.
    U8,
    /// One class label a row, one-hot when gathered.
    Label,
}

impl Format {
    pub(crate) const fn code(self) -> u32 {
        match self {
            Self::F32 => 0,
            Self::U8 => 1,
            Self::Label => 2,
        }
    }

    /// Words that `rows` rows of `columns` values take.
    pub(crate) const fn words(self, rows: usize, columns: usize) -> usize {
        match self {
            Self::F32 => rows.saturating_mul(columns),
            Self::U8 => rows.saturating_mul(columns).div_ceil(4),
            Self::Label => rows,
        }
    }
}

/// What the planner has to keep to. The default is what WebGPU promises of every device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Workgroups in one dimension of a dispatch.
    pub max_groups: u32,
    /// Bytes of one buffer as a kernel sees it.
    pub max_binding_bytes: u64,
    /// Loop iterations of one invocation. Some software drivers stop loops silently beyond a count.
    pub max_iterations: u64,
    /// Which shader of a matrix kernel runs.
    pub tiling: Tiling,
    /// Invocations of the persistent kernel's workgroup.
    pub lanes: u32,
    /// Up to how many multiplications of a forward pass (rows of the mini-batch times weights) one workgroup trains faster than
    /// many dispatches; 0 where it never does.
    pub persistent_up_to: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_groups: 65_535, max_binding_bytes: 128 << 20, ..Self::HOST }
    }
}

impl Limits {
    /// No limits but those of 32-bit sizes: for backends in the host's memory.
    pub const HOST: Self = Self {
        max_groups: u32::MAX,
        max_binding_bytes: u64::MAX,
        max_iterations: u64::MAX,
        tiling: Tiling::Workgroup,
        lanes: 64,
        persistent_up_to: 0,
    };

    /// The grid of a dispatch of `groups` workgroups, folded into y where one dimension is too short.
    ///
    /// # Errors
    /// [`Error::Limit`] if two dimensions are too short.
    pub fn grid(&self, kernel: Kernel, groups: u64) -> Result<[u32; 2]> {
        let max = u64::from(self.max_groups);
        let y = groups.div_ceil(max.max(1));
        let too_many = || Error::Limit {
            what: format!("kernel {}", kernel.name()),
            limit: "max_compute_workgroups_per_dimension, squared",
            need: groups,
            have: max.saturating_mul(max),
            advice: "use a smaller batch or layer",
        };
        if y > max {
            return Err(too_many());
        }
        let x = groups.div_ceil(y.max(1));
        Ok([u32::try_from(x).map_err(|_| too_many())?, u32::try_from(y).map_err(|_| too_many())?])
    }
}

/// What a buffer is to the outside of the plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// The arena of all weights and biases.
    Parameters,
    /// What the optimiser remembers: one or two more such arenas; one number where it remembers nothing.
    State,
    /// Their gradients, laid out alike.
    Gradients,
    /// Step, live rows, examples.
    Control,
    /// Numbers of the optimiser for each step; the first is the learning rate.
    Hyper,
    /// The order in which the epoch takes the examples.
    Order,
    /// The resident inputs.
    Inputs,
    /// The resident targets.
    Targets,
    /// Two numbers a step: its cost, summed over its rows, and how many of them were right.
    Scores,
    /// The answers of all steps, counted: one more than the classes, squared.
    Counts,
    /// Two sums of errors an output and step.
    StepErrors,
    /// The mini-batch's inputs, `a_0`.
    X,
    /// The mini-batch's targets.
    Y,
    /// The mini-batch's outputs, `a_L`.
    Output,
    /// A buffer between two steps.
    Between,
    /// What the persistent kernel walks by: its layers, and each network's [`Control`](Self::Control) and [`Order`](Self::Order).
    Walk,
}

/// A buffer that a plan needs.
#[derive(Debug, Clone)]
pub struct BufferSpec {
    /// Its name in the equations, such as `delta_2`.
    pub name: String,
    /// Elements, four bytes each.
    pub len: usize,
    /// What they are.
    pub element: Element,
    /// What it is for.
    pub role: Role,
    /// The words that it starts with, whatever the data; the rest starts as zeros.
    pub head: Vec<u32>,
}

/// Where a plan has what a role says: a buffer, or a part of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The buffer.
    pub buffer: BufferId,
    /// The first element.
    pub offset: usize,
    /// Elements.
    pub len: usize,
}

/// Steps of a plan that make up whole training steps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Round {
    /// Which of [`Plan::steps`].
    pub steps: Range<usize>,
    /// How many mini-batches they train on (or evaluate, or predict).
    pub advances: usize,
}

/// A buffer of a plan, by its place in [`Plan::buffers`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BufferId(pub usize);

/// One dispatch.
#[derive(Debug, Clone)]
pub struct Step {
    /// What runs.
    pub kernel: Kernel,
    /// What it is told.
    pub params: Params,
    /// Its buffers, in the order of the kernel's row in the table.
    pub bindings: Vec<BufferId>,
    /// What it does in words, such as `layer 2: weight gradient`.
    pub label: String,
}

/// Which activations are dropped while a network trains.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Dropout<'a> {
    /// The share of each layer's activations that is dropped in a step, in \[0, 1\); layers past its end drop nothing, and the last
    /// layer never does.
    pub rates: &'a [f32],
    /// What the choice follows from, besides the step, the layer, the row and the column.
    pub seed: u32,
}

impl Dropout<'_> {
    /// The rate of layer `l`, from 1, of `count`.
    fn rate(&self, l: usize, count: usize) -> f32 {
        if l < count { self.rates.get(l - 1).copied().unwrap_or(0.0) } else { 0.0 }
    }

    /// Whether it drops nothing.
    pub(crate) fn is_off(&self) -> bool {
        self.rates.iter().all(|&rate| rate <= 0.0)
    }
}

/// What a plan is built for.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The layers, from the input up.
    pub layers: &'a [Layer],
    /// The cost; needed for every goal but `Predict`.
    pub cost: Option<Cost>,
    /// What to compute.
    pub goal: Goal,
    /// Where the mini-batch comes from.
    pub source: Source,
    /// `B`: rows a mini-batch can hold.
    pub rows: usize,
    /// What the device allows.
    pub limits: Limits,
    /// What the plan has to know of the optimiser, for the goal `Train`.
    pub update: Update,
    /// What is dropped, for the goal `Train`.
    pub dropout: Dropout<'a>,
}

/// The step of a mini-batch as data.
#[derive(Debug, Clone)]
pub struct Plan {
    /// How finely it is cut.
    pub kind: PlanKind,
    /// `B`: rows a mini-batch can hold.
    pub rows: usize,
    /// The buffers it needs.
    pub buffers: Vec<BufferSpec>,
    /// The dispatches, in order.
    pub steps: Vec<Step>,
    /// How the steps make up training steps, the largest round first; the last advances by one. All rounds of a plan do the same
    /// work; only the persistent plan has more than one.
    pub rounds: Vec<Round>,
    /// Networks that are trained at once: 1, but for a population.
    pub networks: usize,
}

impl Plan {
    /// Records the plan of this kind for this request.
    ///
    /// # Errors
    /// [`Error::Pairing`] for a cost that does not go with the output activation; [`Error::Limit`] for a size that the
    /// limits do not allow; [`Error::InvalidOption`] for a batch of no rows or a missing cost; [`Error::Architecture`] for layers
    /// that are not laid out as those of a network; [`Error::Empty`] for a data set without rows.
    pub fn new(kind: PlanKind, request: &Request<'_>) -> Result<Self> {
        let rows = check(request)?;
        if kind == PlanKind::Persistent
            && let Ok(plan) = persistent::record(request, rows, 1)
        {
            return Ok(plan);
        }
        let mut builder = Builder::new(kind, *request, rows);
        if request.goal == Goal::Update {
            let gradients = builder.buffer("gradients".to_owned(), builder.arena(), Element::F32, Role::Gradients);
            let numbers = builder.hyper();
            builder.update(gradients, numbers)?;
            return builder.finish();
        }
        match kind {
            PlanKind::Textbook => textbook::record(&mut builder)?,
            PlanKind::Fused | PlanKind::Persistent => fused::record(&mut builder)?,
        }
        builder.finish()
    }

    /// Records the persistent plan that trains this many networks of the same layers at once.
    ///
    /// # Errors
    /// As [`new`](Self::new); [`Error::Limit`] also where a single network would get the fused plan.
    pub fn population(request: &Request<'_>, networks: usize) -> Result<Self> {
        persistent::record(request, check(request)?, networks)
    }

    /// Where this plan has what the role says, of the network with this number, from 0.
    #[must_use]
    pub fn place(&self, role: Role, network: usize) -> Option<Place> {
        if let Some(buffer) = self.buffer(role) {
            let len = self.buffers[buffer.0].len;
            if !self.is_per_network(role) {
                return Some(Place { buffer, offset: 0, len });
            }
            let len = len / self.networks;
            return (network < self.networks).then_some(Place { buffer, offset: network * len, len });
        }
        let walk = self.buffer(Role::Walk).filter(|_| network < self.networks)?;
        let head = self.buffers[walk.0].head.len();
        let each = (self.buffers[walk.0].len - head) / self.networks;
        let offset = head + network * each;
        match role {
            Role::Control => Some(Place { buffer: walk, offset, len: CONTROL }),
            Role::Order => Some(Place { buffer: walk, offset: offset + CONTROL, len: each - CONTROL }),
            _ => None,
        }
    }

    /// Whether a buffer with this role has a part for each network, and nothing else.
    const fn is_per_network(&self, role: Role) -> bool {
        matches!(self.kind, PlanKind::Persistent)
            && matches!(role, Role::Parameters | Role::State | Role::Hyper | Role::Scores)
    }

    /// The buffer that has this role, if the plan has one.
    #[must_use]
    pub fn buffer(&self, role: Role) -> Option<BufferId> {
        self.buffers.iter().position(|b| b.role == role).map(BufferId)
    }
}

pub(crate) use persistent::{HEAD as WALK_HEAD, LAYER as WALK_LAYER};

/// Words of [`Role::Control`].
pub(crate) const CONTROL: usize = 4;

/// Checks what a plan is asked for, and returns its rows.
fn check(request: &Request<'_>) -> Result<u32> {
    let (Some(first), Some(last)) = (request.layers.first(), request.layers.last()) else {
        return Err(Error::Architecture { problem: "it has no layers".to_owned() });
    };
    // A layer's fields are public: what is not laid out as a network's layers are would make kernels reach elsewhere.
    let dense: Vec<_> = request.layers.iter().map(|layer| (layer.outputs, layer.activation)).collect();
    if layout(first.inputs, &dense)?.0 != request.layers {
        return Err(Error::Architecture { problem: "its layers do not lie one after another".to_owned() });
    }
    if matches!(request.source, Source::Dataset { len: 0, .. }) {
        return Err(Error::Empty { what: "the data set of the plan".to_owned() });
    }
    let rows = match u32::try_from(request.rows) {
        Ok(rows) if (1..=1 << 24).contains(&rows) => rows,
        _ => {
            return Err(Error::InvalidOption {
                option: "batch size",
                value: request.rows.to_string(),
                want: "at least 1 and at most 16,777,216",
            });
        }
    };
    if !matches!(request.goal, Goal::Predict | Goal::Update) {
        let Some(cost) = request.cost else {
            return Err(Error::InvalidOption {
                option: "cost",
                value: "absent".to_owned(),
                want: "given for this goal",
            });
        };
        cost.check(last.activation)?;
    }
    if let Some(rate) = request.dropout.rates.iter().find(|rate| !(0.0..1.0).contains(*rate)) {
        let want = "at least 0 and below 1";
        return Err(Error::InvalidOption { option: "dropout", value: rate.to_string(), want });
    }
    Ok(rows)
}

/// Fails for the first buffer that is longer than a kernel may see.
fn check_sizes(buffers: &[BufferSpec], limits: &Limits) -> Result<()> {
    for buffer in buffers {
        let need = (buffer.len as u64).saturating_mul(4);
        let have = limits.max_binding_bytes.min(u64::from(u32::MAX));
        if need > have {
            return Err(Error::Limit {
                what: format!("buffer {} of {} elements", buffer.name, buffer.len),
                limit: "max_storage_buffer_binding_size, in bytes",
                need,
                have,
                advice: "use a smaller batch, layer or data set, or the CPU backend",
            });
        }
    }
    Ok(())
}

/// Records buffers and steps; the textbook and the fused plan share it.
struct Builder<'a> {
    request: Request<'a>,
    plan: Plan,
    rows: u32,
    parameters: BufferId,
    control: BufferId,
    x: BufferId,
}

impl<'a> Builder<'a> {
    fn new(kind: PlanKind, request: Request<'a>, rows: u32) -> Self {
        let kind = if kind == PlanKind::Textbook { kind } else { PlanKind::Fused };
        let steps = Vec::new();
        let plan = Plan { kind, rows: request.rows, buffers: Vec::new(), steps, rounds: Vec::new(), networks: 1 };
        let nowhere = BufferId(0);
        let mut builder = Self { request, plan, rows, parameters: nowhere, control: nowhere, x: nowhere };
        let parameters = request.layers.last().map_or(0, |last| last.biases().end);
        let inputs = request.layers.first().map_or(0, |first| first.inputs);
        builder.parameters = builder.buffer("params".to_owned(), parameters, Element::F32, Role::Parameters);
        builder.control = builder.buffer("control".to_owned(), CONTROL, Element::U32, Role::Control);
        let x = request.rows.saturating_mul(inputs);
        builder.x = builder.buffer("x".to_owned(), x, Element::F32, Role::X);
        builder
    }

    fn buffer(&mut self, name: String, len: usize, element: Element, role: Role) -> BufferId {
        self.plan.buffers.push(BufferSpec { name, len, element, role, head: Vec::new() });
        BufferId(self.plan.buffers.len() - 1)
    }

    /// A buffer of `rows x columns` numbers between two steps.
    fn between(&mut self, name: String, columns: usize) -> BufferId {
        self.buffer(name, self.request.rows.saturating_mul(columns), Element::F32, Role::Between)
    }

    /// The parameters that every kernel of this layer is told. Sizes were checked to fit when the layers were laid out.
    fn params(&self, layer: &Layer) -> Params {
        let word = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Params {
            rows: self.rows,
            inputs: word(layer.inputs),
            outputs: word(layer.outputs),
            w: word(layer.w),
            b: word(layer.b),
            activation: layer.activation.code(),
            cost: self.request.cost.map_or(0, Cost::code),
            ..Params::default()
        }
    }

    /// As [`params`](Self::params), for an elementwise kernel over `rows x columns`.
    fn elements(&self, layer: &Layer, columns: usize) -> Params {
        let count = u32::try_from(self.request.rows.saturating_mul(columns)).unwrap_or(u32::MAX);
        Params { count, ..self.params(layer) }
    }

    /// Records a step; a sum that is longer than one invocation may loop becomes several.
    fn push(&mut self, kernel: Kernel, params: Params, bindings: &[BufferId], label: String) -> Result<()> {
        debug_assert_eq!(bindings.len(), kernel.info().bindings.len(), "{label}");
        let Limits { max_iterations: most, tiling, .. } = self.request.limits;
        let length = kernel.sum_length(&params);
        let whole = length.unwrap_or(0);
        let part = kernel.most_terms(most, tiling);
        let mut k_begin = 0_u32;
        loop {
            let k_end = k_begin.saturating_add(part.max(1)).min(whole);
            let params = Params { k_begin, k_end, ..params };
            if kernel.iterations(&params, tiling) > most {
                return Err(Error::Limit {
                    what: label,
                    limit: "loop iterations of one shader invocation on a software adapter",
                    need: kernel.iterations(&params, tiling),
                    have: most,
                    advice: "use fewer outputs or rows, or the CPU backend",
                });
            }
            let parts = if whole > part { format!(", terms {k_begin}..{k_end}") } else { String::new() };
            self.request.limits.grid(kernel, kernel.groups(&params, tiling))?;
            let label = format!("{label}{parts}");
            self.plan.steps.push(Step { kernel, params, bindings: bindings.to_vec(), label });
            k_begin = k_end;
            if k_begin >= whole {
                return Ok(());
            }
        }
    }

    /// The first steps: the mini-batch into `x`, and into `y` where there is a cost. Returns `y`.
    fn inputs(&mut self) -> Result<Option<BufferId>> {
        let (first, last) = (self.request.layers[0], self.request.layers[self.request.layers.len() - 1]);
        let scored = self.request.goal != Goal::Predict;
        let rows = self.request.rows;
        let resident = matches!(self.request.source, Source::Dataset { .. });
        let y = (scored || resident)
            .then(|| self.buffer("y".to_owned(), rows.saturating_mul(last.outputs), Element::F32, Role::Y));
        if let (Some(y), Source::Dataset { len, inputs, targets }) = (y, self.request.source) {
            let order = self.buffer("order".to_owned(), len, Element::U32, Role::Order);
            let (control, x) = (self.control, self.x);
            let words = inputs.words(len, first.inputs);
            let from_x = self.buffer("inputs".to_owned(), words, Element::U32, Role::Inputs);
            let words = targets.words(len, last.outputs);
            let from_y = self.buffer("targets".to_owned(), words, Element::U32, Role::Targets);
            let word = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
            let params = Params {
                rows: self.rows,
                inputs: word(first.inputs),
                outputs: word(last.outputs),
                format: inputs.code() + 4 * targets.code(),
                ..Params::default()
            };
            self.push(Kernel::Gather, params, &[control, order, from_x, from_y, x, y], "gather".to_owned())?;
        }
        Ok(y.filter(|_| scored))
    }

    /// The buffers that the cost ends in: one number a row for it and for the right answers, and two a step.
    fn scores(&mut self) -> [BufferId; 3] {
        let steps = self.steps();
        let rows = self.request.rows;
        [
            self.buffer("row cost".to_owned(), rows, Element::F32, Role::Between),
            self.buffer("row right".to_owned(), rows, Element::U32, Role::Between),
            self.buffer("scores".to_owned(), steps.saturating_mul(2), Element::F32, Role::Scores),
        ]
    }

    /// The buffers that the update reads besides gradients and parameters: numbers of each step, and what the optimiser remembers.
    fn hyper(&mut self) -> [BufferId; 2] {
        let arena = self.arena();
        let len = arena.saturating_mul(self.request.update.rule.remembers()).max(1);
        [self.numbers(), self.buffer("state".to_owned(), len, Element::F32, Role::State)]
    }

    /// Parameters in all.
    fn arena(&self) -> usize {
        self.request.layers.last().map_or(0, |last| last.biases().end)
    }

    /// Bounds the gradients, if that is wanted, and moves all parameters.
    fn update(&mut self, gradients: BufferId, [hyper, state]: [BufferId; 2]) -> Result<()> {
        let word = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let Update { rule, clip_norm, .. } = self.request.update;
        let weights = self.request.layers[0].b; // the biases of the first layer come after all weights
        let params = Params { count: word(self.arena()), b: word(weights), rule: rule.code(), ..Params::default() };
        let control = self.control;
        if clip_norm {
            let squares = self.buffer("squares".to_owned(), SQUARES as usize, Element::F32, Role::Between);
            self.push(Kernel::GradientSquares, params, &[gradients, squares], "squares of the gradients".to_owned())?;
            let bindings = [control, hyper, squares, gradients];
            self.push(Kernel::ClipGradients, params, &bindings, "gradients within their norm".to_owned())?;
        }
        let bindings = [control, hyper, gradients, state, self.parameters];
        self.push(Kernel::Update, params, &bindings, "update".to_owned())?;
        (1..).zip(self.request.layers).try_for_each(|(l, layer)| self.max_norm(l, layer, hyper))
    }

    /// Brings the weights of layer `l` back to their largest norm, if there is one.
    fn max_norm(&mut self, l: usize, layer: &Layer, hyper: BufferId) -> Result<()> {
        if !self.request.update.max_norm {
            return Ok(());
        }
        let (params, bindings) = (self.params(layer), [self.control, hyper, self.parameters]);
        self.push(Kernel::MaxNorm, params, &bindings, format!("layer {l}: weights within their norm"))
    }

    /// How many mini-batches there are.
    const fn steps(&self) -> usize {
        match self.request.source {
            Source::Direct => 1,
            Source::Dataset { len, .. } => len.div_ceil(self.request.rows),
        }
    }

    /// What a goal asks for beyond the cost.
    fn measure(&mut self, y: BufferId, a: BufferId) -> Result<()> {
        let params = self.params(&self.request.layers[self.request.layers.len() - 1]);
        match self.request.goal {
            Goal::Predict | Goal::Cost | Goal::Gradients | Goal::Train | Goal::Update => Ok(()),
            Goal::Answers => {
                let wide = (params.outputs as usize).max(2).saturating_add(1);
                let cells = wide.saturating_mul(wide);
                let len = self.request.rows.saturating_mul(3);
                let answer = self.buffer("answer".to_owned(), len, Element::U32, Role::Between);
                let counts = self.buffer("counts".to_owned(), cells, Element::U32, Role::Counts);
                let label = "answer of each row".to_owned();
                self.push(Kernel::Answers, params, &[self.control, y, a, answer], label)?;
                let params = Params { count: u32::try_from(cells).unwrap_or(u32::MAX), ..params };
                let label = "answers counted".to_owned();
                self.push(Kernel::CountAnswers, params, &[self.control, answer, counts], label)
            }
            Goal::Errors => {
                let len = self.steps().saturating_mul(params.outputs as usize).saturating_mul(2);
                let errors = self.buffer("errors".to_owned(), len, Element::F32, Role::StepErrors);
                let label = "errors of each output".to_owned();
                self.push(Kernel::Residuals, params, &[self.control, y, a, errors], label)
            }
        }
    }

    /// Numbers of each step for the update.
    fn numbers(&mut self) -> BufferId {
        let steps = self.steps();
        self.buffer("hyper".to_owned(), steps.saturating_mul(HYPER), Element::F32, Role::Hyper)
    }

    /// Cost and right answers of the rows, one kernel each: for evaluation, and for the textbook plan.
    fn score(&mut self, y: BufferId, a: BufferId, z: BufferId, scores: [BufferId; 3]) -> Result<()> {
        let last = self.request.layers[self.request.layers.len() - 1];
        let params = self.params(&last);
        let [row_cost, row_right, ..] = scores;
        self.push(Kernel::CostValue, params, &[self.control, y, a, z, row_cost], "cost of each row".to_owned())?;
        self.push(Kernel::CountRight, params, &[self.control, y, a, row_right], "right answers".to_owned())
    }

    /// What goes on of a buffer of layer `l`, activations or errors, when some of it is dropped: the buffer itself where nothing is.
    fn dropout(&mut self, l: usize, from: BufferId, name: &str, what: &str) -> Result<BufferId> {
        let layers = self.request.layers;
        let rate = self.request.dropout.rate(l, layers.len());
        if self.request.goal != Goal::Train || rate <= 0.0 {
            return Ok(from);
        }
        let to = self.between(format!("{name}_{l}"), layers[l - 1].outputs);
        self.dropout_into(l, from, to, what)?;
        Ok(to)
    }

    /// The same, into a given buffer; the layer drops something.
    fn dropout_into(&mut self, l: usize, from: BufferId, to: BufferId, what: &str) -> Result<()> {
        let layers = self.request.layers;
        let Dropout { seed, .. } = self.request.dropout;
        let rate = self.request.dropout.rate(l, layers.len());
        let layer = &layers[l - 1];
        let keep = 1.0 - f64::from(rate);
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of 2^32")]
        let bound = (keep * 4_294_967_296.0) as u32;
        #[allow(clippy::cast_possible_truncation, reason = "rounded once")]
        let scale = (1.0 / keep) as f32;
        let params = Params {
            w: seed,
            b: u32::try_from(l).unwrap_or(u32::MAX),
            k_end: bound,
            format: scale.to_bits(),
            ..self.elements(layer, layer.outputs)
        };
        // Not through `push`, which has sums in mind.
        let (kernel, limits) = (Kernel::Dropout, self.request.limits);
        limits.grid(kernel, kernel.groups(&params, limits.tiling))?;
        let label = format!("layer {l}: {what}");
        self.plan.steps.push(Step { kernel, params, bindings: vec![self.control, from, to], label });
        Ok(())
    }

    /// The last step: what the rows scored into the place of this step, and on to the next mini-batch of the data set.
    fn tally(&mut self, [row_cost, row_right, scores]: [BufferId; 3]) -> Result<()> {
        let moves_on = matches!(self.request.source, Source::Dataset { .. });
        let params = Params { rows: self.rows, count: u32::from(moves_on), ..Params::default() };
        let bindings = [self.control, row_cost, row_right, scores];
        self.push(Kernel::Tally, params, &bindings, "cost and right answers of the step".to_owned())
    }

    /// Softmax of the last layer, in place of the elementwise activation.
    fn softmax(&mut self, layer: &Layer, z: BufferId, a: BufferId, label: String) -> Result<()> {
        debug_assert_eq!(layer.activation, Activation::Softmax);
        self.push(Kernel::Softmax, self.params(layer), &[z, a], label)
    }

    fn finish(mut self) -> Result<Plan> {
        check_sizes(&self.plan.buffers, &self.request.limits)?;
        self.plan.rounds = vec![Round { steps: 0..self.plan.steps.len(), advances: 1 }];
        Ok(self.plan)
    }
}
