//! The buffers of a case: what a kernel is given.

use rand::RngExt;
use rand_pcg::Pcg64Mcg;

use super::case::{Case, Fill, GARBAGE, Shape};
use crate::kernel::{Kernel, Params, most_groups_of_layers};
use crate::layer::layout;
use crate::optimizer::{CLIP_NORM, CLIP_VALUE, ETA, HYPER, KEEP, L1, L2, MAX_NORM, Rule, STEP_SIZE, Update};
use crate::plan::{Arena, BufferId, Dropout, Emphasis, Format, Goal, Limits, Plan, Request, Role, Source, Step};
use crate::{Activation, Cost};

/// The parts of a sum that are tried.
pub(super) const PARTS: u32 = 4;

/// The activations that have a code of their own.
pub(super) fn elementwise() -> Vec<Activation> {
    Activation::ALL.into_iter().filter(|f| f.is_elementwise()).collect()
}

/// The costs, each with every output that it goes with.
pub(super) fn pairs() -> Vec<(Cost, Activation)> {
    let with_outputs =
        |cost: Cost| Activation::ALL.map(|f| (cost, f)).into_iter().filter(|(cost, f)| cost.goes_with(*f));
    Cost::ALL.into_iter().flat_map(with_outputs).collect()
}

/// Fills the buffers of a case.
pub(super) struct Maker {
    kernel: Kernel,
    p: Params,
    fill: Fill,
    variant: u32,
    random: Pcg64Mcg,
}

impl Maker {
    pub(super) fn new(kernel: Kernel, [rows, inputs, outputs]: Shape, fill: Fill, variant: u32, seed: u64) -> Self {
        // The layer starts at an odd place of an arena with something before, between and after weights and biases.
        let w = 3;
        let b = w + outputs * inputs + 2;
        let mut p = Params { rows, inputs, outputs, w, b, ..Params::default() };
        p.k_end = kernel.sum_length(&p).unwrap_or(0);
        p.count = match kernel {
            // The arena ends with the layer's biases.
            Kernel::Update | Kernel::GradientSquares | Kernel::ClipGradients => b + outputs,
            _ => rows * outputs,
        };
        let mixed = u128::from(seed) << 64 | u128::from(rows) << 40 | u128::from(inputs) << 20 | u128::from(outputs);
        let random = Pcg64Mcg::new(mixed << 1 | 1 | u128::from(variant) << 100);
        let mut maker = Self { kernel, p, fill, variant, random };
        maker.vary();
        maker
    }

    /// Turns the variant into codes.
    fn vary(&mut self) {
        let variant = self.variant;
        let p = &mut self.p;
        match self.kernel {
            Kernel::Activation | Kernel::ActivationPrime => p.activation = elementwise()[variant as usize].code(),
            Kernel::Gather => {
                p.format = variant % 2 + 8 * (variant / 2 % 2) + 16 * (variant / 8);
                [p.b, p.k_begin] =
                    if variant.is_multiple_of(8) { [0.0, 1.0] } else { [0.025, 0.925_f32] }.map(f32::to_bits);
            }
            Kernel::Tally => p.count = variant / 2,
            Kernel::CountRight | Kernel::Answers => p.activation = variant / 2,
            Kernel::CountAnswers => p.count = (p.outputs.max(2) + 1) * (p.outputs.max(2) + 1),
            Kernel::CostValue | Kernel::CostDerivative => p.cost = Cost::ALL[variant as usize % Cost::ALL.len()].code(),
            Kernel::DenseForward | Kernel::DenseBackward => {
                p.activation = elementwise()[(variant / PARTS) as usize].code();
                self.part(variant % PARTS);
            }
            Kernel::GatherForward => {
                p.activation = elementwise()[variant as usize % elementwise().len()].code();
                p.format = variant / PARTS;
                self.part(variant % PARTS);
            }
            Kernel::OutputError => {
                let (cost, activation) = pairs()[variant as usize % pairs().len()];
                p.cost = cost.code();
                p.activation = activation.code();
            }
            Kernel::DenseGradient => self.part(variant % PARTS),
            Kernel::Update | Kernel::DenseUpdate => p.rule = Rule::ALL[variant as usize % Rule::ALL.len()].code(),
            Kernel::Dropout => {
                let rate = [0.5, 0.1, 0.95_f64][variant as usize % 3];
                (p.w, p.b) = (0xdead_beef, variant);
                #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of 2^32")]
                let bound = ((1.0 - rate) * 4_294_967_296.0) as u32;
                p.k_end = bound;
                p.format = crate::real::Real::to_f32(1.0 / (1.0 - rate)).to_bits();
            }
            kernel if kernel.sum_length(p).is_some() => self.part(variant),
            _ => {}
        }
        if self.weighted() && self.kernel != Kernel::Persistent {
            self.p.format = 16;
        }
    }

