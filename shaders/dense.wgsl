// dense.wgsl: the fused kernels: one dispatch does one layer's part of a phase.
//   B = rows, I = inputs, O = outputs; w (O,I) and the bias (O) are in the parameter arena at p.w and p.b
//
// dense_forward  : z = a w^T + b, out = f(z)                          a (B,I) -> z, out (B,O)              (equation 2)
// output_error   : delta = weight (a - y) (.) f'(z) / live (f' not with the cross-entropies; a - y as cost_slope has it), the row's cost times
//                  its weight, and whether it is right; weights as in cost.wgsl
//                                                                     z, a, y (B,O) -> delta (B,O), c, n (B)       (BP1)
// dense_backward : delta_l = (delta w) (.) f'(z_l)                    delta (B,O), z_l, a_l (B,I) -> delta_l (B,I) (BP2)
// dense_gradient : dw = delta^T a, db = sum_b delta[b]                delta (B,O), a (B,I) -> gradients     (BP3, BP4)
// dense_update   : the optimiser's step with these gradients          delta (B,O), a (B,I) -> params, state
//                  (in the last two the bias is column I of a, where a is 1)
//
// All but output_error do the terms k_begin <= k < k_end of their sums, as in matmul.wgsl; f' is applied with the last part,
// and f with every part (the last one counts); dense_update has no parts. Otherwise they overwrite; dense_update adds to the parameters.
// Sum order: fixed (k ascending within a tile of 8, tiles ascending; rows as in cost.wgsl).
// Twin: src/cpu/dense.rs, functions of the same names. Change both or neither.
// Grid: one 8x8 workgroup a tile of the result, tiles in row-major order, folded into y; output_error: 64 lanes a row.

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
    format: u32,      // of gathered words, inputs + 4 targets: 0 f32, 1 four bytes (value / 255), 2 class label; + 16: rows have weights
    count: u32,       // elements of an elementwise kernel; parameters, where w or their step is concerned
    rule: u32,        // of the optimiser: 0 sgd, 1 momentum, 2 nesterov, 3 rmsprop, 4 adam
}
@group(0) @binding(0) var<uniform> p: Params;

// -- ln(1 + e); the same text stands in activation.wgsl, cost.wgsl, dense.wgsl, dense_registers.wgsl and persistent.wgsl, and a test compares them --
// ln(1 + e) for 0 <= e <= 1, as 2 artanh(e / (2 + e)) by its series: the logarithm of the sum would lose a small e.
fn ln_1p(e: f32) -> f32 {
    let s = e / (2.0 + e);
    let q = s * s;
    let series = 0.33333334 + q * (0.2 + q * (0.14285715 + q * (0.11111111 + q * (0.09090909 + q * (0.07692308 + q * 0.06666667)))));
    return 2.0 * s + 2.0 * s * q * series;
}
// -- end of ln(1 + e) --

// -- elementary functions; the same text stands in activation.wgsl, dense.wgsl, dense_registers.wgsl and persistent.wgsl, and a test compares them --
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

// -- the activations; the same text stands in activation.wgsl, dense.wgsl, dense_registers.wgsl and persistent.wgsl, and a test compares them --
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

const TILE: u32 = 8u;
var<workgroup> tile_l: array<array<f32, 8>, 8>; // [row of the result][k]
var<workgroup> tile_r: array<array<f32, 8>, 8>; // [k][column of the result]

fn tile_product(y: u32, x: u32) -> f32 {
    var sum = 0.0;
    for (var k = 0u; k < TILE; k++) {
        sum += tile_l[y][k] * tile_r[k][x];
    }
    return sum;
}

@group(0) @binding(1) var<storage, read> below: array<f32>;   // a_{l-1} (B,I)
@group(0) @binding(2) var<storage, read> params: array<f32>;
@group(0) @binding(3) var<storage, read_write> z_out: array<f32>;
@group(0) @binding(4) var<storage, read_write> a_out: array<f32>;

@compute @workgroup_size(8, 8, 1)
fn dense_forward(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                 @builtin(local_invocation_id) local: vec3<u32>) {
    let tiles_x = (p.outputs + TILE - 1u) / TILE;
    let tile = group.y * groups.x + group.x;
    let b = tile / tiles_x * TILE + local.y;
    let o = tile % tiles_x * TILE + local.x;
    let o_load = tile % tiles_x * TILE + local.y; // w is (O,I): rows of w become columns of the result
    var sum = 0.0;
    for (var k0 = p.k_begin; k0 < p.k_end; k0 += TILE) {
        let k = k0 + local.x;
        var l = 0.0;
        var r = 0.0;
        if (b < p.rows && k < p.k_end) { l = below[b * p.inputs + k]; }
        if (o_load < p.outputs && k < p.k_end) { r = params[p.w + o_load * p.inputs + k]; }
        tile_l[local.y][local.x] = l;
        tile_r[local.x][local.y] = r;
        workgroupBarrier();
        sum += tile_product(local.y, local.x);
        workgroupBarrier();
    }
    if (b < p.rows && o < p.outputs) {
        let at = b * p.outputs + o;
        var start = 0.0;
        if (p.k_begin == 0u) { start = params[p.b + o]; } else { start = z_out[at]; }
        let weighted = start + sum;
        z_out[at] = weighted;
        a_out[at] = f(p.activation, weighted);
    }
}

