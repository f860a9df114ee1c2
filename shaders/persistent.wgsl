// persistent.wgsl: whole training steps of small networks, many of them in one dispatch.
//   B = rows, I = inputs, O = outputs of a layer; Q quads of four rows hold the B rows of one neuron, side by side in `work`;
//   N networks of p.k_end layers; n = examples in the data set
//
// persistent : p.count times, or to the end of the epoch:
//                x, y = examples order[step * B + r], as in data.wgsl                     (rows past the live count are 0)
//                z_l = a_{l-1} w_l^T + b_l, a_l = f(z_l), l = 1..L                        (equation 2)
//                delta_L = weight (a_L - y) (.) f'(z_L) / live (f' not with the cross-entropies) (BP1)
//                scores[2 step], scores[2 step + 1] = cost of the rows, each times its weight; rows that are right
//                delta_{l-1} = (delta_l w_l) (.) f'(z_{l-1}), then
//                w_l and b_l as the optimiser moves them, from the gradients delta_l^T a_{l-1} and sum_b delta_l[b], l = L..1
//                                                                                         (BP2, BP3, BP4)
//              inputs (h,I), targets (h,O), weights (h) after them, h = HELD_ROWS, if p.format says so, walk, hyper -> params, state, scores; adds to params and state, overwrites its own part of scores;
//              walk's step and live rows move on; work is scratch
//
// A workgroup has a network for itself, so a barrier of the workgroup is all that keeps the phases in order; a phase hands its
// lanes elements in a fixed way. Whether one network runs or many, each computes the same bits.
// Sum order: forward: slice s of the inputs adds every S-th term, ascending, then the slices ascending; backward: outputs ascending; gradients: quads ascending, four rows of a quad by dot(); a row's cost: outputs
// ascending; the step's cost: rows ascending.
// Twin: src/cpu/persistent.rs, function of the same name. Change both or neither.
// Grid: one workgroup of LANES a network, folded into y.

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
// Here inputs and outputs are those of the whole network, k_end is its number of layers, w is N, count is the steps to do; b and
// k_begin are the bits of what a label is, as in data.wgsl.

override LANES: u32 = 64u; // invocations of a workgroup
override COST: u32 = 0u;   // as p.cost, and RULE as p.rule: what is not needed falls out of the text
override RULE: u32 = 0u;
override HELD: u32 = 1u;   // quads of rows that a lane keeps in registers, 1 to 4; Q is a multiple

// The head of walk, then LAYER words a layer, then for each network its control and its order of the examples.
const WALK_STRIDE: u32 = 0u;   // words of walk a network
const WORK_STRIDE: u32 = 1u;   // vectors of work a network
const PARAMS_STRIDE: u32 = 2u; // parameters a network
const STEPS: u32 = 3u;         // steps an epoch
const Q_ROWS: u32 = 4u;        // Q
const Y_AT: u32 = 5u;          // where in work the targets are
const PARTIAL_AT: u32 = 6u;    // the slices' sums
const ROWS_AT: u32 = 7u;       // costs of the rows, then whether they are right
const HELD_ROWS: u32 = 8u;     // examples that the device holds at a time
const HEAD: u32 = 9u;
const LAYER: u32 = 11u;
struct Layer {
    inputs: u32,
    outputs: u32,
    w: u32,          // where its weights are among the network's parameters
    b: u32,
    activation: u32,
    slices: u32,     // S: parts of a forward sum
    chunks: u32,     // parts of the outputs, in the update
    below: u32,      // where in work a_{l-1} is
    z: u32,
    a: u32,
    delta: u32,
}