    /// Whether rows have weights: in every second variant, and those that have them with all rows live have none with fewer.
    fn weighted(&self) -> bool {
        let variant = self.variant as usize;
        let once = match self.kernel {
            Kernel::CostValue | Kernel::CostDerivative => Cost::ALL.len(),
            Kernel::OutputError | Kernel::Persistent => pairs().len(),
            _ => return false,
        };
        (variant + variant / once) % 2 == 1
    }

    /// These words, and weights of rows up to a length.
    fn with_weights(&mut self, mut words: Vec<u32>, len: usize) -> Vec<u32> {
        let weights = self.positive(len - words.len());
        words.extend(weights);
        words
    }

    /// 0: the whole sum; 1, 2: its end or its middle, which have to be added to what is there; 3: its first part, which
    /// overwrites.
    fn part(&mut self, which: u32) {
        let whole = self.p.k_end;
        match which {
            1 | 2 if whole >= 2 => {
                self.p.k_begin = whole / 3 + 1;
                if which == 2 {
                    self.p.k_end = (self.p.k_begin + 1).max(whole - whole / 4);
                }
            }
            3 => self.p.k_end = whole.div_ceil(2),
            _ => {}
        }
    }

    /// Live rows: all of them, or all but some.
    fn live(&self) -> u32 {
        let ragged = match self.kernel {
            Kernel::OutputError => self.variant as usize >= pairs().len(),
            Kernel::CostValue | Kernel::CostDerivative => self.variant as usize >= Cost::ALL.len(),
            Kernel::Gather => self.variant / 4 % 2 == 1,
            _ => self.variant % 2 == 1,
        };
        if ragged { (self.p.rows - self.p.rows / 3).max(1) } else { self.p.rows }
    }

    fn number(&mut self) -> f32 {
        let x: f32 = self.random.random_range(-1.0..1.0);
        if self.fill == Fill::Ordinary {
            return x;
        }
        match self.random.random_range(0..12_u32) {
            0 => 0.0,
            1 => 100.0,
            2 => -100.0,
            // Below the smallest normal number, but where a kernel compares: a device that flushes them sees equals there.
            3 if self.compares() => x.signum() * f32::MIN_POSITIVE * (1.0 + x.abs()),
            3 => 1e-38 * x,
            4 => 10.0 * x,
            // What is squared or cubed on the way would overflow.
            5 if matches!(self.kernel, Kernel::Activation | Kernel::ActivationPrime) => 1e30 * x,
            _ => x,
        }
    }

    /// Whether the kernel's result jumps where two numbers, or a number and 0, are equal.
    const fn compares(&self) -> bool {
        matches!(
            self.kernel,
            Kernel::CountRight
                | Kernel::Answers
                | Kernel::ActivationPrime
                | Kernel::CostDerivative
                | Kernel::OutputError
                | Kernel::DenseBackward
                | Kernel::Update
                | Kernel::DenseUpdate
        )
    }

    fn numbers(&mut self, len: u32) -> Vec<u32> {
        (0..len).map(|_| self.number().to_bits()).collect()
    }

    /// Numbers from 0.1 to 1, none of which is special.
    fn positive(&mut self, len: usize) -> Vec<u32> {
        (0..len).map(|_| self.random.random_range(0.1..1.0_f32).to_bits()).collect()
    }

    /// Numbers of three steps. In the odd variants, and in the later half of them, there are no bounds, or none that is reached.
    fn hyper(&mut self) -> Vec<u32> {
        let mut hyper = self.positive(3 * HYPER);
        let loose = self.variant % 2 == 1;
        for step in hyper.chunks_exact_mut(HYPER) {
            if self.variant as usize >= Rule::ALL.len() {
                step[CLIP_VALUE] = 0;
            }
            if loose && matches!(self.kernel, Kernel::ClipGradients | Kernel::MaxNorm) {
                [step[CLIP_NORM], step[MAX_NORM]] = [1e9_f32.to_bits(); 2];
            }
        }
        hyper
    }

