// dense.wgsl: the fused kernels: one dispatch does one layer's part of a phase.
//   B = rows, I = inputs, O = outputs; w (O,I) and the bias (O) are in the parameter arena at p.w and p.b
//
// dense_forward  : z = a w^T + b, out = f(z)                          a (B,I) -> z, out (B,O)              (equation 2)
// dense_backward : delta_l = (delta w) (.) f'(z_l)                    delta (B,O), z_l, a_l (B,I) -> delta_l (B,I) (BP2)
// gather_forward : the same of the first layer, whose a is the mini-batch: x = examples order[step * B + r], as in data.wgsl
//                                                                     inputs (n,I), order (n) -> x (B,I), z, out (B,O)
// dense_gradient : dw = delta^T a, db = sum_b delta[b] of all layers  delta (B,O), a (B,I) -> gradients     (BP3, BP4)
// dense_update   : the optimiser's step with these gradients          delta (B,O), a (B,I) -> params, state
//                  (in the last two the bias is column I of a, where a is 1; with the last part of the sums both add up what the rows
//                  scored, as tally in cost.wgsl, and control moves on)
//
// All do the terms k_begin <= k < k_end of their sums, as in matmul.wgsl; f' is applied with the last part,
// and f with every part (the last one counts); dense_update has no parts. Otherwise they overwrite; dense_update adds to the parameters.
// Sum order: fixed (k ascending; with a SIDE of 4, group g of four has the terms k = g mod 4 of each block of 16, ascending, and the
// groups are added in order; the rows' scores: each of 64 lanes every 64th, ascending, then a fixed tree).
// Twin: src/cpu/dense.rs, functions of the same names. Change both or neither.
// Grid: one workgroup of 64 a tile of the result, tiles in row-major order, folded into y.

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

// What is known when the pipeline is made: what is not needed falls out of the text, where some adapters would run it for nothing.
override ACTIVATION: u32 = 0u; // as p.activation
override RULE: u32 = 0u;       // as p.rule

// A workgroup computes a tile of the result, a lane 1, 2 or 4 blocks of 4 x 4 of it in registers: what it loads from workgroup memory
// is used four or eight times. The tile has SIDE x 4 ROW_QUADS rows and SIDE x 4 COLUMN_QUADS columns: up to 64 x 64. With a SIDE
// of 4, for small results, there are 16 lanes for the tile, four times: each group of 16 has every fourth term of the sum, and then
// one row of each block, which it adds up from the four groups in their order.
override SIDE: u32 = 8u;         // 8 or 4
override ROW_QUADS: u32 = 1u;    // 1 or 2, with a SIDE of 4 only 1
override COLUMN_QUADS: u32 = 1u; // the same

const LANES: u32 = 64u;
const DEPTH: u32 = 16u; // terms of the sum that are in workgroup memory at a time
var<workgroup> tile_l: array<vec4<f32>, 256>; // [k][four rows of the result, their place mixed with k: see quad_at]
var<workgroup> tile_r: array<vec4<f32>, 256>; // [k][four columns]

// Where a lane is: its first row and column in the tile in quads, and its group.
struct Place {
    row: u32,
    column: u32,
    group: u32,
}

fn place_of(lane: u32) -> Place {
    let at = lane % (SIDE * SIDE);
    return Place(at / SIDE, at % SIDE, lane / (SIDE * SIDE));
}

// Where a quad of term k is. Lanes that write the same quad of several terms at once get different banks of memory this way, and so
// do those that read several quads of one term.
fn quad_at(k: u32, quad: u32) -> u32 {
    return k * 16u + (quad ^ k);
}

// The first row and column of this workgroup's tile in a result of so many columns; past the end for what the grid has too many.
fn tile_origin(group: vec3<u32>, groups: vec3<u32>, columns: u32) -> vec2<u32> {
    let wide = 4u * SIDE * COLUMN_QUADS;
    let tiles_x = (columns + wide - 1u) / wide;
    let tile = p.first + group.y * groups.x + group.x;
    return vec2(tile / tiles_x * (4u * SIDE * ROW_QUADS), tile % tiles_x * wide);
}

