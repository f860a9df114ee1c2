//! How the textbook and the fused plan record their buffers and steps.

use super::{
    BufferId, BufferSpec, Dropout, Format, Goal, Limits, Plan, PlanKind, Request, Role, Round, Source, Step, Update,
    arena, check_sizes,
};
use crate::error::{Error, Result};
use crate::kernel::{Element, Kernel, Params, SQUARES};
use crate::layer::Layer;
use crate::optimizer::HYPER;
use crate::{Activation, Cost};

/// Records buffers and steps; the textbook and the fused plan share it.
pub(super) struct Builder<'a> {
    pub(super) request: Request<'a>,
    pub(super) plan: Plan,
    pub(super) rows: u32,
    pub(super) parameters: BufferId,
    /// The control, and where the goal moves parameters the numbers of each step after it.
    pub(super) walk: BufferId,
    /// Where these start in it.
    pub(super) numbers: usize,
    pub(super) control: BufferId,
    pub(super) x: BufferId,
}

impl<'a> Builder<'a> {
    pub(super) fn new(kind: PlanKind, request: Request<'a>, rows: u32) -> Self {
        let kind = if kind == PlanKind::Textbook { kind } else { PlanKind::Fused };
        let steps = Vec::new();
        let held = match request.source {
            Source::Direct => 0,
            Source::Dataset { len, .. } => request.held(len),
        };
        let plan = Plan { kind, rows: request.rows, buffers: Vec::new(), steps, rounds: Vec::new(), networks: 1, held };
        let nowhere = BufferId(0);
        let mut builder =
            Self { request, plan, rows, parameters: nowhere, walk: nowhere, numbers: 0, control: nowhere, x: nowhere };
        let parameters = request.layers.last().map_or(0, |last| last.biases().end);
        builder.parameters = builder.buffer("params".to_owned(), parameters, Element::F32, Role::Parameters);
        builder
    }

    /// The control and the mini-batch's inputs in buffers of their own.
    pub(super) fn open(&mut self) {
        let inputs = self.request.layers.first().map_or(0, |first| first.inputs);
        if matches!(self.request.goal, Goal::Train | Goal::Update) {
            let len = self.steps().saturating_mul(HYPER);
            self.walk = self.buffer("walk".to_owned(), arena::ALIGNED.saturating_add(len), Element::U32, Role::Between);
            self.control = self.part("control".to_owned(), arena::CONTROL, Element::U32, Role::Control, (self.walk, 0));
            self.step_numbers(arena::ALIGNED);
        } else {
            self.control = self.buffer("control".to_owned(), arena::CONTROL, Element::U32, Role::Control);
        }
        let x = self.request.rows.saturating_mul(inputs);
        self.x = self.buffer("x".to_owned(), x, Element::F32, Role::X);
    }

    pub(super) fn buffer(&mut self, name: String, len: usize, element: Element, role: Role) -> BufferId {
        self.plan.buffers.push(BufferSpec { name, len, element, role, head: Vec::new(), part_of: None });
        BufferId(self.plan.buffers.len() - 1)
    }

    /// A part of a buffer, which comes before it in the list.
    pub(super) fn part(
        &mut self,
        name: String,
        len: usize,
        element: Element,
        role: Role,
        of: (BufferId, usize),
    ) -> BufferId {
        self.plan.buffers.push(BufferSpec { name, len, element, role, head: Vec::new(), part_of: Some(of) });
        BufferId(self.plan.buffers.len() - 1)
    }

    /// A buffer of `rows x columns` numbers between two steps.
    pub(super) fn between(&mut self, name: String, columns: usize) -> BufferId {
        self.buffer(name, self.request.rows.saturating_mul(columns), Element::F32, Role::Between)
    }

    /// The parameters that every kernel of this layer is told. Sizes were checked to fit when the layers were laid out.
    pub(super) fn params(&self, layer: &Layer) -> Params {
        let word = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Params {
            rows: self.rows,
            inputs: word(layer.inputs),
            outputs: word(layer.outputs),
            w: word(layer.w),
            b: word(layer.b),
            activation: layer.activation.code(),
            cost: self.request.cost.map_or(0, Cost::code),
            format: self.request.emphasis.code(),
            ..Params::default()
        }
    }

    /// As [`params`](Self::params), for an elementwise kernel over `rows x columns`.
    pub(super) fn elements(&self, layer: &Layer, columns: usize) -> Params {
        let count = u32::try_from(self.request.rows.saturating_mul(columns)).unwrap_or(u32::MAX);
        Params { count, ..self.params(layer) }
    }

