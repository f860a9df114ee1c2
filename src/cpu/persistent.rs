//! CPU function of `shaders/persistent.wgsl`: the meaning, where the shader is the method. It is the composition of the kernels
//! of a fused step, with its buffers in rows.

use super::cost::{add_up, move_on};
use super::data::{Examples, gather};
use super::dense::{dense_backward, dense_forward, layer_update};
use super::output_error::{From, Out, output_error};
use crate::kernel::Params;
use crate::optimizer::{HYPER, Rule};
use crate::plan::{WALK_CONTROL, WALK_HEAD, WALK_LAYER};
use crate::real::Real;

/// What [`persistent`] reads.
pub(crate) struct In<'a, T> {
    pub(crate) inputs: &'a [u32],
    pub(crate) targets: &'a [u32],
    pub(crate) hyper: &'a [T],
}

/// What it moves on, besides `walk`.
pub(crate) struct Moved<'a, T> {
    pub(crate) params: &'a mut [T],
    pub(crate) state: &'a mut [T],
    pub(crate) scores: &'a mut [T],
}

/// `p.count` training steps of each of `p.w` networks, or as many as are left of the epoch.
pub(crate) fn persistent<T: Real>(p: &Params, walk: &mut [u32], from: &In<'_, T>, moved: &mut Moved<'_, T>) {
    let layers = p.k_end as usize;
    let (head, own) = walk.split_at_mut(WALK_HEAD + layers * WALK_LAYER);
    let [stride, parameters, steps] = [0, 2, 3].map(|at| head[at] as usize);
    let gathers = Params { count: head[8], ..*p };
    let layers: Vec<Params> = head[WALK_HEAD..]
        .chunks(WALK_LAYER)
        .map(|words| Params {
            rows: p.rows,
            inputs: words[0],
            outputs: words[1],
            w: words[2],
            b: words[3],
            activation: words[4],
            cost: p.cost,
            format: p.format & 16,
            count: head[2],
            rule: p.rule,
            ..Params::default()
        })
        .collect();
    for network in 0..p.w as usize {
        let (control, order) = own[network * stride..][..stride].split_at_mut(WALK_CONTROL);
        let hyper = &from.hyper[HYPER * network * steps..][..HYPER * steps];
        let remembered = Rule::from_code(p.rule).remembers() * parameters;
        let mut moved = Moved {
            params: &mut moved.params[network * parameters..][..parameters],
            state: &mut moved.state[network * remembered..][..remembered],
            scores: &mut moved.scores[2 * network * steps..][..2 * steps],
        };
        for _ in 0..p.count {
            if u64::from(control[0]) * u64::from(p.rows) >= u64::from(control[2]) {
                break;
            }
            step(&gathers, &layers, control, order, &In { hyper, ..*from }, &mut moved);
        }
    }
}

/// One step of one network; `p.count` examples are there to be gathered.
fn step<T: Real>(
    p: &Params,
    layers: &[Params],
    control: &mut [u32],
    order: &[u32],
    from: &In<'_, T>,
    moved: &mut Moved<'_, T>,
) {
    let rows = p.rows as usize;
    let zeros = |columns: u32| vec![T::ZERO; rows * columns as usize];
    let (mut x, mut y) = (zeros(p.inputs), zeros(p.outputs + p.format / 16));
    let of_inputs = Params { outputs: p.inputs, format: p.format & 3, ..*p };
    gather(&of_inputs, &Examples { control, order, words: from.inputs }, &mut x);
    Examples { control, order, words: from.targets }.targets(p, &mut y);

    let (mut z, mut a) = (Vec::new(), vec![x]);
    for (l, layer) in layers.iter().enumerate() {
        let (mut z_l, mut a_l) = (zeros(layer.outputs), zeros(layer.outputs));
        let layer = Params { k_end: layer.inputs, ..*layer };
        dense_forward(&layer, &a[l], moved.params, &mut z_l, &mut a_l);
        z.push(z_l);
        a.push(a_l);
    }

    let last = layers[layers.len() - 1];
    let (mut delta, mut scored) = (zeros(last.outputs), vec![T::ZERO; 2 * rows]);
    // As a fused step has it, which also says which step the gradients belong to.
    let mut now = [control[0], control[1], control[2], control[3], control[0]];
    let a_last = &mut a[layers.len()];
    let mut out = Out { control: &mut now, y: &mut y, a: a_last, delta: &mut delta, rows: &mut scored };
    let z_last = &z[layers.len() - 1];
    output_error(&Params { format: last.format + 32, ..last }, &From { order, targets: &[], z: z_last }, &mut out);
    let h = &from.hyper[HYPER * now[4] as usize..][..HYPER];
    for l in (0..layers.len()).rev() {
        let layer = layers[l];
        let mut below = Vec::new();
        if l > 0 {
            below = zeros(layer.inputs);
            let params = Params { k_end: layer.outputs, activation: layers[l - 1].activation, ..layer };
            dense_backward(&params, &delta, moved.params, [&z[l - 1], &a[l]], &mut below);
        }
        layer_update(&layer, [&delta, &a[l]], h, moved.state, moved.params);
        delta = below;
    }
    add_up(&last, now[0], &scored, moved.scores);
    move_on(&last, now[0], control);
}