@group(0) @binding(1) var<storage, read> control: array<u32>; // [0] step, [1] live rows
@group(0) @binding(2) var<storage, read> y: array<f32>;
@group(0) @binding(3) var<storage, read> a: array<f32>;
@group(0) @binding(4) var<storage, read> z: array<f32>;
@group(0) @binding(5) var<storage, read_write> delta_out: array<f32>;
@group(0) @binding(6) var<storage, read_write> row_cost: array<f32>;
@group(0) @binding(7) var<storage, read_write> row_right: array<u32>;

// -- the cost of one output; the same text stands in cost.wgsl, dense.wgsl and persistent.wgsl, and a test compares them --
fn is_nan(x: f32) -> bool {
    return (bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u; // a compiler may assume x == x
}

// One output's part of the cost.
fn cost_term(zj: f32, aj: f32, yj: f32, log_sum: vec2<f32>) -> f32 {
    switch (p.cost) {
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
    if (p.cost >= 3u) {
        if (r > select(1.0, 0.0, p.cost == 4u)) { r = 1.0; }
        if (r < select(-1.0, 0.0, p.cost == 4u)) { r = -1.0; }
    }
    return r;
}

// Whether f' is a factor of the output error.
fn has_f_prime() -> bool {
    return p.cost == 0u || p.cost >= 3u;
}
// -- end of the cost of one output --

// -- one row's cost and answer; the same text stands in cost.wgsl and dense.wgsl, and a test compares them --
var<workgroup> part: array<f32, 64>;
var<workgroup> best_a: array<u32, 64>;
var<workgroup> best_y: array<u32, 64>;
var<workgroup> spoilt: array<u32, 64>; // 1 where a NaN was met: such a row is never a right answer

// m = max_k z_k and ln sum_k e^(z_k - m) of the row that starts at first; added up here, they would lose what the smaller one
// has to say. All 64 lanes call it.
fn log_sum_exp(first: u32, lane: u32) -> vec2<f32> {
    var largest = -3.4e38;
    for (var j = lane; j < p.outputs; j += 64u) { largest = max(largest, z[first + j]); }
    part[lane] = largest;
    workgroupBarrier();
    for (var half = 32u; half > 0u; half /= 2u) {
        if (lane < half) { part[lane] = max(part[lane], part[lane + half]); }
        workgroupBarrier();
    }
    let m = part[0];
    workgroupBarrier();
    var sum = 0.0;
    for (var j = lane; j < p.outputs; j += 64u) { sum += exp(z[first + j] - m); }
    let total = row_sum(sum, lane);
    return vec2(m, log(total));
}

// The sum of one number a lane, by a fixed tree. All 64 lanes call it; each gets the sum.
fn row_sum(x: f32, lane: u32) -> f32 {
    part[lane] = x;
    workgroupBarrier();
    for (var half = 32u; half > 0u; half /= 2u) {
        if (lane < half) { part[lane] += part[lane + half]; }
        workgroupBarrier();
    }
    let total = part[0];
    workgroupBarrier();
    return total;
}

// The cost of the row that starts at first. All 64 lanes call it.
fn row_cost_of(first: u32, lane: u32) -> f32 {
    var log_sum = vec2(0.0, 0.0);
    if (p.cost == 2u) { log_sum = log_sum_exp(first, lane); }
    var sum = 0.0;
    for (var j = lane; j < p.outputs; j += 64u) {
        sum += cost_term(z[first + j], a[first + j], y[first + j], log_sum);
    }
    return row_sum(sum, lane);
}

// 1 if the largest output is where the target is largest (the first of equals), else 0; with one output, if both lie on the
// same side of the middle of its range. All 64 lanes call it.
fn row_right_of(first: u32, lane: u32) -> u32 {
    if (p.outputs == 1u) {
        let middle = select(0.5, 0.0, p.activation == 1u);
        let same = (a[first] >= middle) == (y[first] >= middle);
        return select(0u, 1u, same && !is_nan(a[first]));
    }
    var top_a = first + lane;
    var top_y = first + lane;
    var nan = 0u;
    for (var j = lane; j < p.outputs; j += 64u) {
        if (is_nan(a[first + j])) { nan = 1u; }
        if (a[first + j] > a[top_a]) { top_a = first + j; }
        if (y[first + j] > y[top_y]) { top_y = first + j; }
    }
    best_a[lane] = top_a;
    best_y[lane] = top_y;
    spoilt[lane] = nan;
    workgroupBarrier();
    for (var half = 32u; half > 0u; half /= 2u) {
        let other = lane + half;
        if (lane < half && other < p.outputs) {
            let pa = best_a[lane];
            let qa = best_a[other];
            if (a[qa] > a[pa] || (a[qa] == a[pa] && qa < pa)) { best_a[lane] = qa; }
            let py = best_y[lane];
            let qy = best_y[other];
            if (y[qy] > y[py] || (y[qy] == y[py] && qy < py)) { best_y[lane] = qy; }
            spoilt[lane] = max(spoilt[lane], spoilt[other]);
        }
        workgroupBarrier();
    }
    let right = select(0u, 1u, best_a[0] == best_y[0] && spoilt[0] == 0u);
    workgroupBarrier();
    return right;
}

// The weight of a row: the numbers after the targets, where rows have weights.
fn weight_of(row: u32) -> f32 {
    if (p.format < 16u) { return 1.0; }
    return y[p.rows * p.outputs + row];
}
// -- end of one row's cost and answer --

@compute @workgroup_size(64, 1, 1)
fn output_error(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                @builtin(local_invocation_index) lane: u32) {
    let row = group.y * groups.x + group.x;
    if (row >= p.rows) { return; } // the same for the whole workgroup
    let first = row * p.outputs;
    let live = row < control[1];
    for (var j = first + lane; j < first + p.outputs; j += 64u) {
        var delta = 0.0;
        if (live) {
            delta = cost_slope(a[j], y[j]) / f32(control[1]) * weight_of(row);
            if (has_f_prime()) { delta *= f_prime(p.activation, z[j], a[j]); }
        }
        delta_out[j] = delta;
    }
    let cost = row_cost_of(first, lane) * weight_of(row);
    let right = row_right_of(first, lane);
    if (lane == 0u) {
        row_cost[row] = select(0.0, cost, live);
        row_right[row] = select(0u, right, live);
    }
}

@group(0) @binding(1) var<storage, read> delta: array<f32>;     // delta_{l+1} (B,O)
@group(0) @binding(3) var<storage, read> z_here: array<f32>;    // z_l (B,I)
@group(0) @binding(4) var<storage, read> a_here: array<f32>;    // a_l (B,I)
@group(0) @binding(5) var<storage, read_write> delta_here: array<f32>;

@compute @workgroup_size(8, 8, 1)
fn dense_backward(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                  @builtin(local_invocation_id) local: vec3<u32>) {
    let tiles_x = (p.inputs + TILE - 1u) / TILE;
    let tile = group.y * groups.x + group.x;
    let b = tile / tiles_x * TILE + local.y;
    let i = tile % tiles_x * TILE + local.x;
    var sum = 0.0;
    for (var k0 = p.k_begin; k0 < p.k_end; k0 += TILE) {
        var l = 0.0;
        var r = 0.0;
        if (b < p.rows && k0 + local.x < p.k_end) { l = delta[b * p.outputs + k0 + local.x]; }
        if (i < p.inputs && k0 + local.y < p.k_end) { r = params[p.w + (k0 + local.y) * p.inputs + i]; }
        tile_l[local.y][local.x] = l;
        tile_r[local.y][local.x] = r;
        workgroupBarrier();
        sum += tile_product(local.y, local.x);
        workgroupBarrier();
    }
    if (b < p.rows && i < p.inputs) {
        let at = b * p.inputs + i;
        if (p.k_begin != 0u) { sum += delta_here[at]; }
        if (p.k_end == p.outputs) { sum *= f_prime(p.activation, z_here[at], a_here[at]); }
        delta_here[at] = sum;
    }
}

@group(0) @binding(2) var<storage, read> a_below: array<f32>;   // a_{l-1} (B,I)
@group(0) @binding(3) var<storage, read_write> gradients: array<f32>;

// (delta^T [a 1])[o,i] over the rows k_begin..k_end, for this invocation's element of this workgroup's tile.
fn gradient_tile(tile: u32, tiles_x: u32, local: vec3<u32>) -> f32 {
    let i = tile % tiles_x * TILE + local.x;
    let o_load = tile / tiles_x * TILE + local.x; // delta is (B,O): its columns become rows of the result
    var sum = 0.0;
    for (var k0 = p.k_begin; k0 < p.k_end; k0 += TILE) {
        let k = k0 + local.y;
        var l = 0.0;
        var r = 0.0;
        if (o_load < p.outputs && k < p.k_end) { l = delta[k * p.outputs + o_load]; }
        if (i < p.inputs && k < p.k_end) { r = a_below[k * p.inputs + i]; }
        if (i == p.inputs && k < p.k_end) { r = 1.0; }
        tile_l[local.x][local.y] = l;
        tile_r[local.y][local.x] = r;
        workgroupBarrier();
        sum += tile_product(local.y, local.x);
        workgroupBarrier();
    }
    return sum;
}

@compute @workgroup_size(8, 8, 1)
fn dense_gradient(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                  @builtin(local_invocation_id) local: vec3<u32>) {
    let tiles_x = (p.inputs + TILE) / TILE; // I + 1 columns
    let tile = group.y * groups.x + group.x;
    let sum = gradient_tile(tile, tiles_x, local);
    let o = tile / tiles_x * TILE + local.y;
    let i = tile % tiles_x * TILE + local.x;
    if (o < p.outputs && i <= p.inputs) {
        let at = select(p.w + o * p.inputs + i, p.b + o, i == p.inputs);
        var start = 0.0;
        if (p.k_begin != 0u) { start = gradients[at]; }
        gradients[at] = start + sum;
    }
}

@group(0) @binding(3) var<storage, read> hyper: array<f32>;     // HYPER numbers a step
@group(0) @binding(4) var<storage, read> now: array<u32>;       // control: [0] step
@group(0) @binding(5) var<storage, read_write> state: array<f32>;
@group(0) @binding(6) var<storage, read_write> weights: array<f32>;

// -- the optimisers; the same text stands in dense.wgsl, dense_registers.wgsl, persistent.wgsl and update.wgsl, and a test compares them --
// hyper has this many numbers a step, in these places; src/optimizer.rs says what each is.
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
    let c = hyper[h + CLIP_VALUE];
    var g = gradient;
    if (c > 0.0) {
        if (g > c) { g = c; }
        if (g < -c) { g = -c; }
    }
    if (is_weight) { g += hyper[h + L2] * w + hyper[h + L1] * sign(w); }
    return g;
}

// The step of one parameter.
fn moved(rule: u32, h: u32, at: Moved, gradient: f32, is_weight: bool) -> Moved {
    let g = regularized(h, at.w, gradient, is_weight);
    var kept = at.w;
    if (is_weight) { kept *= hyper[h + KEEP]; }
    switch (rule) {
        case 0u: { return Moved(kept - hyper[h + ETA] * g, at.m, at.v); }
        case 1u: {
            let m = hyper[h + BETA_1] * at.m + g;
            return Moved(kept - hyper[h + ETA] * m, m, at.v);
        }
        case 2u: {
            let m = hyper[h + BETA_1] * at.m + g;
            return Moved(kept - hyper[h + ETA] * (g + hyper[h + BETA_1] * m), m, at.v);
        }
        case 3u: {
            let v = hyper[h + BETA_2] * at.v + hyper[h + REST_2] * (g * g);
            return Moved(kept - hyper[h + ETA] * (g / (sqrt(v) + hyper[h + EPSILON])), at.m, v);
        }
        default: {
            let m = hyper[h + BETA_1] * at.m + hyper[h + REST_1] * g;
            let v = hyper[h + BETA_2] * at.v + hyper[h + REST_2] * (g * g);
            return Moved(kept - hyper[h + STEP_SIZE] * (m / (sqrt(v) * hyper[h + ROOT] + hyper[h + EPSILON])), m, v);
        }
    }
}

// What is remembered of a parameter: m (of rmsprop v) in the first arena of state, adam's v as many numbers further on as an arena has.
fn remembered(e: u32, arena: u32, w: f32) -> Moved {
    var at = Moved(w, 0.0, 0.0);
    if (p.rule == 1u || p.rule == 2u || p.rule == 4u) { at.m = state[e]; }
    if (p.rule == 3u) { at.v = state[e]; }
    if (p.rule == 4u) { at.v = state[arena + e]; }
    return at;
}

fn remember(e: u32, arena: u32, at: Moved) {
    if (p.rule == 1u || p.rule == 2u || p.rule == 4u) { state[e] = at.m; }
    if (p.rule == 3u) { state[e] = at.v; }
    if (p.rule == 4u) { state[arena + e] = at.v; }
}
// -- end of the optimisers --

@compute @workgroup_size(8, 8, 1)
fn dense_update(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                @builtin(local_invocation_id) local: vec3<u32>) {
    let tiles_x = (p.inputs + TILE) / TILE; // I + 1 columns
    let tile = group.y * groups.x + group.x;
    let sum = gradient_tile(tile, tiles_x, local);
    let o = tile / tiles_x * TILE + local.y;
    let i = tile % tiles_x * TILE + local.x;
    if (o < p.outputs && i <= p.inputs) {
        let at = select(p.w + o * p.inputs + i, p.b + o, i == p.inputs);
        let next = moved(p.rule, HYPER * now[0], remembered(at, p.count, weights[at]), sum, i < p.inputs);
        weights[at] = next.w;
        remember(at, p.count, next);
    }
}