    /// Records a step; a sum that is longer than one invocation may loop becomes several.
    pub(super) fn push(&mut self, kernel: Kernel, params: Params, bindings: &[BufferId], label: String) -> Result<()> {
        debug_assert_eq!(bindings.len(), kernel.info().bindings.len(), "{label}");
        self.request.limits.allow(kernel)?;
        let Limits { max_iterations: most, tiling, .. } = self.request.limits;
        let length = kernel.sum_length(&params);
        let whole = length.unwrap_or(0);
        let part = kernel.most_terms(&params, most, tiling);
        let mut k_begin = 0_u32;
        loop {
            let k_end = k_begin.saturating_add(part.max(1)).min(whole);
            // A kernel without such a sum may use the two words for something else.
            let params = if length.is_some() { Params { k_begin, k_end, ..params } } else { params };
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
            self.request.limits.grids(kernel, kernel.groups(&params, tiling))?;
            let label = format!("{label}{parts}");
            self.plan.steps.push(Step { kernel, params, bindings: bindings.to_vec(), label });
            k_begin = k_end;
            if k_begin >= whole {
                return Ok(());
            }
        }
    }

    /// The first steps: the mini-batch into `x`, and into `y` where there is a cost. Returns `y`.
    pub(super) fn inputs(&mut self) -> Result<Option<BufferId>> {
        let (first, last) = (self.request.layers[0], self.request.layers[self.request.layers.len() - 1]);
        let scored = self.request.goal != Goal::Predict;
        let rows = self.request.rows;
        let resident = matches!(self.request.source, Source::Dataset { .. });
        let emphasis = self.request.emphasis;
        let y = (scored || resident).then(|| {
            let len = emphasis.words(Format::F32, rows, last.outputs);
            self.buffer("y".to_owned(), len, Element::F32, Role::Y)
        });
        if let (Some(y), Source::Dataset { len, inputs, targets }) = (y, self.request.source) {
            let order = self.buffer("order".to_owned(), len, Element::U32, Role::Order);
            let (control, x) = (self.control, self.x);
            let held = self.plan.held;
            let words = inputs.words(held, first.inputs);
            let from_x = self.buffer("inputs".to_owned(), words, Element::U32, Role::Inputs);
            let words = emphasis.words(targets, held, last.outputs);
            let from_y = self.buffer("targets".to_owned(), words, Element::U32, Role::Targets);
            let word = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
            let [off, on] = self.request.label().map(f32::to_bits);
            let params = Params { rows: self.rows, count: word(held), ..Params::default() };
            let of_x = Params { outputs: word(first.inputs), format: inputs.code(), ..params };
            self.push(Kernel::Gather, of_x, &[control, order, from_x, x], "gather inputs".to_owned())?;
            let format = targets.code() + emphasis.code();
            let of_y = Params { outputs: word(last.outputs), b: off, k_begin: on, format, ..params };
            self.push(Kernel::Gather, of_y, &[control, order, from_y, y], "gather targets".to_owned())?;
        }
        Ok(y.filter(|_| scored))
    }

    /// The buffers that the cost ends in: two numbers a row, its cost and whether it is right, and two a step.
    pub(super) fn scores(&mut self) -> [BufferId; 2] {
        let steps = self.steps();
        [
            self.between("rows".to_owned(), 2),
            self.buffer("scores".to_owned(), steps.saturating_mul(2), Element::F32, Role::Scores),
        ]
    }

    /// What the optimiser remembers.
    pub(super) fn state(&mut self) -> BufferId {
        let len = self.arena().saturating_mul(self.request.update.rule.remembers()).max(1);
        self.buffer("state".to_owned(), len, Element::F32, Role::State)
    }

    /// Parameters in all.
    pub(super) fn arena(&self) -> usize {
        self.request.layers.last().map_or(0, |last| last.biases().end)
    }

    /// Bounds the gradients, if that is wanted, and moves all parameters.
    pub(super) fn update(&mut self, gradients: BufferId) -> Result<()> {
        let state = self.state();
        let word = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let Update { rule, clip_norm, .. } = self.request.update;
        let weights = self.request.layers[0].b; // the biases of the first layer come after all weights
        let params = Params { count: word(self.arena()), b: word(weights), rule: rule.code(), ..Params::default() };
        let (walk, k_begin) = (self.walk, word(self.numbers));
        if clip_norm {
            let squares = self.buffer("squares".to_owned(), SQUARES as usize, Element::F32, Role::Between);
            self.push(Kernel::GradientSquares, params, &[gradients, squares], "squares of the gradients".to_owned())?;
            let bindings = [walk, squares, gradients];
            let params = Params { k_begin, ..params };
            self.push(Kernel::ClipGradients, params, &bindings, "gradients within their norm".to_owned())?;
        }
        let bindings = [walk, gradients, state, self.parameters];
        self.push(Kernel::Update, Params { k_begin, ..params }, &bindings, "update".to_owned())?;
        (1..).zip(self.request.layers).try_for_each(|(l, layer)| self.max_norm(l, layer))
    }