// A lane's blocks, each as its four rows: [half of the tile's rows][half of its columns].
struct Sums {
    s00: mat4x4<f32>,
    s01: mat4x4<f32>,
    s10: mat4x4<f32>,
    s11: mat4x4<f32>,
}

fn outer(l: vec4<f32>, r: vec4<f32>) -> mat4x4<f32> {
    return mat4x4<f32>(l.x * r, l.y * r, l.z * r, l.w * r);
}

// sums += the products of the terms that are in workgroup memory.
fn add_products(sums: ptr<function, Sums>, at: Place) {
    for (var k = at.group; k < DEPTH; k += LANES / (SIDE * SIDE)) {
        let l0 = tile_l[quad_at(k, at.row)];
        let r0 = tile_r[quad_at(k, at.column)];
        (*sums).s00 += outer(l0, r0);
        if (COLUMN_QUADS > 1u) {
            let r1 = tile_r[quad_at(k, at.column + SIDE)];
            (*sums).s01 += outer(l0, r1);
            if (ROW_QUADS > 1u) { (*sums).s11 += outer(tile_l[quad_at(k, at.row + SIDE)], r1); }
        }
        if (ROW_QUADS > 1u) { (*sums).s10 += outer(tile_l[quad_at(k, at.row + SIDE)], r0); }
    }
}

// With a SIDE of 4: the row of the lane's block that its group is to finish, summed over the groups. All lanes call it.
fn row_of_groups(sums: Sums, at: Place, lane: u32) -> vec4<f32> {
    tile_l[4u * lane] = sums.s00[0];
    tile_l[4u * lane + 1u] = sums.s00[1];
    tile_l[4u * lane + 2u] = sums.s00[2];
    tile_l[4u * lane + 3u] = sums.s00[3];
    workgroupBarrier();
    let first = 4u * (lane % 16u) + at.group;
    return ((tile_l[first] + tile_l[first + 64u]) + tile_l[first + 128u]) + tile_l[first + 192u];
}

// Four indices from first on; the last valid one again for those that are not below count: loads need no mask then, and what they
// bring is not stored.
fn clamped(first: u32, count: u32) -> vec4<u32> {
    return min(vec4(first, first + 1u, first + 2u, first + 3u), vec4(count - 1u));
}

@group(0) @binding(1) var<storage, read> below: array<f32>;   // a_{l-1} (B,I)
@group(0) @binding(2) var<storage, read> params: array<f32>;
@group(0) @binding(3) var<storage, read_write> z_out: array<f32>;
@group(0) @binding(4) var<storage, read_write> a_out: array<f32>;

fn forward_element(b: u32, o: u32, sum: f32) {
    if (b >= p.rows || o >= p.outputs) { return; }
    let at = b * p.outputs + o;
    var start = 0.0;
    if (p.k_begin == 0u) { start = params[p.b + o]; } else { start = z_out[at]; }
    let weighted = start + sum;
    z_out[at] = weighted;
    a_out[at] = f(ACTIVATION, weighted);
}

fn forward_row(b: u32, o: u32, sums: vec4<f32>) {
    forward_element(b, o, sums.x);
    forward_element(b, o + 1u, sums.y);
    forward_element(b, o + 2u, sums.z);
    forward_element(b, o + 3u, sums.w);
}

fn forward_block(b: u32, o: u32, sums: mat4x4<f32>) {
    forward_row(b, o, sums[0]);
    forward_row(b + 1u, o, sums[1]);
    forward_row(b + 2u, o, sums[2]);
    forward_row(b + 3u, o, sums[3]);
}