    /// What the rule remembers of every parameter; one number where it remembers nothing.
    fn state(&mut self) -> Vec<u32> {
        let arenas = Rule::from_code(self.p.rule).remembers();
        self.positive((arenas * self.p.count as usize).max(1))
    }

    /// What an output holds before: garbage where the kernel overwrites, numbers where it adds.
    fn output(&mut self, len: u32) -> Vec<u32> {
        if self.p.k_begin > 0 { self.numbers(len) } else { vec![GARBAGE; len as usize] }
    }

    /// Step 2 of an epoch; or step 0, where a kernel is different there.
    fn control(&self) -> Vec<u32> {
        let live = self.live();
        let step = if self.first_step() { 0 } else { 2 };
        vec![step, live, step * self.p.rows + live, 0xffff_fffe, step]
    }

    const fn first_step(&self) -> bool {
        matches!(self.kernel, Kernel::CountAnswers) && self.variant >= 2
    }

    /// `a` for the weighted inputs `z`, with the activation and cost of this case.
    fn activations(&self, z: &[u32]) -> Vec<u32> {
        let outputs = self.p.outputs as usize;
        let f = Activation::from_code(self.p.activation);
        if Cost::from_code(self.p.cost) == Cost::CategoricalCrossEntropy {
            let numbers: Vec<f64> = z.iter().map(|&z| f32::from_bits(z).into()).collect();
            return numbers
                .chunks(outputs)
                .flat_map(|row| {
                    let m = row.iter().fold(f64::MIN, |m, &z| m.max(z));
                    let sum: f64 = row.iter().map(|z| (z - m).exp()).sum();
                    row.iter().map(move |z| crate::real::Real::to_f32((z - m).exp() / sum).to_bits())
                })
                .collect();
        }
        // Below the smallest normal number a device may see 0, and where numbers are compared that is another answer.
        let normal = |a: f32| if a.is_subnormal() { 0.0 } else { a };
        z.iter().map(|&z| normal(f.f(f32::from_bits(z))).to_bits()).collect()
    }

