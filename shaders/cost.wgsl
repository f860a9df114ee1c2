// cost.wgsl: the cost, its derivative, and the count of right answers.
//   B = rows, O = outputs; live = control[1], the rows of this mini-batch that hold an example; y (B,O), then weights (B) if
//   p.format says that rows have them, else weight[b] = 1
//
// cost_derivative : g[b,j] = weight[b] slope(a[b,j], y[b,j]) / live, 0 past live; the slope is a - y, that of huber at most 1, of absolute its sign
//                                                                            a, y (B,O) -> g (B,O)         overwrites
//                   (equation 6's first factor; for the cross-entropies, where f' cancels, already the output error;
//                   the one place where the mean over the rows is taken)
// cost_value      : c[b] = weight[b] sum_j term(z[b,j], a[b,j], y[b,j])   z, y, a (B,O) -> c (B)                     overwrites
// count_right     : n[b] = 1 if argmax a[b] = argmax y[b], 0 past live       a, y (B,O) -> n (B)           overwrites
// tally           : scores[2 step] = sum_b c[b] of the live rows, scores[2 step + 1] = sum_b n[b]   c, n (B) -> two a step      overwrites
//                   then, if p.count is 1, control moves on to the next mini-batch: step + 1 (in [4] too), and its live rows
//
// Sum order: each of 64 lanes adds every 64th term, ascending; then a fixed tree over the lanes.
// Twin: src/cpu/cost.rs, functions of the same names. Change both or neither.
// Grid: cost_derivative: 64 elements a workgroup, folded into y; cost_value, count_right: one workgroup of 64 a row, folded
// into y; tally: one workgroup.

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

@group(0) @binding(1) var<storage, read> control: array<u32>; // [0] step, [1] live rows
@group(0) @binding(2) var<storage, read> y: array<f32>;
@group(0) @binding(3) var<storage, read> a: array<f32>;
@group(0) @binding(1) var<storage, read> z: array<f32>; // in cost_value, which has no need of control
@group(0) @binding(4) var<storage, read_write> costs: array<f32>; // the first B of what a row scores

// -- ln(1 + e); the same text stands in activation.wgsl, cost.wgsl, dense.wgsl, dense_registers.wgsl, output_error.wgsl, output_layer.wgsl and persistent.wgsl, and a test compares them --
// ln(1 + e) for 0 <= e <= 1, as 2 artanh(e / (2 + e)) by its series: the logarithm of the sum would lose a small e.
fn ln_1p(e: f32) -> f32 {
    let s = e / (2.0 + e);
    let q = s * s;
    let series = 0.33333334 + q * (0.2 + q * (0.14285715 + q * (0.11111111 + q * (0.09090909 + q * (0.07692308 + q * 0.06666667)))));
    return 2.0 * s + 2.0 * s * q * series;
}
// -- end of ln(1 + e) --

const LANES: u32 = 64u;

