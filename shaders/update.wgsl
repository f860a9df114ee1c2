// update.wgsl: the parameters' step, over the flat arena of all weights and biases, and what bounds gradients and weights.
//   P = p.count parameters, of which those below p.b are weights; HYPER numbers a step, in walk
//
// update           : w[i], m[i], v[i] as the optimiser p.rule has them   params, gradients (P), state -> params, state   adds to what is there
//                    (the notes' gradient descent rule, or another; the mean over the rows is already in the gradient)
// gradient_squares : s[g] = sum_i gradients[i]^2 over the i of part g of 64    gradients (P) -> squares (64)              overwrites
// clip_gradients   : g[i] *= c / norm where norm = sqrt(sum_g s[g]) > c        gradients (P), squares (64) -> gradients  scales what is there
// max_norm         : w[o,i] *= c / norm where norm = sqrt(sum_i w[o,i]^2) > c  w (O,I) at p.w -> w                       scales what is there
//
// Sum order: gradient_squares: part g has every 64th block of 64 elements; a lane adds its own, ascending; then a fixed tree over the lanes.
// clip_gradients: that tree over the parts. max_norm: each of 64 lanes adds every 64th term, ascending; then the tree.
// Twin: src/cpu/update.rs, functions of the same names. Change both or neither.
// Grid: update, clip_gradients: 64 elements a workgroup, folded into y; gradient_squares: 64 workgroups, folded into y; max_norm: one
// workgroup of 64 a neuron, folded into y.

struct Params {
    rows: u32,        // B: rows a mini-batch can hold
    inputs: u32,      // I: width of the layer below
    outputs: u32,     // O: width of this layer
    w: u32,           // where w_l starts in the parameter and gradient arenas, in elements
    b: u32,           // where b_l starts there
    k_begin: u32,     // the part of the sum that this dispatch does: terms k_begin <= k < k_end
    k_end: u32,
    activation: u32,  // 0 sigmoid, 1 tanh, 2 relu, 3 identity, 4 leaky relu, 5 elu, 6 gelu, 7 gelu by tanh, 8 silu, 9 softplus
    cost: u32,        // 0 quadratic, 1 binary cross-entropy, 2 categorical cross-entropy, 3 huber, 4 absolute
    format: u32,      // of gathered words, inputs + 4 targets: 0 f32, 1 four bytes (value / 255), 2 class label; + 16: rows have weights; + 32: y is there
    count: u32,       // elements of an elementwise kernel; parameters, where w or their step is concerned
    rule: u32,        // of the optimiser: 0 sgd, 1 momentum, 2 nesterov, 3 rmsprop, 4 adam
    first: u32,       // workgroups before those of this dispatch, where a grid takes several
}
@group(0) @binding(0) var<uniform> p: Params;

// control, with [4] the step whose gradients are there; from p.k_begin on the numbers of all steps.
@group(0) @binding(1) var<storage, read> walk: array<u32>;
@group(0) @binding(2) var<storage, read> gradients: array<f32>;
@group(0) @binding(3) var<storage, read_write> state: array<f32>;
@group(0) @binding(4) var<storage, read_write> params: array<f32>;

fn number(i: u32) -> f32 {
    return bitcast<f32>(walk[p.k_begin + i]);
}

fn the_rule() -> u32 {
    return p.rule;
}

// -- the optimisers; the same text stands in dense.wgsl, dense_registers.wgsl, persistent.wgsl and update.wgsl, and a test compares them --
// There are this many numbers a step, in these places; src/optimizer.rs says what each is. number(i) is the i-th of all steps.
const HYPER: u32 = 14u;
const ETA: u32 = 0u;
const STEP_SIZE: u32 = 1u;
const KEEP: u32 = 2u;
const L2: u32 = 3u;
const L1: u32 = 4u;
const CLIP_VALUE: u32 = 5u;
const CLIP_NORM: u32 = 6u;
const MAX_NORM: u32 = 7u;
const BETA_1: u32 = 8u;
const REST_1: u32 = 9u;
const BETA_2: u32 = 10u;
const REST_2: u32 = 11u;
const ROOT: u32 = 12u;
const EPSILON: u32 = 13u;

// A parameter, and what the optimiser remembers of it.
struct Moved {
    w: f32,
    m: f32,
    v: f32,
}

// The gradient of a parameter as the optimiser sees it: clipped, and with the penalties of a weight. h is where the step's numbers
// start. Written so that a NaN is passed on.
fn regularized(h: u32, w: f32, gradient: f32, is_weight: bool) -> f32 {
    let c = number(h + CLIP_VALUE);
    var g = gradient;
    if (c > 0.0) {
        if (g > c) { g = c; }
        if (g < -c) { g = -c; }
    }
    if (is_weight) { g += number(h + L2) * w + number(h + L1) * sign(w); }
    return g;
}