    pub(super) fn make(mut self) -> Case {
        match self.kernel {
            Kernel::Persistent => return self.persistent(),
            Kernel::DenseGradient | Kernel::DenseUpdate => return self.all_layers(),
            _ => {}
        }
        let p = self.p;
        let arena = p.b + p.outputs + 1;
        let (below, here) = (p.rows * p.inputs, p.rows * p.outputs);
        let control = self.control();
        let contents: Vec<Vec<u32>> = match self.kernel {
            Kernel::Gather => {
                // Weights stand after as many examples as control says.
                let examples = if p.format < 16 { 3 * p.rows + 5 } else { control[2] };
                let order = (0..control[2]).map(|_| self.random.random_range(0..examples)).collect();
                let inputs = match p.format & 3 {
                    0 => self.numbers(examples * p.inputs),
                    _ => (0..(examples * p.inputs).div_ceil(4)).map(|_| self.random.random()).collect(),
                };
                let targets = match p.format >> 2 & 3 {
                    0 => self.numbers(examples * p.outputs),
                    _ => (0..examples).map(|_| self.random.random_range(0..p.outputs)).collect(),
                };
                let weights = p.format / 16;
                let len = targets.len() + (weights * examples) as usize;
                let targets = self.with_weights(targets, len);
                let y = vec![GARBAGE; (here + weights * p.rows) as usize];
                vec![control, order, inputs, targets, vec![GARBAGE; below as usize], y]
            }
            Kernel::MatmulNt => vec![self.numbers(below), self.numbers(arena), self.output(here)],
            Kernel::MatmulNn => vec![self.numbers(here), self.numbers(arena), self.output(below)],
            Kernel::OuterProducts => vec![self.numbers(here), self.numbers(below), self.output(arena)],
            Kernel::BiasGradient => vec![self.numbers(here), self.output(arena)],
            Kernel::Activation | Kernel::ActivationPrime | Kernel::Softmax => {
                vec![self.numbers(here), vec![GARBAGE; here as usize]]
            }
            Kernel::Dropout => vec![control, self.numbers(here), vec![GARBAGE; here as usize]],
            Kernel::Hadamard => vec![self.numbers(here), self.numbers(here), vec![GARBAGE; here as usize]],
            Kernel::CostDerivative => {
                vec![control, self.targets(), self.numbers(here), vec![GARBAGE; here as usize]]
            }
            Kernel::CostValue => {
                let z = self.numbers(here);
                let a = self.activations(&z);
                vec![control, self.targets(), a, z, vec![GARBAGE; 2 * p.rows as usize]]
            }
            Kernel::CountRight => {
                let (y, a) = (self.targets(), self.numbers(here));
                vec![control, y, a, vec![GARBAGE; 2 * p.rows as usize]]
            }
            Kernel::Answers => {
                let (y, mut a) = (self.targets(), self.numbers(here));
                // A row that was spoilt, by a NaN at any place of it.
                if self.fill == Fill::Extreme {
                    a[self.random.random_range(0..here) as usize] = f32::NAN.to_bits();
                }
                vec![control, y, a, vec![GARBAGE; 3 * p.rows as usize]]
            }
            Kernel::CountAnswers => {
                let classes = p.outputs.max(2);
                // Live rows have a true class; past them there is none.
                let answer = (0..3 * p.rows).map(|i| match (i / 3 < control[1], i % 3) {
                    (true, 0) => self.random.random_range(0..classes),
                    (true, _) => self.random.random_range(0..=classes),
                    (false, _) => classes,
                });
                let answer = answer.collect();
                let counts = match self.first_step() {
                    true => vec![GARBAGE; p.count as usize],
                    false => (0..p.count).map(|_| self.random.random_range(0..1000)).collect(),
                };
                vec![control, answer, counts]
            }
            Kernel::Residuals => {
                let (y, a) = (self.targets(), self.numbers(here));
                vec![control, y, a, vec![GARBAGE; 8 * p.outputs as usize]]
            }
            Kernel::Tally => {
                vec![control, self.scored_rows(), vec![GARBAGE; 9]]
            }
            Kernel::Update => {
                let (hyper, state) = (self.hyper(), self.state());
                vec![control, hyper, self.numbers(p.count + 1), state, self.numbers(p.count + 1)]
            }
            Kernel::GradientSquares => vec![self.numbers(p.count + 1), vec![GARBAGE; 65]],
            Kernel::ClipGradients => {
                let squares = self.positive(64);
                vec![control, self.hyper(), squares, self.numbers(p.count + 1)]
            }
            Kernel::MaxNorm => vec![control, self.hyper(), self.numbers(arena)],
            Kernel::DenseForward => {
                vec![self.numbers(below), self.numbers(arena), self.output(here), vec![GARBAGE; here as usize]]
            }
            Kernel::GatherForward => {
                let examples = 3 * p.rows + 5;
                let order = (0..control[2]).map(|_| self.random.random_range(0..examples)).collect();
                let inputs = match p.format {
                    0 => self.numbers(examples * p.inputs),
                    _ => (0..(examples * p.inputs).div_ceil(4)).map(|_| self.random.random()).collect(),
                };
                let (params, z, a) = (self.numbers(arena), self.output(here), vec![GARBAGE; here as usize]);
                vec![inputs, params, z, a, vec![GARBAGE; below as usize], control, order]
            }
            Kernel::OutputError => return self.output_error(),
            Kernel::DenseBackward => {
                let z = self.numbers(below);
                let a = self.activations(&z);
                vec![self.numbers(here), self.numbers(arena), z, a, self.output(below)]
            }
            Kernel::DenseGradient | Kernel::DenseUpdate | Kernel::Persistent => Vec::new(),
        };
        self.case(contents)
    }

    /// The case with these contents of its buffers.
    fn case(&self, contents: Vec<Vec<u32>>) -> Case {
        let p = self.p;
        let bindings = self.kernel.info().bindings;
        let buffers = bindings.iter().zip(contents).map(|(binding, words)| (binding.element, binding.access, words));
        let [rows, inputs, outputs] = [p.rows, p.inputs, p.outputs];
        let label = format!("{} {rows}x{inputs}x{outputs} variant {}", self.kernel.name(), self.variant);
        let ids = (0..bindings.len()).map(BufferId).collect();
        Case { step: Step { kernel: self.kernel, params: p, bindings: ids, label }, buffers: buffers.collect() }
    }