// control, the first four words of a network's part: [0] step within the epoch, [1] live rows of this step, [2] n, [3] steps before this epoch
@group(0) @binding(1) var<storage, read_write> walk: array<u32>;
@group(0) @binding(2) var<storage, read> inputs: array<u32>;
@group(0) @binding(3) var<storage, read> targets: array<u32>;
@group(0) @binding(4) var<storage, read> hyper: array<f32>;   // HYPER numbers a step
@group(0) @binding(5) var<storage, read_write> params: array<f32>;
@group(0) @binding(6) var<storage, read_write> state: array<f32>;   // what the optimiser remembers
@group(0) @binding(7) var<storage, read_write> work: array<vec4<f32>>;
@group(0) @binding(8) var<storage, read_write> scores: array<f32>;

var<workgroup> start: vec2<u32>; // the first step, n

// -- ln(1 + e); the same text stands in activation.wgsl, cost.wgsl, dense.wgsl, dense_registers.wgsl, output_error.wgsl, output_layer.wgsl and persistent.wgsl, and a test compares them --
// ln(1 + e) for 0 <= e <= 1, as 2 artanh(e / (2 + e)) by its series: the logarithm of the sum would lose a small e.
fn ln_1p(e: f32) -> f32 {
    let s = e / (2.0 + e);
    let q = s * s;
    let series = 0.33333334 + q * (0.2 + q * (0.14285715 + q * (0.11111111 + q * (0.09090909 + q * (0.07692308 + q * 0.06666667)))));
    return 2.0 * s + 2.0 * s * q * series;
}
// -- end of ln(1 + e) --

// -- elementary functions; the same text stands in activation.wgsl, dense.wgsl, dense_registers.wgsl, output_error.wgsl, output_layer.wgsl and persistent.wgsl, and a test compares them --
// e^x for x <= 0, and 0 where a driver may stop at the smallest normal number: it may be a factor of something large.
fn exp_down(x: f32) -> f32 {
    return select(exp(x), 0.0, x < -87.33654);
}

// e^x - 1 for x <= 0; near 0 by its series, where the difference would lose its leading digits.
fn exp_m1(x: f32) -> f32 {
    let series = x + x * x * (0.5 + x * (0.16666667 + x * (0.041666668 + x * (0.008333334 + x * 0.0013888889))));
    return select(exp(x) - 1.0, series, x > -0.2);
}

// 1 / (1 + e^-z) and 1 / (1 + e^z), which add up to 1; neither loses its digits where it is small.
fn logistic(z: f32) -> vec2<f32> {
    let e = exp_down(-abs(z));
    return select(vec2(e, 1.0), vec2(1.0, e), z >= 0.0) / (1.0 + e);
}

// Phi(z), the standard normal distribution, and phi(z), its density. Phi(-x) = e^(-x^2/2) R(t), t = 1 / (1 + 0.21 x), x >= 0: the
// form of Abramowitz and Stegun 7.1.26 with more terms, fitted for the smallest relative error (1.4e-8 up to x = 13.5,
// docs/normal_tail.py).
fn normal(z: f32) -> vec2<f32> {
    let x = min(abs(z), 15.0);
    let e = exp_down(-0.5 * x * x);
    let t = 1.0 / (1.0 + 0.21 * x);
    let r = t * (0.083707705 + t * (0.08512941 + t * (0.06879004 + t * (0.12635516 + t * (-0.09724573 + t * (0.35403368
        + t * (-0.33418965 + t * (0.2854534 + t * -0.072033975))))))));
    return vec2(select(1.0 - e * r, e * r, z < 0.0), 0.3989423 * e);
}

// The argument of the logistic function in the gelu by tanh, 2 sqrt(2/pi) (z + 0.044715 z^3), and its slope; beyond 12 nothing changes.
fn gelu_argument(z: f32) -> vec2<f32> {
    let x = clamp(z, -12.0, 12.0);
    return 1.5957692 * vec2(x + 0.044715 * x * x * x, 1.0 + 0.134145 * x * x);
}
// -- end of elementary functions --

