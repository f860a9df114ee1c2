// activation.wgsl: activation functions, their derivatives, and the Hadamard product.
//   B = rows, O = outputs; the elementwise ones see p.count = B * O elements
//
// activation       : a = f(z)                                    z (B,O) -> a (B,O)          overwrites   (equation 2)
// activation_prime : s = f'(z), as f'(f(z)) from the value alone  z (B,O) -> s (B,O)          overwrites   (BP1, BP2)
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
    activation: u32,  // 0 sigmoid, 1 tanh, 2 relu, 3 identity
    cost: u32,        // 0 quadratic, 1 binary cross-entropy, 2 categorical cross-entropy
    format: u32,      // of gathered words, inputs + 4 targets: 0 f32, 1 four bytes (value / 255), 2 class label (one-hot)
    count: u32,       // elements of an elementwise kernel
    spare: u32,
}
@group(0) @binding(0) var<uniform> p: Params;

@group(0) @binding(1) var<storage, read> z: array<f32>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;

// -- the activations; the same text stands in activation.wgsl, dense.wgsl, dense_registers.wgsl and persistent.wgsl, and a test compares them --
// f(z). sigmoid from e^-|z|, which never overflows; relu passes a NaN on instead of hiding it.
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
        default: { return z; }
    }
}

// f'(z), computed from a = f(z).
fn f_prime(kind: u32, a: f32) -> f32 {
    switch (kind) {
        case 0u: { return a * (1.0 - a); }
        case 1u: { return 1.0 - a * a; }
        case 2u: { return select(0.0, 1.0, a > 0.0); }
        default: { return 1.0; }
    }
}
// -- end of the activations --

fn element(group: vec3<u32>, groups: vec3<u32>, lane: u32) -> u32 {
    return (group.y * groups.x + group.x) * 64u + lane;
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
    if (e < p.count) { out[e] = f_prime(p.activation, f(p.activation, z[e])); }
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
    let row = group.y * groups.x + group.x;
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