fn finish_forward(origin: vec2<u32>, at: Place, sums: Sums, lane: u32) {
    let b = origin.x + 4u * at.row;
    let o = origin.y + 4u * at.column;
    if (SIDE == 4u) {
        forward_row(b + at.group, o, row_of_groups(sums, at, lane));
        return;
    }
    forward_block(b, o, sums.s00);
    if (COLUMN_QUADS > 1u) { forward_block(b, o + 4u * SIDE, sums.s01); }
    if (ROW_QUADS > 1u) { forward_block(b + 4u * SIDE, o, sums.s10); }
    if (ROW_QUADS > 1u && COLUMN_QUADS > 1u) { forward_block(b + 4u * SIDE, o + 4u * SIDE, sums.s11); }
}

// One term of the sums' right-hand sides, this lane's, for the columns from first on.
fn load_weights(first: u32, k: u32, term: u32, lane: u32) {
    for (var q = lane / DEPTH; q < SIDE * COLUMN_QUADS; q += LANES / DEPTH) {
        let o = p.w + clamped(first + 4u * q, p.outputs) * p.inputs + term; // w is (O,I): its rows become columns of the result
        let r = vec4(params[o.x], params[o.y], params[o.z], params[o.w]);
        tile_r[quad_at(lane % DEPTH, q)] = select(vec4(0.0), r, k < p.k_end);
    }
}

@compute @workgroup_size(64, 1, 1)
fn dense_forward(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                 @builtin(local_invocation_index) lane: u32) {
    let origin = tile_origin(group, groups, p.outputs);
    let at = place_of(lane);
    var sums = Sums();
    for (var k0 = p.k_begin; k0 < p.k_end; k0 += DEPTH) {
        // Neighbouring lanes load neighbouring terms.
        let k = k0 + lane % DEPTH;
        let term = min(k, p.k_end - 1u);
        for (var q = lane / DEPTH; q < SIDE * ROW_QUADS; q += LANES / DEPTH) {
            let b = clamped(origin.x + 4u * q, p.rows) * p.inputs + term;
            let l = vec4(below[b.x], below[b.y], below[b.z], below[b.w]);
            tile_l[quad_at(lane % DEPTH, q)] = select(vec4(0.0), l, k < p.k_end);
        }
        load_weights(origin.y, k, term, lane);
        workgroupBarrier();
        add_products(&sums, at);
        workgroupBarrier();
    }
    finish_forward(origin, at, sums, lane);
}

@group(0) @binding(1) var<storage, read> inputs: array<u32>;      // of all examples, in the format that p.format says
@group(0) @binding(5) var<storage, read_write> x: array<f32>;     // (B,I)
@group(0) @binding(6) var<storage, read> control: array<u32>;     // [0] step, [1] live rows
@group(0) @binding(7) var<storage, read> order: array<u32>;

// The example in row b, and whether there is one.
fn example_of(b: u32) -> vec2<u32> {
    if (b >= control[1]) { return vec2(0u, 0u); }
    return vec2(order[control[0] * p.rows + b], 1u);
}

fn input_of(example: vec2<u32>, i: u32) -> f32 {
    let at = example.x * p.inputs + i;
    let bytes = (p.format & 3u) == 1u;
    let word = inputs[select(at, at >> 2u, bytes)];
    let value = select(bitcast<f32>(word), f32((word >> ((at & 3u) * 8u)) & 255u) * 0.003921569, bytes);
    return select(0.0, value, example.y == 1u);
}

@compute @workgroup_size(64, 1, 1)
fn gather_forward(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                  @builtin(local_invocation_index) lane: u32) {
    let origin = tile_origin(group, groups, p.outputs);
    let at = place_of(lane);
    var sums = Sums();
    for (var k0 = p.k_begin; k0 < p.k_end; k0 += DEPTH) {
        let k = k0 + lane % DEPTH;
        let term = min(k, p.k_end - 1u);
        for (var q = lane / DEPTH; q < SIDE * ROW_QUADS; q += LANES / DEPTH) {
            let b = clamped(origin.x + 4u * q, p.rows);
            let l = vec4(input_of(example_of(b.x), term), input_of(example_of(b.y), term),
                         input_of(example_of(b.z), term), input_of(example_of(b.w), term));
            tile_l[quad_at(lane % DEPTH, q)] = select(vec4(0.0), l, k < p.k_end);
            // One of the tiles of these rows keeps what all of them load.
            if (origin.y == 0u) {
                x[b.x * p.inputs + term] = l.x;
                x[b.y * p.inputs + term] = l.y;
                x[b.z * p.inputs + term] = l.z;
                x[b.w * p.inputs + term] = l.w;
            }
        }
        load_weights(origin.y, k, term, lane);
        workgroupBarrier();
        add_products(&sums, at);
        workgroupBarrier();
    }
    finish_forward(origin, at, sums, lane);
}