fn the_cost() -> u32 {
    return p.cost;
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

// -- one row's cost and answer; the same text stands in cost.wgsl, output_error.wgsl and output_layer.wgsl, and a test compares them --
var<workgroup> part: array<f32, 64>;
var<workgroup> best_a: array<u32, 64>;
var<workgroup> best_y: array<u32, 64>;
var<workgroup> spoilt: array<u32, 64>; // 1 where a NaN was met: such a row is never a right answer

// m = max_k z_k and ln sum_k e^(z_k - m) of the row that starts at first; added up here, they would lose what the smaller one
// has to say. All lanes call it.
fn log_sum_exp(first: u32, lane: u32) -> vec2<f32> {
    var largest = -3.4e38;
    for (var j = lane; j < p.outputs; j += LANES) { largest = max(largest, z[first + j]); }
    part[lane] = largest;
    workgroupBarrier();
    for (var half = LANES / 2u; half > 0u; half /= 2u) {
        if (lane < half) { part[lane] = max(part[lane], part[lane + half]); }
        workgroupBarrier();
    }
    let m = part[0];
    workgroupBarrier();
    var sum = 0.0;
    for (var j = lane; j < p.outputs; j += LANES) { sum += exp(z[first + j] - m); }
    let total = row_sum(sum, lane);
    return vec2(m, log(total));
}

// The sum of one number a lane, by a fixed tree. All lanes call it; each gets the sum.
fn row_sum(x: f32, lane: u32) -> f32 {
    part[lane] = x;
    workgroupBarrier();
    for (var half = LANES / 2u; half > 0u; half /= 2u) {
        if (lane < half) { part[lane] += part[lane + half]; }
        workgroupBarrier();
    }
    let total = part[0];
    workgroupBarrier();
    return total;
}

// The cost of the row that starts at first; log_sum is that of the row, where the cost has a softmax. All lanes call it.
fn row_cost_of(first: u32, lane: u32, log_sum: vec2<f32>) -> f32 {
    var sum = 0.0;
    for (var j = lane; j < p.outputs; j += LANES) {
        sum += cost_term(z[first + j], a[first + j], y[first + j], log_sum);
    }
    return row_sum(sum, lane);
}

// 1 if the largest output is where the target is largest (the first of equals), else 0; with one output, if both lie on the
// same side of the middle of its range. All lanes call it.
fn row_right_of(first: u32, lane: u32) -> u32 {
    if (p.outputs == 1u) {
        let middle = select(0.5, 0.0, p.activation == 1u);
        let same = (a[first] >= middle) == (y[first] >= middle);
        return select(0u, 1u, same && !is_nan(a[first]));
    }
    var top_a = first + lane;
    var top_y = first + lane;
    var nan = 0u;
    for (var j = lane; j < p.outputs; j += LANES) {
        if (is_nan(a[first + j])) { nan = 1u; }
        if (a[first + j] > a[top_a]) { top_a = first + j; }
        if (y[first + j] > y[top_y]) { top_y = first + j; }
    }
    best_a[lane] = top_a;
    best_y[lane] = top_y;
    spoilt[lane] = nan;
    workgroupBarrier();
    for (var half = LANES / 2u; half > 0u; half /= 2u) {
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
// -- end of one row's cost and answer --

// The weight of a row: the numbers after the targets, where rows have weights.
fn weight_of(row: u32) -> f32 {
    if ((p.format & 16u) == 0u) { return 1.0; }
    return y[p.rows * p.outputs + row];
}

@compute @workgroup_size(64, 1, 1)
fn cost_value(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
              @builtin(local_invocation_index) lane: u32) {
    let row = p.first + group.y * groups.x + group.x;
    if (row >= p.rows) { return; }
    var log_sum = vec2(0.0, 0.0);
    if (p.cost == 2u) { log_sum = log_sum_exp(row * p.outputs, lane); }
    let sum = row_cost_of(row * p.outputs, lane, log_sum) * weight_of(row);
    if (lane == 0u) { costs[row] = sum; }
}

@group(0) @binding(4) var<storage, read_write> rights: array<f32>; // the next B

@compute @workgroup_size(64, 1, 1)
fn count_right(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
               @builtin(local_invocation_index) lane: u32) {
    let row = p.first + group.y * groups.x + group.x;
    if (row >= p.rows) { return; }
    let right = row_right_of(row * p.outputs, lane);
    if (lane == 0u) { rights[p.rows + row] = select(0.0, f32(right), row < control[1]); }
}

@group(0) @binding(4) var<storage, read_write> derivative: array<f32>;

@compute @workgroup_size(64, 1, 1)
fn cost_derivative(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                   @builtin(local_invocation_index) lane: u32) {
    let e = (p.first + group.y * groups.x + group.x) * 64u + lane;
    if (e >= p.count) { return; }
    var g = 0.0;
    if (e / p.outputs < control[1]) { g = cost_slope(a[e], y[e]) / f32(control[1]) * weight_of(e / p.outputs); }
    derivative[e] = g;
}

// As control above, with [2] the examples of the data set.
@group(0) @binding(1) var<storage, read_write> moving: array<u32>;
@group(0) @binding(2) var<storage, read> rows: array<f32>;
@group(0) @binding(3) var<storage, read_write> scores: array<f32>;

@compute @workgroup_size(64, 1, 1)
fn tally(@builtin(local_invocation_index) lane: u32) {
    var cost = 0.0;
    var right = 0.0; // exact: rows are at most 2^24
    for (var b = lane; b < p.rows; b += 64u) {
        if (b < moving[1]) { cost += rows[b]; }
        right += rows[p.rows + b];
    }
    let costs_in_all = row_sum(cost, lane);
    let rights_in_all = row_sum(right, lane);
    if (lane == 0u) {
        let step = moving[0];
        scores[2u * step] = costs_in_all;
        scores[2u * step + 1u] = rights_in_all;
        if (p.count == 1u) {
            moving[0] = step + 1u;
            moving[4] = step + 1u;
            moving[1] = min(p.rows, moving[2] - min((step + 1u) * p.rows, moving[2]));
        }
    }
}
