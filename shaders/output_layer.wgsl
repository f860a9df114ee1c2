// output_layer.wgsl: the last layer forward and the error of its output in one, where it has at most 64 outputs.
//   B = rows, I = inputs, O = outputs; weights as in cost.wgsl, targets and p.count as in data.wgsl
//
// output_layer : z = below w^T + b, a = f(z), or softmax(z) for the categorical cross-entropy    below (B,I) (equation 2), kept nowhere
//                y = the targets of the mini-batch, with their weights; a label's two numbers are in k_begin and k_end, kept nowhere
//                delta = weight (a - y) (.) f'(z) / live (f' not with the cross-entropies; a - y as cost_slope has it), 0 past live
//                                                                                                  delta (B,O)   overwrites (BP1)
//                rows = the cost of each row times its weight, then 1 for each that is right, 0 past live (2 B)   overwrites
//                control: the step whose gradients follow, [4], is this one
//
// Sum order: the sum of z_j in PARTS parts, of terms q, q + PARTS, ...; these to b_j, in order. The rest as in output_error.wgsl.
// Twin: src/cpu/output_layer.rs, function of the same name. Change both or neither.
// Grid: one workgroup of LANES a row, folded into y.

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

@group(0) @binding(1) var<storage, read_write> control: array<u32>; // [0] step, [1] live rows, [2] examples; [4] is set to the step
@group(0) @binding(2) var<storage, read> order: array<u32>;
@group(0) @binding(3) var<storage, read> targets: array<u32>;
@group(0) @binding(4) var<storage, read> below: array<f32>;
@group(0) @binding(5) var<storage, read> params: array<f32>;
@group(0) @binding(6) var<storage, read_write> delta_out: array<f32>;
@group(0) @binding(7) var<storage, read_write> rows: array<f32>; // the rows' costs, then whether they are right

// What is known when the pipeline is made: what is not needed falls out of the text, where some adapters would run it for nothing.
override ACTIVATION: u32 = 0u; // as p.activation
override COST: u32 = 0u;       // as p.cost
override LANES: u32 = 64u;     // of a row: 64, or 8 where more would only wait for one another

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

const PARTS = 8u;                          // of a sum
var<workgroup> sums: array<f32, 512>;      // the parts of z
var<workgroup> z: array<f32, 64>;
var<workgroup> a: array<f32, 64>;
var<workgroup> y: array<f32, 64>;

// The targets of an example, as `gather` in data.wgsl has them.
fn gather_targets(example: u32, live: bool, lane: u32) {
    let labels = (p.format & 8u) != 0u;
    for (var j = lane; j < p.outputs; j += LANES) {
        var value = 0.0;
        if (live && labels) {
            value = bitcast<f32>(select(p.k_begin, p.k_end, targets[example] == j));
        } else if (live) {
            value = bitcast<f32>(targets[example * p.outputs + j]);
        }
        y[j] = value;
    }
}

// The weight of an example: the numbers after the targets, where rows have weights.
fn weight_of(example: u32) -> f32 {
    if ((p.format & 16u) == 0u) { return 1.0; }
    return bitcast<f32>(targets[p.count * select(p.outputs, 1u, (p.format & 8u) != 0u) + example]);
}

// z and a of the row. All lanes call it; lanes that are next to each other read what is next to each other.
fn forward(row: u32, lane: u32) {
    for (var item = lane; item < p.outputs * PARTS; item += LANES) {
        let w = p.w + item / PARTS * p.inputs;
        var sum = 0.0;
        for (var k = item % PARTS; k < p.inputs; k += PARTS) { sum += below[row * p.inputs + k] * params[w + k]; }
        sums[item] = sum;
    }
    workgroupBarrier();
    for (var j = lane; j < p.outputs; j += LANES) {
        var zj = params[p.b + j];
        for (var part = 0u; part < PARTS; part++) { zj += sums[j * PARTS + part]; }
        z[j] = zj;
        a[j] = f(ACTIVATION, zj);
    }
}

@compute @workgroup_size(LANES, 1, 1)
fn output_layer(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                @builtin(local_invocation_index) lane: u32) {
    let row = p.first + group.y * groups.x + group.x;
    if (row >= p.rows) { return; } // the same for the whole workgroup
    let live = row < control[1];
    if (row == 0u && lane == 0u) { control[4] = control[0]; }
    var example = 0u;
    if (live) { example = order[control[0] * p.rows + row]; }
    gather_targets(example, live, lane);
    var weight = 0.0;
    if (live) { weight = weight_of(example); }
    forward(row, lane);
    workgroupBarrier();
    var log_sum = vec2(0.0, 0.0);
    if (COST == 2u) {
        log_sum = log_sum_exp(0u, lane);
        var sum = 0.0;
        for (var j = lane; j < p.outputs; j += LANES) {
            let e = exp(z[j] - log_sum.x);
            a[j] = e;
            sum += e;
        }
        let total = row_sum(sum, lane);
        for (var j = lane; j < p.outputs; j += LANES) { a[j] /= total; }
        workgroupBarrier(); // other lanes read what this one has written
    }
    for (var j = lane; j < p.outputs; j += LANES) {
        var delta = 0.0;
        if (live) {
            delta = cost_slope(a[j], y[j]) / f32(control[1]) * weight;
            if (has_f_prime()) { delta *= f_prime(ACTIVATION, z[j], a[j]); }
        }
        delta_out[row * p.outputs + j] = delta;
    }
    let cost = row_cost_of(0u, lane, log_sum) * weight;
    let right = row_right_of(0u, lane);
    if (lane == 0u) {
        rows[row] = select(0.0, cost, live);
        rows[p.rows + row] = select(0.0, f32(right), live);
    }
}
