// activation.wgsl: activation functions, their derivatives, and the Hadamard product.
//   B = rows, O = outputs; the elementwise ones see p.count = B * O elements
//
// activation       : a = f(z)                                    z (B,O) -> a (B,O)          overwrites   (equation 2)
// activation_prime : s = f'(z)                                   z (B,O) -> s (B,O)          overwrites   (BP1, BP2)
// hadamard         : c = x (.) y                                 x, y (B,O) -> c (B,O)       overwrites   (BP1a, BP2)
// softmax          : a[b,j] = e^(z[b,j] - m) / sum_k e^(z[b,k] - m), m = max_k z[b,k]
//                                                                z (B,O) -> a (B,O)          overwrites
//
// Sum order: softmax: each of 64 lanes adds every 64th term, ascending; then a fixed tree over the lanes.
// Twin: src/cpu/activation.rs, functions of the same names. Change both or neither.
// Grid: elementwise: 64 elements a workgroup, folded into y; softmax: one workgroup of 64 a row, folded into y.

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

@group(0) @binding(1) var<storage, read> z: array<f32>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;

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

fn element(group: vec3<u32>, groups: vec3<u32>, lane: u32) -> u32 {
    return (p.first + group.y * groups.x + group.x) * 64u + lane;
}

@compute @workgroup_size(64, 1, 1)
fn activation(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
              @builtin(local_invocation_index) lane: u32) {
    let e = element(group, groups, lane);
    if (e < p.count) { out[e] = f(p.activation, z[e]); }
}

@compute @workgroup_size(64, 1, 1)
fn activation_prime(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                    @builtin(local_invocation_index) lane: u32) {
    let e = element(group, groups, lane);
    if (e < p.count) { out[e] = f_prime(p.activation, z[e], f(p.activation, z[e])); }
}

@group(0) @binding(2) var<storage, read> y: array<f32>;
@group(0) @binding(3) var<storage, read_write> product: array<f32>;

@compute @workgroup_size(64, 1, 1)
fn hadamard(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
            @builtin(local_invocation_index) lane: u32) {
    let e = element(group, groups, lane);
    if (e < p.count) { product[e] = z[e] * y[e]; }
}

var<workgroup> part: array<f32, 64>;

@compute @workgroup_size(64, 1, 1)
fn softmax(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
           @builtin(local_invocation_index) lane: u32) {
    let row = p.first + group.y * groups.x + group.x;
    if (row >= p.rows) { return; } // the same for the whole workgroup
    let first = row * p.outputs;
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
    part[lane] = sum;
    workgroupBarrier();
    for (var half = 32u; half > 0u; half /= 2u) {
        if (lane < half) { part[lane] += part[lane + half]; }
        workgroupBarrier();
    }
    for (var j = lane; j < p.outputs; j += 64u) { out[first + j] = exp(z[first + j] - m) / part[0]; }
}
