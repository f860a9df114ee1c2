//! The persistent plan: one dispatch is many whole training steps, one workgroup a network.
//!
//! `work` holds, for each network, the `B` rows of one neuron side by side, in quads of four: `x`, `y` (with the rows' weights, if they have any, like one more output), then `z`, `a` and `delta` of
//! every layer, the slices' sums of the layer that is at work, and what each row scored.

use super::{BufferId, BufferSpec, Emphasis, Limits, Plan, PlanKind, Request, Role, Round, Source, Step, check_sizes};
use crate::error::{Error, Result};
use crate::kernel::{Element, Kernel, Params, held};
use crate::layer::Layer;
use crate::optimizer::HYPER;

/// Words of a network's [`Role::Control`]: step, live rows, examples, steps before this epoch.
pub(crate) const CONTROL: usize = 4;
/// Words of the head of `walk`, and of each layer after it.
pub(crate) const HEAD: usize = 9;
pub(crate) const LAYER: usize = 11;

/// Multiplications that one dispatch may do a workgroup: at a pessimistic 10 GFLOP/s for one workgroup this is 54 ms at most with
/// everything around them.
const MOST_WORK: u64 = 1 << 27;

/// Steps of the middle round: what is left of a submission after the largest rounds takes few dispatches.
const FEW: usize = 16;

/// Terms that a slice of a forward sum has at least.
const SLICE: usize = 16;

/// Elements that a phase should have for each lane, so that a last, partly idle round costs little.
const SHARE: usize = 8;

/// Records it for so many networks.
///
/// # Errors
/// [`Error::Limit`] where the device does not allow it; [`Error::InvalidOption`] for what the kernel cannot do
/// ([`Request::may_persist`]).
pub(super) fn record(request: &Request<'_>, rows: u32, networks: usize) -> Result<Plan> {
    let (true, Source::Dataset { len, inputs, targets }) = (request.may_persist(), request.source) else {
        let want = "training on resident data, without dropout or a bound on the norm of gradients or weights";
        let value = format!("{:?} with {:?} and {:?}", request.goal, request.update, request.dropout);
        return Err(Error::InvalidOption { option: "request", value, want });
    };
    let (limits, held) = (&request.limits, request.held(len));
    let (layers, first) = (request.layers, request.layers[0]);
    let last = layers[layers.len() - 1];
    let steps = len.div_ceil(request.rows);
    let parameters = last.biases().end;
    let Emphasis { weighted, .. } = request.emphasis;
    let layout = Layout::new(layers, rows, limits.lanes.max(1) as usize, weighted);

    let each = len.saturating_add(CONTROL);
    let mut head =
        vec![each, layout.quads_in_all, parameters, steps, layout.quads, layout.y, layout.partial, layout.rows, held];
    head.extend(layout.layers.iter().flatten());
    let head: Vec<_> = head.into_iter().map(|n| u32::try_from(n).unwrap_or(u32::MAX)).collect();

    let mut buffers: Vec<BufferSpec> = Vec::new();
    let mut add = |name: &str, len: usize, element: Element, role: Role| {
        buffers.push(BufferSpec { name: name.to_owned(), len, element, role, head: Vec::new(), part_of: None });
        BufferId(buffers.len() - 1)
    };
    let walk = add("walk", head.len().saturating_add(each.saturating_mul(networks)), Element::U32, Role::Walk);
    let resident_x = add("inputs", inputs.words(held, first.inputs), Element::U32, Role::Inputs);
    let words = request.emphasis.words(targets, held, last.outputs);
    let resident_y = add("targets", words, Element::U32, Role::Targets);
    let hyper = add("hyper", steps.saturating_mul(HYPER).saturating_mul(networks), Element::F32, Role::Hyper);
    let params = add("params", parameters.saturating_mul(networks), Element::F32, Role::Parameters);
    let remembered = parameters.saturating_mul(networks).saturating_mul(request.update.rule.remembers());
    let state = add("state", remembered.max(1), Element::F32, Role::State);
    let numbers = layout.quads_in_all.saturating_mul(4).saturating_mul(networks);
    let work = add("work", numbers, Element::F32x4, Role::Between);
    let scores = add("scores", steps.saturating_mul(2).saturating_mul(networks), Element::F32, Role::Scores);
    buffers[walk.0].head = head;
    check_sizes(&buffers, limits)?;

    let word = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let bindings = vec![walk, resident_x, resident_y, hyper, params, state, work, scores];
    let label = request.label();
    let mut plan = Plan {
        kind: PlanKind::Persistent,
        rows: request.rows,
        buffers,
        steps: Vec::new(),
        rounds: Vec::new(),
        networks,
        held,
    };
    let most = most_steps(&layout, layers, request, limits, networks)?.min(steps);
    for advances in [most, FEW, 1] {
        if advances > most || plan.rounds.last().is_some_and(|round| round.advances <= advances) {
            continue;
        }
        let params = Params {
            rows,
            inputs: word(first.inputs),
            outputs: word(last.outputs),
            w: word(networks),
            b: label[0].to_bits(),
            k_begin: label[1].to_bits(),
            k_end: word(layers.len()),
            cost: request.cost.map_or(0, crate::Cost::code),
            format: request.emphasis.format(inputs, targets),
            count: word(advances),
            rule: request.update.rule.code(),
            ..Params::default()
        };
        limits.allow(Kernel::Persistent)?;
        limits.grids(Kernel::Persistent, Kernel::Persistent.groups(&params, limits.tiling))?;
        let label = if advances == 1 { "one step".to_owned() } else { format!("{advances} steps") };
        plan.rounds.push(Round { steps: plan.steps.len()..plan.steps.len() + 1, advances });
        plan.steps.push(Step { kernel: Kernel::Persistent, params, bindings: bindings.clone(), label });
    }
    Ok(plan)
}

