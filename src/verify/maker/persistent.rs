//! Whole training steps of the persistent kernel.

use rand::RngExt;

use super::Maker;
use super::variant::{elementwise, pairs, persistent_rule};
use crate::Cost;
use crate::layer::layout;
use crate::optimizer::{ETA, HYPER, KEEP, L1, L2, STEP_SIZE, Update};
use crate::plan::{Dropout, Emphasis, Format, Goal, Limits, Plan, Request, Role, Source};
use crate::verify::case::{Case, Fill, GARBAGE};

impl Maker {
    /// Two steps of two networks with a hidden layer or none, the second step on what is left of the data. Numbers are ordinary
    /// ones whatever the fill: between saturated outputs rounding would decide which answer is right.
    pub(super) fn persistent(mut self) -> Case {
        self.fill = Fill::Ordinary;
        let (cost, activation) = pairs()[self.variant as usize % pairs().len()];
        let [rows, inputs, outputs] = [self.p.rows, self.p.inputs, self.p.outputs].map(|n| n as usize);
        let hidden = elementwise()[self.variant as usize % elementwise().len()];
        let deep = [(outputs % 5 + 3, hidden), (outputs, activation)];
        let dense = if (self.variant as usize) < pairs().len() { &deep[..] } else { &deep[1..] };
        let examples = rows + rows.div_ceil(3);
        let bytes = self.variant.is_multiple_of(2);
        // A single output that is 0.5 in some rows of the first step, but for its activation.
        let middle = outputs == 1 && dense.len() == 1;
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
        let update = Update { rule: persistent_rule(self.variant), ..Update::default() };
        // As of a data set that is streamed, where a device holds fewer examples than an epoch has.
        let held = if self.variant.is_multiple_of(3) { rows } else { examples };
        let request = Request {
            held: Some(held),
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
        let [len, held] = [examples, held].map(|n| u32::try_from(n).unwrap_or(u32::MAX));
        #[allow(clippy::cast_precision_loss, reason = "a rough size")]
        let widest = (self.p.inputs.max(self.p.outputs) as f32).sqrt();
        let mut buffers = Vec::new();
        for (spec, binding) in plan.buffers.iter().zip(self.kernel.info().bindings) {
            let words = match spec.role {
                Role::Walk => {
                    let mut words = spec.head.clone();
                    for network in 0..2 {
                        words.extend([0, self.p.rows.min(len), len, 0]);
                        words.extend((0..len).map(|i| (i * 7 + network) % held));
                    }
                    words
                }
                Role::Inputs => {
                    let mut words: Vec<u32> = match bytes {
                        true => (0..spec.len).map(|_| self.random.random()).collect(),
                        false => (0..spec.len).map(|_| (self.number() / widest).to_bits()).collect(),
                    };
                    let len = if bytes { inputs } else { 4 * inputs };
                    if middle {
                        bytemuck::cast_slice_mut(&mut words)
                            .chunks_mut(len)
                            .step_by(3)
                            .for_each(|row: &mut [u8]| row.fill(0));
                    }
                    words
                }
                Role::Parameters => {
                    let mut words: Vec<u32> = (0..spec.len).map(|_| (self.number() / widest).to_bits()).collect();
                    if middle {
                        words
                            .chunks_mut(spec.len / 2)
                            .filter_map(<[u32]>::last_mut)
                            .for_each(|bias| *bias = 0.5_f32.to_bits());
                    }
                    words
                }
                Role::Targets if cost == Cost::CategoricalCrossEntropy => {
                    let labels = (0..held).map(|_| self.random.random_range(0..self.p.outputs)).collect();
                    self.with_weights(labels, spec.len)
                }
                // Some are 0, which outputs may be too, or at the middle of their range.
                Role::Targets => (0..spec.len)
                    .map(|i| match i % 7 {
                        3 if spec.len < examples * (outputs + 1) => 0.0,
                        5 if spec.len < examples * (outputs + 1) => 0.5,
                        _ => self.random.random_range(0.0..1.0_f32),
                    })
                    .map(f32::to_bits)
                    .collect(),
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
}
