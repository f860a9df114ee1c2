//! The fused plan: every step is one layer of a phase, and the last one the gradients and the update of all layers.

use super::arena::{Arena, CONTROL};
use super::{BufferId, Builder, Goal, Role, Source};
use crate::Activation;
use crate::error::Result;
use crate::kernel::{Element, Kernel, MOST_SMALL_OUTPUTS, NO_TALLY, Params, tiles_of_layers};

pub(super) fn record(plan: &mut Builder<'_>) -> Result<()> {
    match plan.request.goal {
        Goal::Gradients | Goal::Train => step(plan),
        _ => answers(plan),
    }
}

/// Up to so many rows, one workgroup adds up what they score while others have gradients to do.
const MOST_TALLIED: usize = 1 << 13;

fn word(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

/// The outputs, and what is measured of them.
fn answers(plan: &mut Builder<'_>) -> Result<()> {
    plan.open();
    let y = plan.inputs()?;
    let (mut a, mut z) = (plan.x, plan.x);
    let layers = plan.request.layers;
    for (l, layer) in (1..).zip(layers) {
        z = plan.between(format!("z_{l}"), layer.outputs);
        let below = a;
        a = output(plan, l);
        let label = format!("layer {l}: forward");
        plan.push(Kernel::DenseForward, plan.params(layer), &[below, plan.parameters, z, a], label)?;
        if layer.activation == Activation::Softmax {
            plan.softmax(layer, z, a, format!("layer {l}: softmax"))?;
        }
    }
    let Some(y) = y else { return Ok(()) };
    let scores = plan.scores();
    plan.score(y, a, z, scores[0])?;
    plan.measure(y, a)?;
    plan.tally(scores)
}

/// The activations of layer `l` in a buffer of their own.
fn output(plan: &mut Builder<'_>, l: usize) -> BufferId {
    let layers = plan.request.layers;
    let role = if l == layers.len() { Role::Output } else { Role::Between };
    let len = plan.request.rows.saturating_mul(layers[l - 1].outputs);
    plan.buffer(format!("a_{l}"), len, Element::F32, role)
}

/// The gradients, and the step that follows from them: 2 L + 1 dispatches for L layers, one fewer where the last of several is small, and
/// two more for each layer with dropout.
fn step(plan: &mut Builder<'_>) -> Result<()> {
    let layers = plan.request.layers;
    let count = layers.len();
    let parts = Parts::new(plan);

    // Feedforward (equation 2); the first layer gathers the mini-batch on its way.
    let mut a = vec![parts.x];
    let mut z = vec![parts.x]; // the input has none; its place keeps the numbering
    let mut below = parts.x; // what the next layer gets of the one below
    let small = is_small(plan);
    for (l, layer) in (1..).zip(&layers[..count - usize::from(small)]) {
        let z_l = plan.between(format!("z_{l}"), layer.outputs);
        let drops = plan.drops(l);
        let a_l = if l == count || drops { output(plan, l) } else { parts.activations(plan, l, "a") };
        let (params, label) = (plan.params(layer), format!("layer {l}: forward"));
        match parts.resident {
            Some(resident) if l == 1 => {
                let params = Params { format: resident.format, ..params };
                let bindings = [resident.inputs, plan.parameters, z_l, a_l, parts.x, plan.control, parts.order];
                plan.push(Kernel::GatherForward, params, &bindings, label)?;
            }
            _ => plan.push(Kernel::DenseForward, params, &[below, plan.parameters, z_l, a_l], label)?,
        }
        below = a_l;
        if drops {
            below = parts.activations(plan, l, "dropped");
            plan.dropout_into(l, a_l, below, "dropout")?;
        }
        z.push(z_l);
        a.push(a_l);
    }

    // Output error, cost and right answers in one (BP1).
    let delta = parts.delta(plan, count, "delta");
    if small {
        let (params, label) = (parts.small_params(plan), format!("layer {count}: forward and output error"));
        let bindings = [plan.control, parts.order, parts.targets, below, plan.parameters, delta, parts.rows];
        plan.push(Kernel::OutputLayer, params, &bindings, label)?;
    } else {
        let (params, label) = (parts.output_params(plan), format!("layer {count}: output error"));
        let bindings = [plan.control, parts.order, parts.targets, parts.y, a[count], z[count], delta, parts.rows];
        plan.push(Kernel::OutputError, params, &bindings, label)?;
    }

    // The error going back (BP2), all the way before any weight moves.
    let mut above = delta;
    for l in (1..count).rev() {
        let drops = plan.drops(l);
        // Where it is dropped, it is not the error yet.
        let error =
            if drops { plan.between(format!("e_{l}"), layers[l - 1].outputs) } else { parts.delta(plan, l, "delta") };
        let params = Params { activation: layers[l - 1].activation.code(), ..plan.params(&layers[l]) };
        let bindings = [above, plan.parameters, z[l], a[l], error];
        plan.push(Kernel::DenseBackward, params, &bindings, format!("layer {l}: error"))?;
        above = error;
        if drops {
            above = parts.delta(plan, l, "delta");
            plan.dropout_into(l, error, above, "dropout of the error")?;
        }
    }
    gradients(plan, &parts)
}

/// Whether the last of several layers is so small that one kernel does it forward and has its error.
fn is_small(plan: &Builder<'_>) -> bool {
    let Some((last, [_, ..])) = plan.request.layers.split_last() else { return false };
    let weights = (last.inputs as u64).saturating_mul(last.outputs as u64);
    matches!(plan.request.source, Source::Dataset { .. })
        && last.outputs <= MOST_SMALL_OUTPUTS as usize
        && weights <= plan.request.limits.output_layer_up_to
        && plan.request.limits.allow(Kernel::OutputLayer).is_ok()
        && Kernel::OutputLayer.iterations(&plan.params(last), plan.request.limits.tiling)
            <= plan.request.limits.max_iterations
}

/// The gradients of all layers (BP3, BP4), what the step scored, and the step of the parameters.
fn gradients(plan: &mut Builder<'_>, parts: &Parts) -> Result<()> {
    let layers = plan.request.layers;
    let sizes = layers.iter().map(|layer| (word(layer.outputs), word(layer.inputs)));
    let (groups, tile) = tiles_of_layers(sizes, plan.request.limits.tiling);
    let params = Params {
        rows: plan.rows,
        inputs: u32::try_from(groups).unwrap_or(u32::MAX),
        outputs: word(layers.len()),
        w: word(parts.arena.scores),
        b: word(parts.arena.hyper),
        cost: if parts.tally.is_some() { NO_TALLY } else { u32::from(parts.resident.is_some()) },
        format: tile,
        count: word(plan.arena()),
        rule: plan.request.update.rule.code(),
        ..Params::default()
    };
    let [a_even, a_odd] = parts.a;
    let [delta_even, delta_odd] = parts.deltas;
    let common = [a_even, a_odd, delta_even, delta_odd, parts.walk, parts.scoring];
    let names = if layers.len() == 1 { "the layer" } else { "all layers" };
    if at_once(plan) {
        let bindings: Vec<_> = common.into_iter().chain([plan.state(), plan.parameters]).collect();
        plan.push(Kernel::DenseUpdate, params, &bindings, format!("{names}: gradients and update"))?;
        return parts.tally.map_or(Ok(()), |scores| plan.tally([parts.rows, scores]));
    }
    let gradients = plan.buffer("gradients".to_owned(), plan.arena(), Element::F32, Role::Gradients);
    let bindings: Vec<_> = common.into_iter().chain([gradients]).collect();
    plan.push(Kernel::DenseGradient, params, &bindings, format!("{names}: gradients"))?;
    if plan.request.goal == Goal::Train {
        plan.update(gradients)?;
    }
    parts.tally.map_or(Ok(()), |scores| plan.tally([parts.rows, scores]))
}

/// Whether the layers move as soon as their gradients are there: unless gradients have to be looked at as a whole, or do not come at
/// once, or weights are looked at afterwards.
fn at_once(plan: &Builder<'_>) -> bool {
    let params = Params { rows: plan.rows, outputs: word(plan.request.layers.len()), ..Params::default() };
    let whole = Kernel::DenseUpdate.most_terms(&params, plan.request.limits.max_iterations, plan.request.limits.tiling);
    let update = plan.request.update;
    plan.request.goal == Goal::Train && !update.clip_norm && !update.max_norm && plan.rows <= whole
}

/// The buffers of a step that are there before its kernels are recorded.
struct Parts {
    arena: Arena,
    walk: BufferId,
    /// Activations and errors of the even layers, and of the odd ones.
    a: [BufferId; 2],
    deltas: [BufferId; 2],
    scoring: BufferId,
    rows: BufferId,
    /// What the steps score, where a kernel of its own adds it up.
    tally: Option<BufferId>,
    x: BufferId,
    y: BufferId,
    order: BufferId,
    targets: BufferId,
    resident: Option<Resident>,
}

/// Where the first layer finds its inputs, and how they are held.
#[derive(Clone, Copy)]
struct Resident {
    inputs: BufferId,
    format: u32,
    /// Examples that the device holds at a time.
    held: u32,
}

impl Parts {
    fn new(plan: &mut Builder<'_>) -> Self {
        let (layers, rows, steps) = (plan.request.layers, plan.request.rows, plan.steps());
        let (first, last) = (layers[0], layers[layers.len() - 1]);
        let arena = Arena::new(layers, rows, steps);
        let moves = plan.request.goal == Goal::Train;
        let walk_len = if moves { arena.walk } else { arena.hyper };
        let walk = plan.buffer("walk".to_owned(), walk_len, Element::U32, Role::Between);
        plan.plan.buffers[walk.0].head = arena.head(layers);
        plan.control = plan.part("control".to_owned(), CONTROL, Element::U32, Role::Control, (walk, 0));
        plan.walk = walk;
        if moves {
            plan.step_numbers(arena.hyper);
        }
        let mut pair = |name: &str, lens: [usize; 2]| {
            let mut one = |which: &str, len| plan.buffer(format!("{name}_{which}"), len, Element::F32, Role::Between);
            [one("even", lens[0]), one("odd", lens[1])]
        };
        let (a, deltas) = (pair("a", arena.activations), pair("delta", arena.deltas));
        let scoring = plan.buffer("scoring".to_owned(), arena.scores_len, Element::F32, Role::Between);
        let two = |n: usize| n.saturating_mul(2);
        let in_rows = plan.part("rows".to_owned(), two(rows), Element::F32, Role::Between, (scoring, 0));
        let tally = if rows <= MOST_TALLIED {
            plan.part("scores".to_owned(), two(steps), Element::F32, Role::Scores, (scoring, arena.scores));
            None
        } else {
            Some(plan.buffer("scores".to_owned(), two(steps), Element::F32, Role::Scores))
        };
        let emphasis = plan.request.emphasis;
        let y = rows.saturating_mul(last.outputs).saturating_add(if emphasis.weighted { rows } else { 0 });
        let (x_len, x_at) = (rows.saturating_mul(first.inputs), (a[0], arena.a[0]));
        let (request, held) = (plan.request, plan.plan.held);
        let mut one = |name: &str, len, element, role| plan.buffer(name.to_owned(), len, element, role);
        let (order, targets, y, resident) = match request.source {
            Source::Dataset { len, inputs, targets } => {
                let order = one("order", len, Element::U32, Role::Order);
                let words = inputs.words(held, first.inputs);
                let resident = Resident {
                    inputs: one("inputs", words, Element::U32, Role::Inputs),
                    format: emphasis.format(inputs, targets),
                    held: word(held),
                };
                let targets = one("targets", emphasis.words(targets, held, last.outputs), Element::U32, Role::Targets);
                (order, targets, one("y", y, Element::F32, Role::Between), Some(resident))
            }
            // Bound, but never read.
            Source::Direct => {
                let [order, targets] = ["order", "targets"].map(|name| one(name, 1, Element::U32, Role::Between));
                (order, targets, one("y", y, Element::F32, Role::Y), None)
            }
        };
        let role = if resident.is_some() { Role::Between } else { Role::X };
        let x = plan.part("x".to_owned(), x_len, Element::F32, role, x_at);
        plan.x = x;
        Self { arena, walk, a, deltas, scoring, rows: in_rows, tally, x, y, order, targets, resident }
    }

    /// The activations of layer `l`, below the last.
    fn activations(&self, plan: &mut Builder<'_>, l: usize, name: &str) -> BufferId {
        let len = plan.request.rows.saturating_mul(plan.request.layers[l - 1].outputs);
        plan.part(format!("{name}_{l}"), len, Element::F32, Role::Between, (self.a[l % 2], self.arena.a[l]))
    }

    /// The error of layer `l`.
    fn delta(&self, plan: &mut Builder<'_>, l: usize, name: &str) -> BufferId {
        let len = plan.request.rows.saturating_mul(plan.request.layers[l - 1].outputs);
        plan.part(format!("{name}_{l}"), len, Element::F32, Role::Between, (self.deltas[l % 2], self.arena.delta[l]))
    }

    /// What the output error is told: the format of the targets, or that they are in `y` already.
    fn output_params(&self, plan: &Builder<'_>) -> Params {
        const IN_PLACE: u32 = 32;
        let params = plan.params(&plan.request.layers[plan.request.layers.len() - 1]);
        let Some(resident) = self.resident else { return Params { format: params.format + IN_PLACE, ..params } };
        let [off, on] = plan.request.label().map(f32::to_bits);
        Params { format: resident.format, b: off, k_begin: on, count: resident.held, ..params }
    }

    /// The same for the kernel that does the last layer forward too; the two numbers of a label are elsewhere.
    fn small_params(&self, plan: &Builder<'_>) -> Params {
        let params = self.output_params(plan);
        let layer = plan.params(&plan.request.layers[plan.request.layers.len() - 1]);
        Params { b: layer.b, k_begin: params.b, k_end: params.k_begin, ..params }
    }
}