    /// Brings the weights of layer `l` back to their largest norm, if there is one.
    pub(super) fn max_norm(&mut self, l: usize, layer: &Layer) -> Result<()> {
        if !self.request.update.max_norm {
            return Ok(());
        }
        let k_begin = u32::try_from(self.numbers).unwrap_or(u32::MAX);
        let (params, bindings) = (Params { k_begin, ..self.params(layer) }, [self.walk, self.parameters]);
        self.push(Kernel::MaxNorm, params, &bindings, format!("layer {l}: weights within their norm"))
    }

    /// How many mini-batches there are.
    pub(super) const fn steps(&self) -> usize {
        match self.request.source {
            Source::Direct => 1,
            Source::Dataset { len, .. } => len.div_ceil(self.request.rows),
        }
    }

    /// What a goal asks for beyond the cost.
    pub(super) fn measure(&mut self, y: BufferId, a: BufferId) -> Result<()> {
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

    /// The numbers of each step for the update, from this place of `walk` on.
    pub(super) fn step_numbers(&mut self, at: usize) {
        let len = self.steps().saturating_mul(HYPER);
        self.numbers = at;
        self.part("hyper".to_owned(), len, Element::U32, Role::Hyper, (self.walk, at));
    }

    /// Cost and right answers of the rows, one kernel each: for evaluation, and for the textbook plan.
    pub(super) fn score(&mut self, y: BufferId, a: BufferId, z: BufferId, rows: BufferId) -> Result<()> {
        let last = self.request.layers[self.request.layers.len() - 1];
        let params = self.params(&last);
        self.push(Kernel::CostValue, params, &[z, y, a, rows], "cost of each row".to_owned())?;
        self.push(Kernel::CountRight, params, &[self.control, y, a, rows], "right answers".to_owned())
    }

    /// Whether training drops some of layer `l`.
    pub(super) fn drops(&self, l: usize) -> bool {
        self.request.goal == Goal::Train && self.request.dropout.rate(l, self.request.layers.len()) > 0.0
    }

    /// What goes on of a buffer of layer `l`, activations or errors, when some of it is dropped: the buffer itself where nothing is.
    pub(super) fn dropout(&mut self, l: usize, from: BufferId, name: &str, what: &str) -> Result<BufferId> {
        if !self.drops(l) {
            return Ok(from);
        }
        let to = self.between(format!("{name}_{l}"), self.request.layers[l - 1].outputs);
        self.dropout_into(l, from, to, what)?;
        Ok(to)
    }

    /// The same, into a given buffer; the layer drops something.
    pub(super) fn dropout_into(&mut self, l: usize, from: BufferId, to: BufferId, what: &str) -> Result<()> {
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
        limits.allow(kernel)?;
        limits.grids(kernel, kernel.groups(&params, limits.tiling))?;
        let label = format!("layer {l}: {what}");
        self.plan.steps.push(Step { kernel, params, bindings: vec![self.control, from, to], label });
        Ok(())
    }

    /// The last step: what the rows scored into the place of this step, and on to the next mini-batch of the data set.
    pub(super) fn tally(&mut self, [rows, scores]: [BufferId; 2]) -> Result<()> {
        let moves_on = matches!(self.request.source, Source::Dataset { .. });
        let params = Params { rows: self.rows, count: u32::from(moves_on), ..Params::default() };
        let bindings = [self.control, rows, scores];
        self.push(Kernel::Tally, params, &bindings, "cost and right answers of the step".to_owned())
    }

    /// Softmax of the last layer, in place of the elementwise activation.
    pub(super) fn softmax(&mut self, layer: &Layer, z: BufferId, a: BufferId, label: String) -> Result<()> {
        debug_assert_eq!(layer.activation, Activation::Softmax);
        self.push(Kernel::Softmax, self.params(layer), &[z, a], label)
    }

    pub(super) fn finish(mut self) -> Result<Plan> {
        check_sizes(&self.plan.buffers, &self.request.limits)?;
        self.plan.rounds = vec![Round { steps: 0..self.plan.steps.len(), advances: 1 }];
        Ok(self.plan)
    }
}