// The step of one parameter.
fn moved(rule: u32, h: u32, at: Moved, gradient: f32, is_weight: bool) -> Moved {
    let g = regularized(h, at.w, gradient, is_weight);
    var kept = at.w;
    if (is_weight) { kept *= number(h + KEEP); }
    switch (rule) {
        case 0u: { return Moved(kept - number(h + ETA) * g, at.m, at.v); }
        case 1u: {
            let m = number(h + BETA_1) * at.m + g;
            return Moved(kept - number(h + ETA) * m, m, at.v);
        }
        case 2u: {
            let m = number(h + BETA_1) * at.m + g;
            return Moved(kept - number(h + ETA) * (g + number(h + BETA_1) * m), m, at.v);
        }
        case 3u: {
            let v = number(h + BETA_2) * at.v + number(h + REST_2) * (g * g);
            return Moved(kept - number(h + ETA) * (g / (sqrt(v) + number(h + EPSILON))), at.m, v);
        }
        default: {
            let m = number(h + BETA_1) * at.m + number(h + REST_1) * g;
            let v = number(h + BETA_2) * at.v + number(h + REST_2) * (g * g);
            return Moved(kept - number(h + STEP_SIZE) * (m / (sqrt(v) * number(h + ROOT) + number(h + EPSILON))), m, v);
        }
    }
}

// What is remembered of a parameter: m (of rmsprop v) in the first arena of state, adam's v as many numbers further on as an arena has.
fn remembered(e: u32, arena: u32, w: f32) -> Moved {
    var at = Moved(w, 0.0, 0.0);
    if (the_rule() == 1u || the_rule() == 2u || the_rule() == 4u) { at.m = state[e]; }
    if (the_rule() == 3u) { at.v = state[e]; }
    if (the_rule() == 4u) { at.v = state[arena + e]; }
    return at;
}

fn remember(e: u32, arena: u32, at: Moved) {
    if (the_rule() == 1u || the_rule() == 2u || the_rule() == 4u) { state[e] = at.m; }
    if (the_rule() == 3u) { state[e] = at.v; }
    if (the_rule() == 4u) { state[arena + e] = at.v; }
}
// -- end of the optimisers --

@compute @workgroup_size(64, 1, 1)
fn update(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
          @builtin(local_invocation_index) lane: u32) {
    let e = (p.first + group.y * groups.x + group.x) * 64u + lane;
    if (e >= p.count) { return; }
    let now = moved(p.rule, HYPER * walk[4], remembered(e, p.count, params[e]), gradients[e], e < p.b);
    params[e] = now.w;
    remember(e, p.count, now);
}

var<workgroup> part: array<f32, 64>;

// The sum of one number a lane, by a fixed tree. All 64 lanes call it; each gets the sum.
fn sum_of_lanes(x: f32, lane: u32) -> f32 {
    part[lane] = x;
    workgroupBarrier();
    for (var half = 32u; half > 0u; half /= 2u) {
        if (lane < half) { part[lane] += part[lane + half]; }
        workgroupBarrier();
    }
    return part[0];
}

// The factor that brings a vector down to the norm c, from the sum of its squares.
fn factor(c: f32, squares: f32) -> f32 {
    let norm = sqrt(squares);
    var f = 1.0;
    if (norm > c) { f = c / norm; }
    return f;
}

@group(0) @binding(1) var<storage, read> all: array<f32>;
@group(0) @binding(2) var<storage, read_write> squares: array<f32>;

@compute @workgroup_size(64, 1, 1)
fn gradient_squares(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                    @builtin(local_invocation_index) lane: u32) {
    let g = p.first + group.y * groups.x + group.x;
    if (g >= 64u) { return; } // the same for the whole workgroup
    var sum = 0.0;
    for (var e = g * 64u + lane; e < p.count; e += 4096u) { sum += all[e] * all[e]; }
    let total = sum_of_lanes(sum, lane);
    if (lane == 0u) { squares[g] = total; }
}

@group(0) @binding(2) var<storage, read> parts: array<f32>;
@group(0) @binding(3) var<storage, read_write> clipped: array<f32>;

@compute @workgroup_size(64, 1, 1)
fn clip_gradients(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                  @builtin(local_invocation_index) lane: u32) {
    let e = (p.first + group.y * groups.x + group.x) * 64u + lane;
    let f = factor(number(HYPER * walk[4] + CLIP_NORM), sum_of_lanes(parts[lane], lane));
    if (e < p.count) { clipped[e] *= f; }
}

@group(0) @binding(2) var<storage, read_write> weights: array<f32>;

@compute @workgroup_size(64, 1, 1)
fn max_norm(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
            @builtin(local_invocation_index) lane: u32) {
    let o = p.first + group.y * groups.x + group.x;
    if (o >= p.outputs) { return; } // the same for the whole workgroup
    let first = p.w + o * p.inputs;
    var sum = 0.0;
    for (var i = lane; i < p.inputs; i += 64u) { sum += weights[first + i] * weights[first + i]; }
    let f = factor(number(HYPER * walk[4] + MAX_NORM), sum_of_lanes(sum, lane));
    for (var i = lane; i < p.inputs; i += 64u) { weights[first + i] *= f; }
}