// -- the activations; the same text stands in activation.wgsl, dense.wgsl, dense_registers.wgsl, output_error.wgsl, output_layer.wgsl and persistent.wgsl, and a test compares them --
// f(z). sigmoid from e^-|z|, which never overflows; none overflows or hides a NaN.
fn f(kind: u32, z: f32) -> f32 {
    switch (kind) {
        case 0u: {
            let e = exp(-abs(z));
            return select(e, 1.0, z >= 0.0) / (1.0 + e);
        }
        case 1u: {
            // near 0 the quotient below would lose its leading digits: the series z - z^3/3 is exact to f32 there
            if (abs(z) < 0.02) { return z - z * z * z * 0.33333334; }
            let e = exp(-2.0 * abs(z));
            let t = (1.0 - e) / (1.0 + e);
            return select(t, -t, z < 0.0);
        }
        case 2u: { return select(z, 0.0, z < 0.0); }
        case 4u: { return select(z, 0.01 * z, z < 0.0); }
        case 5u: { return select(z, exp_m1(min(z, 0.0)), z < 0.0); }
        case 6u: { return z * normal(z).x; }
        case 7u: { return z * logistic(gelu_argument(z).x).x; }
        case 8u: { return z * logistic(z).x; }
        case 9u: { return select(z, 0.0, z < 0.0) + ln_1p(exp(-abs(z))); }
        default: { return z; }
    }
}

// f'(z), from whichever of z and a = f(z) says it better.
fn f_prime(kind: u32, z: f32, a: f32) -> f32 {
    switch (kind) {
        case 0u: { return a * (1.0 - a); }
        case 1u: { return 1.0 - a * a; }
        case 2u: { return select(0.0, 1.0, a > 0.0); }
        case 4u: { return select(0.01, 1.0, z > 0.0); }
        case 5u: { return select(1.0, a + 1.0, z < 0.0); }
        case 6u: {
            let n = normal(z);
            return n.x + z * n.y;
        }
        case 7u: {
            let v = gelu_argument(z);
            let s = logistic(v.x);
            return s.x + a * s.y * v.y;
        }
        case 8u: {
            let s = logistic(z);
            return s.x + a * s.y;
        }
        case 9u: { return logistic(z).x; }
        default: { return 1.0; }
    }
}
// -- end of the activations --

fn the_cost() -> u32 {
    return COST;
}

