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

mod arena;
mod builder;
mod emphasis;
mod fused;
mod limits;
mod persistent;
mod textbook;

use std::ops::Range;

use crate::Cost;
use crate::activation::by_name;
use crate::error::{Error, Result};
use crate::kernel::{Element, Kernel, Params};
use crate::layer::{Layer, layout};

pub use emphasis::Emphasis;
pub use limits::{Grid, Limits};

use builder::Builder;

pub use crate::optimizer::{Rule, Update};

/// How finely a step is cut into kernels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum PlanKind {
    /// One kernel a symbol of the equations: matrix product, activation, activation-prime, Hadamard product, outer products,
    /// row sum, cost derivative, update. For reading, and for finding the first wrong kernel.
    Textbook,
    /// One kernel a layer of a phase: product + bias + activation; product + Hadamard with `f'`; outer products + update.
    Fused,
    /// One kernel for many whole steps, with one workgroup a network: for small networks on GPUs. Only training on resident data
    /// has such a plan, and only without dropout and without a bound on the norm of gradients or weights; whatever else is asked for, and
    /// what does not fit the limits of the device, gets the fused plan, or the textbook plan where that does not fit either.
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
        if self.may_persist() && weights.saturating_mul(self.rows as u64) <= self.limits.persistent_up_to {
            return (PlanKind::Persistent, "one workgroup is done with so small a step before a dispatch would be");
        }
        (PlanKind::Fused, "it needs the fewest dispatches of the plans that use the whole device")
    }

    /// Whether the persistent kernel can do what is asked for: training on resident data, without dropout, and without a bound on
    /// the norm of gradients or weights.
    pub(crate) fn may_persist(&self) -> bool {
        let resident = self.goal == Goal::Train && matches!(self.source, Source::Dataset { .. });
        resident && self.dropout.is_off() && !self.update.clip_norm && !self.update.max_norm
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

/// What a buffer is to the outside of the plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// The arena of all weights and biases.
    Parameters,
    /// What the optimiser remembers: one or two more such arenas; one number where it remembers nothing.
    State,
    /// Their gradients, laid out alike.
    Gradients,
    /// Step, live rows, examples, steps before this epoch; and the step whose gradients are there, but in the persistent plan.
    Control,
    /// Numbers of the optimiser for each step; the first is the learning rate.
    Hyper,
    /// The order in which the epoch takes the examples.
    Order,
    /// The resident inputs.
    Inputs,
    /// The resident targets, and after them the weights of the rows where those have any.
    Targets,
    /// Two numbers a step: its cost, summed over its rows, and how many of them were right.
    Scores,
    /// The answers of all steps, counted: one more than the classes, squared.
    Counts,
    /// Two sums of errors an output and step.
    StepErrors,
    /// The mini-batch's inputs, `a_0`.
    X,
    /// The mini-batch's targets, and after them the weights of its rows where those have any.
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
    /// The buffer that it is a part of, and its first element there; itself a buffer where there is none.
    pub part_of: Option<(BufferId, usize)>,
}

impl BufferSpec {
    /// What to do where it is too long.
    pub(crate) fn advice(&self) -> &'static str {
        match self.role {
            Role::Parameters | Role::Gradients | Role::State => "use narrower layers, or the CPU backend",
            Role::Control | Role::Hyper | Role::Order | Role::Scores | Role::StepErrors | Role::Walk => {
                "use a larger batch or fewer rows, or the CPU backend"
            }
            // What these hold of each step of an epoch is what is long of them.
            Role::Between if ["walk", "scoring"].contains(&self.name.as_str()) => {
                "use a larger batch or fewer rows, or the CPU backend"
            }
            Role::Counts => "use fewer classes, or the CPU backend",
            Role::Inputs | Role::Targets | Role::X | Role::Y | Role::Output | Role::Between => {
                "use a smaller batch or narrower layers, or the CPU backend"
            }
        }
    }
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
    /// Examples of the data set that the device holds at a time, for one that is streamed; all where this is `None`. The order then
    /// counts places among these.
    pub held: Option<usize>,
    /// `B`: rows a mini-batch can hold.
    pub rows: usize,
    /// What the device allows.
    pub limits: Limits,
    /// What the plan has to know of the optimiser, for the goal `Train`.
    pub update: Update,
    /// What is dropped, for the goal `Train`.
    pub dropout: Dropout<'a>,
    /// What training makes of the targets.
    pub emphasis: Emphasis,
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
    /// Examples of the data set that the device holds at a time; 0 where the host brings each mini-batch.
    pub held: usize,
}