@group(0) @binding(1) var<storage, read> delta: array<f32>;     // delta_{l+1} (B,O)
@group(0) @binding(3) var<storage, read> z_here: array<f32>;    // z_l (B,I)
@group(0) @binding(4) var<storage, read> a_here: array<f32>;    // a_l (B,I)
@group(0) @binding(5) var<storage, read_write> delta_here: array<f32>;

fn backward_element(b: u32, i: u32, sum: f32) {
    if (b >= p.rows || i >= p.inputs) { return; }
    let at = b * p.inputs + i;
    var error = sum;
    if (p.k_begin != 0u) { error += delta_here[at]; }
    if (p.k_end == p.outputs) { error *= f_prime(ACTIVATION, z_here[at], a_here[at]); }
    delta_here[at] = error;
}

fn backward_row(b: u32, i: u32, sums: vec4<f32>) {
    backward_element(b, i, sums.x);
    backward_element(b, i + 1u, sums.y);
    backward_element(b, i + 2u, sums.z);
    backward_element(b, i + 3u, sums.w);
}

fn backward_block(b: u32, i: u32, sums: mat4x4<f32>) {
    backward_row(b, i, sums[0]);
    backward_row(b + 1u, i, sums[1]);
    backward_row(b + 2u, i, sums[2]);
    backward_row(b + 3u, i, sums[3]);
}

@compute @workgroup_size(64, 1, 1)
fn dense_backward(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                  @builtin(local_invocation_index) lane: u32) {
    let origin = tile_origin(group, groups, p.inputs);
    let at = place_of(lane);
    var sums = Sums();
    for (var k0 = p.k_begin; k0 < p.k_end; k0 += DEPTH) {
        let k = k0 + lane % DEPTH;
        for (var q = lane / DEPTH; q < SIDE * ROW_QUADS; q += LANES / DEPTH) {
            let b = clamped(origin.x + 4u * q, p.rows) * p.outputs + min(k, p.k_end - 1u);
            let l = vec4(delta[b.x], delta[b.y], delta[b.z], delta[b.w]);
            tile_l[quad_at(lane % DEPTH, q)] = select(vec4(0.0), l, k < p.k_end);
        }
        // Neighbouring lanes load neighbouring columns.
        for (var n = lane; n < DEPTH * SIDE * COLUMN_QUADS; n += LANES) {
            let q = n % (SIDE * COLUMN_QUADS);
            let term = n / (SIDE * COLUMN_QUADS);
            let i = p.w + min(k0 + term, p.k_end - 1u) * p.inputs + clamped(origin.y + 4u * q, p.inputs);
            let r = vec4(params[i.x], params[i.y], params[i.z], params[i.w]);
            tile_r[quad_at(term, q)] = select(vec4(0.0), r, k0 + term < p.k_end);
        }
        workgroupBarrier();
        add_products(&sums, at);
        workgroupBarrier();
    }
    let b = origin.x + 4u * at.row;
    let i = origin.y + 4u * at.column;
    if (SIDE == 4u) {
        backward_row(b + at.group, i, row_of_groups(sums, at, lane));
        return;
    }
    backward_block(b, i, sums.s00);
    if (COLUMN_QUADS > 1u) { backward_block(b, i + 4u * SIDE, sums.s01); }
    if (ROW_QUADS > 1u) { backward_block(b + 4u * SIDE, i, sums.s10); }
    if (ROW_QUADS > 1u && COLUMN_QUADS > 1u) { backward_block(b + 4u * SIDE, i + 4u * SIDE, sums.s11); }
}