    /// The output error of targets that are there, or that it gathers.
    fn output_error(mut self) -> Case {
        let (rows, here) = (self.p.rows, self.p.rows * self.p.outputs);
        let control = self.control();
        let mut z = self.numbers(here);
        let softmax = Cost::from_code(self.p.cost) == Cost::CategoricalCrossEntropy;
        if softmax {
            // Of two outputs whose difference is lost in the exponential, rounding would say which is the larger.
            z.iter_mut().filter(|z| f32::from_bits(**z).abs() < 1e-30).for_each(|z| *z = 0);
        }
        let a = if softmax { vec![GARBAGE; here as usize] } else { self.activations(&z) };
        let weights = self.p.format / 16;
        let gathers = (self.variant / 2).is_multiple_of(2);
        let (order, targets, y) = if gathers {
            // Weights stand after as many examples as control says.
            let examples = control[2];
            let order = (0..examples).map(|i| (i * 7 + 3) % examples).collect();
            let labels = softmax && self.variant.is_multiple_of(2);
            let targets: Vec<u32> = match labels {
                true => (0..examples).map(|_| self.random.random_range(0..self.p.outputs)).collect(),
                false => {
                    (0..examples * self.p.outputs).map(|_| self.random.random_range(0.0..1.0_f32).to_bits()).collect()
                }
            };
            let len = targets.len() + (weights * examples) as usize;
            let targets = self.with_weights(targets, len);
            if labels {
                self.p.format += 8;
                [self.p.b, self.p.k_begin] = [0.025, 0.925_f32].map(f32::to_bits);
            }
            (order, targets, vec![GARBAGE; (here + weights * rows) as usize])
        } else {
            self.p.format += 32;
            let y = self.targets();
            (vec![GARBAGE], vec![GARBAGE], y)
        };
        let delta = vec![GARBAGE; here as usize];
        self.case(vec![control, order, targets, y, a, z, delta, vec![GARBAGE; 2 * rows as usize]])
    }

    /// What rows score: their costs, then whether they are right.
    fn scored_rows(&mut self) -> Vec<u32> {
        let mut words = self.numbers(self.p.rows);
        words.extend((0..self.p.rows).map(|_| if self.random.random() { 1.0 } else { 0.0_f32 }.to_bits()));
        words
    }

    /// The gradients, or the step, of one to three layers. There are workgroups for any tiling, and tiles of every kind.
    fn all_layers(mut self) -> Case {
        let Params { rows, inputs, outputs, .. } = self.p;
        let f = Activation::Sigmoid;
        let dense = [(outputs as usize, f), (3, f), (outputs as usize % 4 + 2, f)];
        let layers = layout(inputs as usize, &dense[..1 + self.variant as usize % 3]).map(|(layers, _)| layers);
        let layers = layers.unwrap_or_default();
        let arena = Arena::new(&layers, rows as usize, 3);
        let word = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let sizes = layers.iter().map(|layer| (word(layer.outputs), word(layer.inputs)));
        let count = layers.last().map_or(0, |last| word(last.biases().end));
        self.p = Params {
            inputs: u32::try_from(most_groups_of_layers(sizes)).unwrap_or(u32::MAX),
            outputs: word(layers.len()),
            w: word(arena.scores),
            b: word(arena.hyper),
            activation: 0,
            cost: self.variant % 2,
            format: self.variant % 5,
            count,
            ..self.p
        };
        let mut walk = arena.head(&layers);
        for (at, control) in walk.iter_mut().zip(self.control()) {
            *at = control;
        }
        walk.resize(arena.hyper, GARBAGE);
        walk.extend(self.hyper());
        let mut scoring = self.scored_rows();
        scoring.resize(arena.scores_len, GARBAGE);
        let arenas = arena.activations.into_iter().chain(arena.deltas);
        let mut contents: Vec<_> = arenas.map(|len| self.numbers(word(len))).collect();
        contents.extend([walk, scoring]);
        if self.kernel == Kernel::DenseGradient {
            contents.push(self.output(count));
        } else {
            contents.extend([self.state(), self.numbers(count)]);
        }
        self.case(contents)
    }