// -- the cost of one output; the same text stands in cost.wgsl, output_error.wgsl, output_layer.wgsl and persistent.wgsl, and a test compares them --
fn is_nan(x: f32) -> bool {
    return (bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u; // a compiler may assume x == x
}

// One output's part of the cost.
fn cost_term(zj: f32, aj: f32, yj: f32, log_sum: vec2<f32>) -> f32 {
    switch (the_cost()) {
        case 0u: { return 0.5 * ((aj - yj) * (aj - yj)); }
        case 1u: { return max(zj, 0.0) - zj * yj + ln_1p(exp(-abs(zj))); }
        case 2u: { return yj * ((log_sum.x - zj) + log_sum.y); }
        case 3u: {
            let r = abs(aj - yj);
            return select(r - 0.5, 0.5 * (r * r), r <= 1.0);
        }
        default: { return abs(aj - yj); }
    }
}

// The slope of that along the activation; of the cross-entropies, times f', which cancels. A NaN is passed on.
fn cost_slope(aj: f32, yj: f32) -> f32 {
    var r = aj - yj;
    if (the_cost() >= 3u) {
        if (r > select(1.0, 0.0, the_cost() == 4u)) { r = 1.0; }
        if (r < select(-1.0, 0.0, the_cost() == 4u)) { r = -1.0; }
    }
    return r;
}

// Whether f' is a factor of the output error.
fn has_f_prime() -> bool {
    return the_cost() == 0u || the_cost() >= 3u;
}
// -- end of the cost of one output --

fn number(i: u32) -> f32 {
    return hyper[i];
}

fn the_rule() -> u32 {
    return RULE;
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

// Where this workgroup's network has its things, and Q.
var<private> walk_at: u32;
var<private> work_at: u32;
var<private> params_at: u32;
var<private> state_at: u32;
var<private> quads: u32;

fn layer(l: u32) -> Layer {
    let at = HEAD + l * LAYER;
    return Layer(walk[at], walk[at + 1u], params_at + walk[at + 2u], params_at + walk[at + 3u], walk[at + 4u], walk[at + 5u],
                 walk[at + 6u], work_at + walk[at + 7u], work_at + walk[at + 8u], work_at + walk[at + 9u],
                 work_at + walk[at + 10u]);
}

// Column i of the inputs of row r of this step, 0 past live.
fn input_of(step: u32, r: u32, live: u32, i: u32) -> f32 {
    if (r >= live) { return 0.0; }
    let at = walk[walk_at + 4u + step * p.rows + r] * p.inputs + i;
    if ((p.format & 3u) == 1u) { return f32((inputs[at >> 2u] >> ((at & 3u) * 8u)) & 255u) * 0.003921569; }
    return bitcast<f32>(inputs[at]);
}

// Target o of row r of this step, 0 past live; its weight, where o is O.
fn target_of(step: u32, r: u32, live: u32, o: u32) -> f32 {
    if (r >= live) { return 0.0; }
    let example = walk[walk_at + 4u + step * p.rows + r];
    let labels = (p.format & 8u) != 0u;
    if (o == p.outputs) {
        // The row's weight: it stands after all targets, as many of them as the device holds.
        return bitcast<f32>(targets[walk[HELD_ROWS] * select(p.outputs, 1u, labels) + example]);
    }
    if (labels) { return bitcast<f32>(select(p.b, p.k_begin, targets[example] == o)); }
    return bitcast<f32>(targets[example * p.outputs + o]);
}

// x and y of this step, a neuron's rows side by side; their weights like one more output.
fn gather(step: u32, live: u32, x_at: u32, lane: u32) {
    for (var e = lane; e < p.inputs * quads; e += LANES) {
        let i = e % p.inputs;
        let q = e / p.inputs;
        let r = 4u * q;
        work[x_at + i * quads + q] = vec4(input_of(step, r, live, i), input_of(step, r + 1u, live, i),
                                          input_of(step, r + 2u, live, i), input_of(step, r + 3u, live, i));
    }
    let y_at = work_at + walk[Y_AT];
    let columns = p.outputs + p.format / 16u;
    for (var e = lane; e < columns * quads; e += LANES) {
        let o = e % columns;
        let q = e / columns;
        let r = 4u * q;
        work[y_at + o * quads + q] = vec4(target_of(step, r, live, o), target_of(step, r + 1u, live, o),
                                          target_of(step, r + 2u, live, o), target_of(step, r + 3u, live, o));
    }
}

// Slice s of z[o] - b[o] for two outputs and all rows, by the lane that has (o, s): neighbours read neighbouring weights, and a
// quad of activations that is read serves eight products.
fn forward_slices(at: Layer, lane: u32) {
    let to = work_at + walk[PARTIAL_AT];
    for (var e = lane; e < (at.outputs + 1u) / 2u * at.slices; e += LANES) {
        let o = e / at.slices * 2u;
        let s = e % at.slices;
        let two = o + 1u < at.outputs; // else the last output stands alone, and its sum is worked out twice
        let u_row = at.w + o * at.inputs;
        let v_row = select(u_row, u_row + at.inputs, two);
        for (var q = 0u; q < quads; q += HELD) {
            var u0 = vec4(0.0);
            var u1 = vec4(0.0);
            var u2 = vec4(0.0);
            var u3 = vec4(0.0);
            var v0 = vec4(0.0);
            var v1 = vec4(0.0);
            var v2 = vec4(0.0);
            var v3 = vec4(0.0);
            for (var i = s; i < at.inputs; i += at.slices) {
                let u = params[u_row + i];
                let v = params[v_row + i];
                let first = at.below + i * quads + q;
                let a0 = work[first];
                u0 += u * a0;
                v0 += v * a0;
                if (HELD > 1u) {
                    let a1 = work[first + 1u];
                    u1 += u * a1;
                    v1 += v * a1;
                }
                if (HELD > 2u) {
                    let a2 = work[first + 2u];
                    u2 += u * a2;
                    v2 += v * a2;
                }
                if (HELD > 3u) {
                    let a3 = work[first + 3u];
                    u3 += u * a3;
                    v3 += v * a3;
                }
            }
            let u_to = to + (o * at.slices + s) * quads + q;
            work[u_to] = u0;
            if (HELD > 1u) { work[u_to + 1u] = u1; }
            if (HELD > 2u) { work[u_to + 2u] = u2; }
            if (HELD > 3u) { work[u_to + 3u] = u3; }
            if (two) {
                let v_to = u_to + at.slices * quads;
                work[v_to] = v0;
                if (HELD > 1u) { work[v_to + 1u] = v1; }
                if (HELD > 2u) { work[v_to + 2u] = v2; }
                if (HELD > 3u) { work[v_to + 3u] = v3; }
            }
        }
    }
}

// z and a of a layer, from the slices' sums.
fn forward_sums(at: Layer, lane: u32) {
    let first = work_at + walk[PARTIAL_AT];
    for (var e = lane; e < at.outputs * quads; e += LANES) {
        let o = e / quads;
        let q = e % quads;
        var z = vec4(params[at.b + o]);
        for (var s = 0u; s < at.slices; s++) { z += work[first + (o * at.slices + s) * quads + q]; }
        work[at.z + e] = z;
        work[at.a + e] = vec4(f(at.activation, z.x), f(at.activation, z.y), f(at.activation, z.z), f(at.activation, z.w));
    }
}

// The weights of four rows.
fn weight_of(last: Layer, q: u32) -> vec4<f32> {
    if (p.format < 16u) { return vec4(1.0); }
    return work[work_at + walk[Y_AT] + last.outputs * quads + q];
}

// Cost and answer of four rows a lane; with the categorical cost their softmax first.
fn judge(at: Layer, lane: u32) {
    let y_at = work_at + walk[Y_AT];
    let out = work_at + walk[ROWS_AT];
    for (var q = lane; q < quads; q += LANES) {
        var m = vec4(0.0);
        var log_sum = vec4(0.0);
        if (COST == 2u) {
            m = vec4(-3.4e38);
            for (var o = 0u; o < at.outputs; o++) { m = max(m, work[at.z + o * quads + q]); }
            var sum = vec4(0.0);
            for (var o = 0u; o < at.outputs; o++) { sum += exp(work[at.z + o * quads + q] - m); }
            for (var o = 0u; o < at.outputs; o++) { work[at.a + o * quads + q] = exp(work[at.z + o * quads + q] - m) / sum; }
            log_sum = log(sum);
        }
        var cost = vec4(0.0);
        var top_a = vec4(-3.4e38);
        var top_y = vec4(-3.4e38);
        var best_a = vec4(0u);
        var best_y = vec4(0u);
        var spoilt = vec4(false);
        for (var o = 0u; o < at.outputs; o++) {
            let z = work[at.z + o * quads + q];
            let a = work[at.a + o * quads + q];
            let y = work[y_at + o * quads + q];
            cost += vec4(cost_term(z.x, a.x, y.x, vec2(m.x, log_sum.x)), cost_term(z.y, a.y, y.y, vec2(m.y, log_sum.y)),
                         cost_term(z.z, a.z, y.z, vec2(m.z, log_sum.z)), cost_term(z.w, a.w, y.w, vec2(m.w, log_sum.w)));
            spoilt = spoilt | vec4(is_nan(a.x), is_nan(a.y), is_nan(a.z), is_nan(a.w));
            best_a = select(best_a, vec4(o), a > top_a);
            best_y = select(best_y, vec4(o), y > top_y);
            top_a = select(top_a, a, a > top_a);
            top_y = select(top_y, y, y > top_y);
        }
        var right = best_a == best_y;
        if (at.outputs == 1u) {
            let middle = vec4(select(0.5, 0.0, at.activation == 1u));
            right = (top_a >= middle) == (top_y >= middle);
        }
        work[out + q] = cost * weight_of(at, q);
        work[out + quads + q] = select(vec4(0.0), vec4(1.0), right & !spoilt);
    }
}

// delta_L (BP1).
fn output_error(at: Layer, live: u32, lane: u32) {
    let y_at = work_at + walk[Y_AT];
    for (var e = lane; e < at.outputs * quads; e += LANES) {
        let a = work[at.a + e];
        let z = work[at.z + e];
        let y = work[y_at + e];
        var delta = vec4(cost_slope(a.x, y.x), cost_slope(a.y, y.y), cost_slope(a.z, y.z), cost_slope(a.w, y.w)) / f32(live);
        if (has_f_prime()) { delta *= slope(at.activation, z, a); }
        delta *= weight_of(at, e % quads);
        let r = vec4(4u * (e % quads)) + vec4(0u, 1u, 2u, 3u);
        work[at.delta + e] = select(vec4(0.0), delta, r < vec4(live));
    }
}

// What the rows scored, by one lane.
fn tally(step: u32, live: u32, scores_at: u32) {
    let first = work_at + walk[ROWS_AT];
    var cost = 0.0;
    var right = 0.0;
    for (var q = 0u; 4u * q < live; q++) {
        let r = vec4(4u * q) + vec4(0u, 1u, 2u, 3u);
        let costs = select(vec4(0.0), work[first + q], r < vec4(live));
        let rights = select(vec4(0.0), work[first + quads + q], r < vec4(live));
        cost = (((cost + costs.x) + costs.y) + costs.z) + costs.w;
        right += rights.x + rights.y + rights.z + rights.w;
    }
    scores[scores_at + 2u * step] = cost;
    scores[scores_at + 2u * step + 1u] = right;
}

// f' of four rows.
fn slope(kind: u32, z: vec4<f32>, a: vec4<f32>) -> vec4<f32> {
    return vec4(f_prime(kind, z.x, a.x), f_prime(kind, z.y, a.y), f_prime(kind, z.z, a.z), f_prime(kind, z.w, a.w));
}

// delta_{l-1} of the layer under this one (BP2).
fn backward(at: Layer, under: Layer, lane: u32) {
    for (var e = lane; e < at.inputs * quads; e += LANES) {
        let i = e / quads;
        let q = e % quads;
        var sum = vec4(0.0);
        for (var o = 0u; o < at.outputs; o++) { sum += params[at.w + o * at.inputs + i] * work[at.delta + o * quads + q]; }
        work[under.delta + e] = sum * slope(under.activation, work[under.z + e], work[under.a + e]);
    }
}

// Arenas of numbers that a rule remembers.
fn arenas(rule: u32) -> u32 {
    return select(select(1u, 2u, rule == 4u), 0u, rule == 0u);
}

// The optimiser's step of one parameter.
fn step_parameter(to: u32, h: u32, gradient: f32, is_weight: bool) {
    let arena = walk[PARAMS_STRIDE];
    let memory = state_at + to - params_at;
    let next = moved(RULE, h, remembered(memory, arena, params[to]), gradient, is_weight);
    params[to] = next.w;
    remember(memory, arena, next);
}

// w and b of a layer (BP3, BP4): a lane has column i (column I is the bias, whose a is 1) of a part of the outputs, so that
// neighbours step neighbouring weights.
fn update(at: Layer, h: u32, lane: u32) {
    let columns = at.inputs + 1u;
    let outputs = (at.outputs + at.chunks - 1u) / at.chunks;
    for (var e = lane; e < columns * at.chunks; e += LANES) {
        let i = e % columns;
        let first = e / columns * outputs;
        let bias = i == at.inputs;
        let end = min(first + outputs, at.outputs);
        if (quads == HELD) {
            // All rows of the column at once, read once for all outputs.
            var a0 = vec4(1.0);
            var a1 = vec4(1.0);
            var a2 = vec4(1.0);
            var a3 = vec4(1.0);
            if (!bias) {
                let a = at.below + i * quads;
                a0 = work[a];
                if (HELD > 1u) { a1 = work[a + 1u]; }
                if (HELD > 2u) { a2 = work[a + 2u]; }
                if (HELD > 3u) { a3 = work[a + 3u]; }
            }
            for (var o = first; o < end; o++) {
                let delta = at.delta + o * quads;
                var sum = dot(work[delta], a0);
                if (HELD > 1u) { sum += dot(work[delta + 1u], a1); }
                if (HELD > 2u) { sum += dot(work[delta + 2u], a2); }
                if (HELD > 3u) { sum += dot(work[delta + 3u], a3); }
                step_parameter(select(at.w + o * at.inputs + i, at.b + o, bias), h, sum, !bias);
            }
            continue;
        }
        for (var o = first; o < end; o++) {
            var sum = 0.0;
            for (var q = 0u; q < quads; q++) {
                var a = vec4(1.0);
                if (!bias) { a = work[at.below + i * quads + q]; }
                sum += dot(work[at.delta + o * quads + q], a);
            }
            step_parameter(select(at.w + o * at.inputs + i, at.b + o, bias), h, sum, !bias);
        }
    }
}

@compute @workgroup_size(LANES, 1, 1)
fn persistent(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
              @builtin(local_invocation_index) lane: u32) {
    let network = p.first + group.y * groups.x + group.x;
    if (network >= p.w) { return; } // the same for the whole workgroup
    walk_at = HEAD + p.k_end * LAYER + network * walk[WALK_STRIDE];
    work_at = network * walk[WORK_STRIDE];
    params_at = network * walk[PARAMS_STRIDE];
    state_at = params_at * arenas(RULE);
    quads = walk[Q_ROWS];
    let steps = walk[STEPS];
    if (lane == 0u) { start = vec2(walk[walk_at], walk[walk_at + 2u]); }
    let known = workgroupUniformLoad(&start); // what all lanes agree on may decide about barriers
    var step = known.x;
    for (var t = 0u; t < p.count; t++) {
        if (step * p.rows >= known.y) { break; }
        let live = min(p.rows, known.y - step * p.rows);
        gather(step, live, layer(0u).below, lane);
        storageBarrier();
        for (var l = 0u; l < p.k_end; l++) {
            forward_slices(layer(l), lane);
            storageBarrier();
            forward_sums(layer(l), lane);
            storageBarrier();
        }
        let last = layer(p.k_end - 1u);
        judge(last, lane);
        storageBarrier();
        output_error(last, live, lane);
        if (lane == 0u) { tally(step, live, network * 2u * steps); }
        storageBarrier();
        let h = HYPER * (network * steps + step);
        // delta_{l-1} needs the old w_l, so a layer's update comes one phase after its error, beside the next layer's.
        for (var l = p.k_end; l > 1u; l--) {
            if (l < p.k_end) { update(layer(l), h, lane); }
            backward(layer(l - 1u), layer(l - 2u), lane);
            storageBarrier();
        }
        if (p.k_end > 1u) { update(layer(1u), h, lane); }
        update(layer(0u), h, lane);
        storageBarrier();
        step++;
    }
    if (lane == 0u) {
        walk[walk_at] = step;
        walk[walk_at + 1u] = min(p.rows, known.y - min(step * p.rows, known.y));
    }
}