// What the kernels of all layers are told: inputs, workgroups; outputs, layers; w, where the steps' scores start in scoring; b, where the
// optimiser's numbers start in walk; cost, 1 if control moves on to the next mini-batch, 2 if nothing is added up; format, which tile.
// Layers are counted from 0 here: layer l has its inputs with the layers of the other parity than its errors.
@group(0) @binding(1) var<storage, read> a_even: array<f32>;      // x, a_2, a_4, ..: (B,I) each
@group(0) @binding(2) var<storage, read> a_odd: array<f32>;       // a_1, a_3, ..
@group(0) @binding(3) var<storage, read> delta_even: array<f32>;  // delta_2, delta_4, ..: (B,O) each
@group(0) @binding(4) var<storage, read> delta_odd: array<f32>;   // delta_1, delta_3, ..
@group(0) @binding(5) var<storage, read_write> walk: array<u32>;  // control, then LAYER words a layer, then the optimiser's numbers
@group(0) @binding(6) var<storage, read_write> scoring: array<f32>; // what the rows score (2 B), then what the steps do

const CONTROL: u32 = 8u; // [0] step, [1] live rows, [2] examples; [4] the step whose gradients these are
const LAYER: u32 = 6u;
struct Layer {
    inputs: u32,
    outputs: u32,
    w: u32,     // where its weights are among the parameters
    b: u32,
    below: u32, // where its inputs start among the activations
    here: u32,  // where its errors start among the errors
}

fn layer_of(l: u32) -> Layer {
    let at = CONTROL + LAYER * l;
    return Layer(walk[at], walk[at + 1u], walk[at + 2u], walk[at + 3u], walk[at + 4u], walk[at + 5u]);
}

// Four errors, or activations, of layer l, from these places of its arena.
fn errors_at(l: u32, at: vec4<u32>) -> vec4<f32> {
    if (l % 2u == 0u) { return vec4(delta_odd[at.x], delta_odd[at.y], delta_odd[at.z], delta_odd[at.w]); }
    return vec4(delta_even[at.x], delta_even[at.y], delta_even[at.z], delta_even[at.w]);
}

fn inputs_at(l: u32, at: vec4<u32>) -> vec4<f32> {
    if (l % 2u == 0u) { return vec4(a_even[at.x], a_even[at.y], a_even[at.z], a_even[at.w]); }
    return vec4(a_odd[at.x], a_odd[at.y], a_odd[at.z], a_odd[at.w]);
}

// Which layer a workgroup has a tile of, and which; NOWHERE for a workgroup too many.
const NOWHERE: u32 = 0xffffffffu;
var<workgroup> found: vec2<u32>;

fn gradient_tiles(layer: Layer) -> vec2<u32> {
    let high = 4u * SIDE * ROW_QUADS;
    let wide = 4u * SIDE * COLUMN_QUADS;
    return vec2((layer.outputs + high - 1u) / high, (layer.inputs + wide) / wide); // I + 1 columns
}

fn tile_of_group(number_of_group: u32) -> vec2<u32> {
    var left = number_of_group;
    for (var l = 0u; l < p.outputs; l++) {
        let tiles = gradient_tiles(layer_of(l));
        if (left < tiles.x * tiles.y) { return vec2(l, left); }
        left -= tiles.x * tiles.y;
    }
    return vec2(0u, NOWHERE);
}

// The same for all lanes, known to be: what is decided by it may have barriers. All lanes call it.
fn find_tile(number_of_group: u32, lane: u32) -> vec2<u32> {
    if (lane == 0u) { found = tile_of_group(number_of_group); }
    return workgroupUniformLoad(&found);
}

fn gradient_origin(layer: Layer, tile: u32) -> vec2<u32> {
    let tiles_x = gradient_tiles(layer).y;
    return vec2(tile / tiles_x * (4u * SIDE * ROW_QUADS), tile % tiles_x * (4u * SIDE * COLUMN_QUADS));
}