    /// Two steps of two networks with a hidden layer or none, the second step on what is left of the data. Numbers are ordinary
    /// ones whatever the fill: between saturated outputs rounding would decide which answer is right.
    fn persistent(mut self) -> Case {
        self.fill = Fill::Ordinary;
        let (cost, activation) = pairs()[self.variant as usize % pairs().len()];
        let [rows, inputs, outputs] = [self.p.rows, self.p.inputs, self.p.outputs].map(|n| n as usize);
        let hidden = elementwise()[self.variant as usize % elementwise().len()];
        let deep = [(outputs % 5 + 3, hidden), (outputs, activation)];
        let dense = if (self.variant as usize) < pairs().len() { &deep[..] } else { &deep[1..] };
        let examples = rows + rows.div_ceil(3);
        let bytes = self.variant.is_multiple_of(2);
        let source = Source::Dataset {
            len: examples,
            inputs: if bytes { Format::U8 } else { Format::F32 },
            targets: if cost == Cost::CategoricalCrossEntropy { Format::Label } else { Format::F32 },
        };
        let layers = layout(inputs, dense).map(|(layers, _)| layers).unwrap_or_default();
        let limits = Limits::HOST;
        let smoothing =
            if matches!(cost, Cost::CategoricalCrossEntropy | Cost::BinaryCrossEntropy) { 0.2 } else { 0.0 };
        let emphasis = Emphasis { weighted: self.weighted(), smoothing };
        let update = Update { rule: Rule::ALL[self.variant as usize % Rule::ALL.len()], ..Update::default() };
        let request = Request {
            layers: &layers,
            cost: Some(cost),
            goal: Goal::Train,
            source,
            rows,
            limits,
            update,
            dropout: Dropout::default(),
            emphasis,
        };
        let Ok(plan) = Plan::population(&request, 2) else {
            unreachable!("the shape was checked, and nothing is limited")
        };
        let len = u32::try_from(examples).unwrap_or(u32::MAX);
        #[allow(clippy::cast_precision_loss, reason = "a rough size")]
        let widest = (self.p.inputs.max(self.p.outputs) as f32).sqrt();
        let mut buffers = Vec::new();
        for (spec, binding) in plan.buffers.iter().zip(self.kernel.info().bindings) {
            let words = match spec.role {
                Role::Walk => {
                    let mut words = spec.head.clone();
                    for network in 0..2 {
                        words.extend([0, self.p.rows.min(len), len, 0]);
                        words.extend((0..len).map(|i| (i * 7 + network) % len));
                    }
                    words
                }
                Role::Inputs if bytes => (0..spec.len).map(|_| self.random.random()).collect(),
                Role::Targets if cost == Cost::CategoricalCrossEntropy => {
                    let labels = (0..len).map(|_| self.random.random_range(0..self.p.outputs)).collect();
                    self.with_weights(labels, spec.len)
                }
                Role::Targets => (0..spec.len).map(|_| self.random.random_range(0.0..1.0_f32).to_bits()).collect(),
                Role::Between | Role::Scores => vec![GARBAGE; spec.len],
                // Small steps, and small weights for wide layers: the second step starts from what rounding made of the first.
                Role::Hyper => self.small_steps(spec.len / HYPER),
                Role::State => self.positive(spec.len),
                _ => (0..spec.len).map(|_| (self.number() / widest).to_bits()).collect(),
            };
            buffers.push((spec.element, binding.access, words));
        }
        let Some(mut step) = plan.steps.into_iter().next_back() else { unreachable!("a plan has steps") };
        step.params.count = 2;
        step.label = format!("persistent {rows}x{inputs}x{outputs} variant {}", self.variant);
        Case { step, buffers }
    }

    /// Numbers of so many small steps. Without the penalty that jumps where a weight is 0.
    fn small_steps(&mut self, steps: usize) -> Vec<u32> {
        let mut hyper = self.positive(steps * HYPER);
        for step in hyper.chunks_exact_mut(HYPER) {
            for at in [ETA, STEP_SIZE, L2] {
                step[at] = (0.1 * f32::from_bits(step[at])).to_bits();
            }
            step[KEEP] = (1.0 - 0.1 * f32::from_bits(step[KEEP])).to_bits();
            step[L1] = 0;
        }
        hyper
    }

    /// One-hot rows for the odd rows, soft ones between 0 and 1 for the even ones.
    fn targets(&mut self) -> Vec<u32> {
        let (rows, outputs) = (self.p.rows, self.p.outputs);
        let mut y = Vec::with_capacity((rows * outputs) as usize);
        for row in 0..rows {
            let label = self.random.random_range(0..outputs);
            for j in 0..outputs {
                let soft: f32 = self.random.random_range(0.0..1.0);
                let hot = if j == label { 1.0 } else { 0.0_f32 };
                y.push(if row % 2 == 1 { hot } else { soft }.to_bits());
            }
        }
        // Their weights, some of them 0.
        y.extend(
            (0..rows * (self.p.format / 16))
                .map(|row| if row % 5 == 3 { 0.0 } else { 0.3 + row as f32 % 7.0 }.to_bits()),
        );
        y
    }
}