/// How many training steps one dispatch may do.
fn most_steps(
    layout: &Layout,
    layers: &[Layer],
    request: &Request<'_>,
    limits: &Limits,
    networks: usize,
) -> Result<usize> {
    let weights: u64 = layers.iter().map(|layer| (layer.inputs as u64).saturating_mul(layer.outputs as u64)).sum();
    // Three products of every layer; and a large population does not fit on a GPU all at once.
    let waves = networks.div_ceil(16) as u64;
    let work = weights.saturating_mul(3 * request.rows as u64).saturating_mul(waves);
    if work > MOST_WORK {
        return Err(Error::Limit {
            what: format!("a whole training step of {networks} networks, each in one workgroup"),
            limit: "multiplications of one dispatch a workgroup",
            need: work,
            have: MOST_WORK,
            advice: "use the fused plan",
        });
    }
    let iterations = layout.iterations;
    if iterations > limits.max_iterations {
        return Err(Error::Limit {
            what: "a whole training step in one workgroup".to_owned(),
            limit: "loop iterations of one shader invocation on a software adapter",
            need: iterations,
            have: limits.max_iterations,
            advice: "use the fused plan",
        });
    }
    let steps = (MOST_WORK / work.max(1)).min(limits.max_iterations / iterations.max(1)).clamp(1, 1 << 12);
    usize::try_from(steps).map_err(|_| Error::shape("persistent plan", "a count of steps", steps.to_string()))
}

/// Where things lie in `work`, in quads, and how the lanes share the phases.
struct Layout {
    /// Quads of rows a neuron.
    quads: usize,
    y: usize,
    partial: usize,
    rows: usize,
    quads_in_all: usize,
    /// The words of each layer, as the shader reads them.
    layers: Vec<[usize; LAYER]>,
    /// Loop iterations of one invocation in one step.
    iterations: u64,
}

impl Layout {
    fn new(layers: &[Layer], rows: u32, lanes: usize, weighted: bool) -> Self {
        let held = held(rows) as usize;
        let quads = (rows as usize).div_ceil(4).next_multiple_of(held);
        let mut end = 0_usize;
        let mut take = |neurons: usize| {
            let at = end;
            end = end.saturating_add(neurons.saturating_mul(quads));
            at
        };
        let share = |elements: usize| elements.div_ceil(lanes);
        let mut below = take(layers[0].inputs);
        let y = take(layers[layers.len() - 1].outputs + usize::from(weighted));
        let mut table = Vec::with_capacity(layers.len());
        let mut partial = 0;
        // Gathering: four columns a round, and what surrounds the phases.
        let mut iterations = share(layers[0].inputs.saturating_mul(quads)) + 64;
        for (l, layer) in layers.iter().enumerate() {
            let Layer { inputs, outputs, w, b, activation } = *layer;
            // As many slices as keep the lanes busy, but no shorter than pays.
            let pairs = outputs.div_ceil(2);
            let slices = (SHARE * lanes).div_ceil(pairs).clamp(1, (inputs / SLICE).max(1));
            let chunks = (SHARE * lanes).div_ceil(inputs + 1).clamp(1, outputs);
            // Chunks are equally long but for the last; none may be empty.
            let chunks = outputs.div_ceil(outputs.div_ceil(chunks));
            partial = partial.max(outputs.saturating_mul(slices));
            let [z, a, delta] = [(); 3].map(|()| take(outputs));
            table.push([inputs, outputs, w, b, activation.code() as usize, slices, chunks, below, z, a, delta]);
            below = a;
            let forward = share(pairs * slices) * (quads / held) * (inputs.div_ceil(slices) + 1);
            let sums = share(outputs * quads) * (slices + 1);
            let back = if l == 0 { 0 } else { share(inputs * quads) * (outputs + 1) };
            let update = share((inputs + 1) * chunks) * outputs.div_ceil(chunks) * (quads + 1);
            iterations = iterations.saturating_add(forward + sums + back + update + 8);
        }
        let outputs = layers[layers.len() - 1].outputs;
        // Cost and answers, the output error, the tally.
        iterations = iterations.saturating_add(share(quads) * 4 * (outputs + 1) + share(outputs * quads) + quads);
        let partial_at = take(partial);
        let rows = take(2);
        Self { quads, y, partial: partial_at, rows, quads_in_all: end, layers: table, iterations: iterations as u64 }
    }
}