// (delta^T [a 1]) over the rows k_begin..k_end, for this workgroup's tile; column I of a is 1. All lanes call it.
fn gradient_sums(layer: Layer, l: u32, origin: vec2<u32>, at: Place, lane: u32) -> Sums {
    var sums = Sums();
    for (var k0 = p.k_begin; k0 < p.k_end; k0 += DEPTH) {
        for (var n = lane; n < DEPTH * SIDE * ROW_QUADS; n += LANES) {
            let q = n % (SIDE * ROW_QUADS);
            let k = k0 + n / (SIDE * ROW_QUADS);
            // Columns of delta become rows of the result.
            let o = layer.here + min(k, p.k_end - 1u) * layer.outputs + clamped(origin.x + 4u * q, layer.outputs);
            tile_l[quad_at(k - k0, q)] = select(vec4(0.0), errors_at(l, o), k < p.k_end);
        }
        for (var n = lane; n < DEPTH * SIDE * COLUMN_QUADS; n += LANES) {
            let q = n % (SIDE * COLUMN_QUADS);
            let k = k0 + n / (SIDE * COLUMN_QUADS);
            let first = origin.y + 4u * q;
            let i = layer.below + min(k, p.k_end - 1u) * layer.inputs + clamped(first, layer.inputs);
            let bias = vec4(first, first + 1u, first + 2u, first + 3u) == vec4(layer.inputs);
            tile_r[quad_at(k - k0, q)] = select(vec4(0.0), select(inputs_at(l, i), vec4(1.0), bias), k < p.k_end);
        }
        workgroupBarrier();
        add_products(&sums, at);
        workgroupBarrier();
    }
    return sums;
}

// What the step scored into its place, and on to the next mini-batch. All lanes of one workgroup call it.
fn tally_rows(lane: u32) {
    var cost = 0.0;
    var right = 0.0; // exact: rows are at most 2^24
    for (var b = lane; b < p.rows; b += LANES) {
        cost += scoring[b];
        right += scoring[p.rows + b];
    }
    tile_l[lane] = vec4(cost, right, 0.0, 0.0);
    workgroupBarrier();
    for (var half = LANES / 2u; half > 0u; half /= 2u) {
        if (lane < half) { tile_l[lane] += tile_l[lane + half]; }
        workgroupBarrier();
    }
    if (lane == 0u) {
        let step = walk[4];
        scoring[p.w + 2u * step] = tile_l[0].x;
        scoring[p.w + 2u * step + 1u] = tile_l[0].y;
        if (p.cost == 1u) {
            walk[0] = step + 1u;
            walk[1] = min(p.rows, walk[2] - min((step + 1u) * p.rows, walk[2]));
        }
    }
}

@group(0) @binding(7) var<storage, read_write> gradients: array<f32>;

fn gradient_element(layer: Layer, o: u32, i: u32, sum: f32) {
    if (o >= layer.outputs || i > layer.inputs) { return; }
    let at = select(layer.w + o * layer.inputs + i, layer.b + o, i == layer.inputs);
    var start = 0.0;
    if (p.k_begin != 0u) { start = gradients[at]; }
    gradients[at] = start + sum;
}

fn gradient_row(layer: Layer, o: u32, i: u32, sums: vec4<f32>) {
    gradient_element(layer, o, i, sums.x);
    gradient_element(layer, o, i + 1u, sums.y);
    gradient_element(layer, o, i + 2u, sums.z);
    gradient_element(layer, o, i + 3u, sums.w);
}

fn gradient_block(layer: Layer, o: u32, i: u32, sums: mat4x4<f32>) {
    gradient_row(layer, o, i, sums[0]);
    gradient_row(layer, o + 1u, i, sums[1]);
    gradient_row(layer, o + 2u, i, sums[2]);
    gradient_row(layer, o + 3u, i, sums[3]);
}