impl Plan {
    /// Records the plan of this kind for this request, or where the limits do not allow it that of the next kind: persistent, fused,
    /// textbook. [`kind`](Self::kind) says which it is.
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
        match Self::record(kind, request, rows) {
            // Its kernels bind fewer buffers, and its buffers are shorter.
            Err(Error::Limit { .. }) if kind != PlanKind::Textbook => Self::record(PlanKind::Textbook, request, rows),
            plan => plan,
        }
    }

    /// Records a plan of steps of a mini-batch.
    fn record(kind: PlanKind, request: &Request<'_>, rows: u32) -> Result<Self> {
        let mut builder = Builder::new(kind, *request, rows);
        if request.goal == Goal::Update {
            builder.open();
            let gradients = builder.buffer("gradients".to_owned(), builder.arena(), Element::F32, Role::Gradients);
            builder.update(gradients)?;
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
    /// As [`new`](Self::new); [`Error::Limit`] also where a single network would get the fused plan; [`Error::InvalidOption`] for no
    /// networks.
    pub fn population(request: &Request<'_>, networks: usize) -> Result<Self> {
        if networks == 0 {
            let (option, want) = ("networks of a population", "at least 1");
            return Err(Error::InvalidOption { option, value: "0".to_owned(), want });
        }
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
            let len = len.checked_div(self.networks)?;
            return (network < self.networks).then_some(Place { buffer, offset: network * len, len });
        }
        let walk = self.buffer(Role::Walk).filter(|_| network < self.networks)?;
        let head = self.buffers[walk.0].head.len();
        // A plan's fields are public: one that was changed by hand may have no room for all.
        let each = self.buffers[walk.0].len.checked_sub(head)? / self.networks;
        let offset = head + network * each;
        let order = each.checked_sub(WALK_CONTROL)?;
        match role {
            Role::Control => Some(Place { buffer: walk, offset, len: WALK_CONTROL }),
            Role::Order => Some(Place { buffer: walk, offset: offset + WALK_CONTROL, len: order }),
            _ => None,
        }
    }

    /// Whether a buffer with this role has a part for each network, and nothing else.
    const fn is_per_network(&self, role: Role) -> bool {
        matches!(self.kind, PlanKind::Persistent)
            && matches!(role, Role::Parameters | Role::State | Role::Hyper | Role::Scores)
    }

    /// The whole buffer that this one is, or is a part of.
    #[must_use]
    pub fn root(&self, id: BufferId) -> BufferId {
        self.buffers.get(id.0).and_then(|spec| spec.part_of).map_or(id, |(of, _)| of)
    }

    /// The buffer that has this role, if the plan has one.
    #[must_use]
    pub fn buffer(&self, role: Role) -> Option<BufferId> {
        self.buffers.iter().position(|b| b.role == role).map(BufferId)
    }
}

pub(crate) use arena::{Arena, CONTROL, LAYER};
pub(crate) use persistent::{CONTROL as WALK_CONTROL, HEAD as WALK_HEAD, LAYER as WALK_LAYER};

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
        cost.check_smoothing(request.emphasis.smoothing)?;
    }
    if let Some(rate) = request.dropout.rates.iter().find(|rate| !(0.0..1.0).contains(*rate)) {
        let want = "at least 0 and below 1";
        return Err(Error::InvalidOption { option: "dropout", value: rate.to_string(), want });
    }
    Ok(rows)
}

/// Fails for the first buffer that is longer than a kernel may see.
pub(crate) fn check_sizes(buffers: &[BufferSpec], limits: &Limits) -> Result<()> {
    for buffer in buffers.iter().filter(|buffer| buffer.part_of.is_none()) {
        let need = (buffer.len as u64).saturating_mul(4);
        let (have, advice) = (limits.binding(), buffer.advice());
        let is_host = limits.max_binding_bytes == Limits::HOST.max_binding_bytes;
        if need > have {
            return Err(Error::Limit {
                what: format!("buffer {} of {} elements", buffer.name, buffer.len),
                limit: if is_host { "bytes of one buffer" } else { "max_storage_buffer_binding_size, in bytes" },
                need,
                have,
                // Who is there already is not sent there.
                advice: if is_host { advice.strip_suffix(", or the CPU backend").unwrap_or(advice) } else { advice },
            });
        }
    }
    Ok(())
}