@compute @workgroup_size(64, 1, 1)
fn dense_gradient(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                  @builtin(local_invocation_index) lane: u32) {
    let number_of_group = p.first + group.y * groups.x + group.x;
    let tile = find_tile(number_of_group, lane);
    if (tile.y != NOWHERE) {
        let layer = layer_of(tile.x);
        let origin = gradient_origin(layer, tile.y);
        let at = place_of(lane);
        let sums = gradient_sums(layer, tile.x, origin, at, lane);
        let o = origin.x + 4u * at.row;
        let i = origin.y + 4u * at.column;
        if (SIDE == 4u) {
            gradient_row(layer, o + at.group, i, row_of_groups(sums, at, lane));
        } else {
            gradient_block(layer, o, i, sums.s00);
            if (COLUMN_QUADS > 1u) { gradient_block(layer, o, i + 4u * SIDE, sums.s01); }
            if (ROW_QUADS > 1u) { gradient_block(layer, o + 4u * SIDE, i, sums.s10); }
            if (ROW_QUADS > 1u && COLUMN_QUADS > 1u) { gradient_block(layer, o + 4u * SIDE, i + 4u * SIDE, sums.s11); }
        }
    }
    if (number_of_group == 0u && p.k_end == p.rows && p.cost != 2u) {
        workgroupBarrier();
        tally_rows(lane);
    }
}

@group(0) @binding(7) var<storage, read_write> state: array<f32>;
@group(0) @binding(8) var<storage, read_write> weights: array<f32>;

fn number(i: u32) -> f32 {
    return bitcast<f32>(walk[p.b + i]);
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

fn update_element(layer: Layer, o: u32, i: u32, sum: f32) {
    if (o >= layer.outputs || i > layer.inputs) { return; }
    let at = select(layer.w + o * layer.inputs + i, layer.b + o, i == layer.inputs);
    let next = moved(RULE, HYPER * walk[4], remembered(at, p.count, weights[at]), sum, i < layer.inputs);
    weights[at] = next.w;
    remember(at, p.count, next);
}

fn update_row(layer: Layer, o: u32, i: u32, sums: vec4<f32>) {
    update_element(layer, o, i, sums.x);
    update_element(layer, o, i + 1u, sums.y);
    update_element(layer, o, i + 2u, sums.z);
    update_element(layer, o, i + 3u, sums.w);
}

fn update_block(layer: Layer, o: u32, i: u32, sums: mat4x4<f32>) {
    update_row(layer, o, i, sums[0]);
    update_row(layer, o + 1u, i, sums[1]);
    update_row(layer, o + 2u, i, sums[2]);
    update_row(layer, o + 3u, i, sums[3]);
}

@compute @workgroup_size(64, 1, 1)
fn dense_update(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                @builtin(local_invocation_index) lane: u32) {
    let number_of_group = p.first + group.y * groups.x + group.x;
    let tile = find_tile(number_of_group, lane);
    if (tile.y != NOWHERE) {
        let layer = layer_of(tile.x);
        let origin = gradient_origin(layer, tile.y);
        let at = place_of(lane);
        let sums = gradient_sums(layer, tile.x, origin, at, lane);
        let o = origin.x + 4u * at.row;
        let i = origin.y + 4u * at.column;
        if (SIDE == 4u) {
            update_row(layer, o + at.group, i, row_of_groups(sums, at, lane));
        } else {
            update_block(layer, o, i, sums.s00);
            if (COLUMN_QUADS > 1u) { update_block(layer, o, i + 4u * SIDE, sums.s01); }
            if (ROW_QUADS > 1u) { update_block(layer, o + 4u * SIDE, i, sums.s10); }
            if (ROW_QUADS > 1u && COLUMN_QUADS > 1u) { update_block(layer, o + 4u * SIDE, i + 4u * SIDE, sums.s11); }
        }
    }
    if (number_of_group == 0u && p.k_end == p.rows && p.cost != 2u) {
        workgroupBarrier();
        tally_rows(lane);
    }
}
