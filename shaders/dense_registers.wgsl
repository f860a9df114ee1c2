// dense_registers.wgsl: the matrix kernels of dense.wgsl for software adapters, under the same names with _registers.
//   B = rows, I = inputs, O = outputs; w (O,I) and the bias (O) are in the parameter arena at p.w and p.b
//
// dense_forward_registers  : z = a w^T + b, out = f(z)                     (equation 2)
// gather_forward_registers : the same of the first layer, from the resident data
// dense_backward_registers : delta_l = (delta w) (.) f'(z_l)               (BP2)
// dense_gradient_registers : dw = delta^T a, db = sum_b delta[b]           (BP3, BP4)
// dense_update_registers   : the optimiser's step with these gradients
//   Bindings, shapes, parts of sums, and what is overwritten: as dense.wgsl says of the names without _registers.
//
// A software adapter has no workgroup memory worth the name, and runs a load from storage once for each lane, so that what
// counts is how often a loaded number is used: each invocation keeps a tile of 6 x 8 elements in registers. The loop over k
// has none inside, since such an adapter may end all loops of an invocation after a number of rounds.
//
// Sum order: fixed: k ascending, one sum an element; in the forward ones the sums of blocks of 32 terms, ascending.
// Twin: src/cpu/dense.rs, functions of the names without _registers. Change both or neither.
// Grid: one invocation a tile of 6 x 8, 8 tiles a workgroup (of one layer), tiles in row-major order, folded into y.

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

const ROWS: u32 = 6u;
const COLUMNS: u32 = 8u;
// Terms of a long sum that are added up by themselves: the rounding error then grows with their number and with that of the
// blocks, not with the product of both.
const BLOCK: u32 = 32u;
// The left and the right half of each row. Members, not an array: an array that is indexed by a variable anywhere lies in
// memory everywhere, which takes twice as long.
struct Tile {
    l0: vec4<f32>, r0: vec4<f32>,
    l1: vec4<f32>, r1: vec4<f32>,
    l2: vec4<f32>, r2: vec4<f32>,
    l3: vec4<f32>, r3: vec4<f32>,
    l4: vec4<f32>, r4: vec4<f32>,
    l5: vec4<f32>, r5: vec4<f32>,
}

// tile += x y^T: 48 products of the 14 numbers loaded for one k.
fn add_outer_product(tile: ptr<function, Tile>, x: array<f32, 6>, y0: vec4<f32>, y1: vec4<f32>) {
    (*tile).l0 += x[0] * y0;
    (*tile).r0 += x[0] * y1;
    (*tile).l1 += x[1] * y0;
    (*tile).r1 += x[1] * y1;
    (*tile).l2 += x[2] * y0;
    (*tile).r2 += x[2] * y1;
    (*tile).l3 += x[3] * y0;
    (*tile).r3 += x[3] * y1;
    (*tile).l4 += x[4] * y0;
    (*tile).r4 += x[4] * y1;
    (*tile).l5 += x[5] * y0;
    (*tile).r5 += x[5] * y1;
}

// tile += block.
fn add_tile(tile: ptr<function, Tile>, block: Tile) {
    (*tile).l0 += block.l0;
    (*tile).r0 += block.r0;
    (*tile).l1 += block.l1;
    (*tile).r1 += block.r1;
    (*tile).l2 += block.l2;
    (*tile).r2 += block.r2;
    (*tile).l3 += block.l3;
    (*tile).r3 += block.r3;
    (*tile).l4 += block.l4;
    (*tile).r4 += block.r4;
    (*tile).l5 += block.l5;
    (*tile).r5 += block.r5;
}

// The halves as an array, for the loops that store them: row r is [2 r] and [2 r + 1].
fn halves(tile: Tile) -> array<vec4<f32>, 12> {
    return array(tile.l0, tile.r0, tile.l1, tile.r1, tile.l2, tile.r2, tile.l3, tile.r3, tile.l4, tile.r4, tile.l5, tile.r5);
}

// Where this invocation's tile of an m x n result starts, as (row, column); past the end for what the grid has too many.
fn tile_origin(group: vec3<u32>, groups: vec3<u32>, lane: u32, n: u32) -> vec2<u32> {
    let tiles_x = (n + COLUMNS - 1u) / COLUMNS;
    let tile = (p.first + group.y * groups.x + group.x) * 8u + lane;
    return vec2(tile / tiles_x * ROWS, tile % tiles_x * COLUMNS);
}

// The numbers first, first + 1, .. that are below count; the last one again for those that are not: loads need no mask then,
// and what they bring is not stored.
fn clamped6(first: u32, count: u32) -> array<u32, 6> {
    let last = count - 1u;
    return array(min(first, last), min(first + 1u, last), min(first + 2u, last), min(first + 3u, last),
                 min(first + 4u, last), min(first + 5u, last));
}

fn clamped8(first: u32, count: u32) -> array<u32, 8> {
    let last = count - 1u;
    return array(min(first, last), min(first + 1u, last), min(first + 2u, last), min(first + 3u, last),
                 min(first + 4u, last), min(first + 5u, last), min(first + 6u, last), min(first + 7u, last));
}

@group(0) @binding(1) var<storage, read> below: array<f32>;   // a_{l-1} (B,I)
@group(0) @binding(2) var<storage, read> params: array<f32>;
@group(0) @binding(3) var<storage, read_write> z_out: array<f32>;
@group(0) @binding(4) var<storage, read_write> a_out: array<f32>;

fn finish_forward(origin: vec2<u32>, tile: Tile) {
    var sums = halves(tile);
    for (var r = 0u; r < min(ROWS, p.rows - origin.x); r++) {
        for (var c = 0u; c < min(COLUMNS, p.outputs - origin.y); c++) {
            let at = (origin.x + r) * p.outputs + origin.y + c;
            var start = 0.0;
            if (p.k_begin == 0u) { start = params[p.b + origin.y + c]; } else { start = z_out[at]; }
            let weighted = start + sums[2u * r + c / 4u][c % 4u];
            z_out[at] = weighted;
            a_out[at] = f(ACTIVATION, weighted);
        }
    }
}

@compute @workgroup_size(8, 1, 1)
fn dense_forward_registers(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                           @builtin(local_invocation_index) lane: u32) {
    let origin = tile_origin(group, groups, lane, p.outputs);
    if (origin.x >= p.rows) { return; }
    let b = clamped6(origin.x, p.rows);
    let o = clamped8(origin.y, p.outputs);
    let i = p.inputs;
    var tile = Tile();
    for (var k0 = p.k_begin; k0 < p.k_end; k0 += BLOCK) {
        var block = Tile();
        for (var k = k0; k < min(k0 + BLOCK, p.k_end); k++) {
            let x = array(below[b[0] * i + k], below[b[1] * i + k], below[b[2] * i + k],
                          below[b[3] * i + k], below[b[4] * i + k], below[b[5] * i + k]);
            let w = p.w + k;
            let y0 = vec4(params[w + o[0] * i], params[w + o[1] * i], params[w + o[2] * i], params[w + o[3] * i]);
            let y1 = vec4(params[w + o[4] * i], params[w + o[5] * i], params[w + o[6] * i], params[w + o[7] * i]);
            add_outer_product(&block, x, y0, y1);
        }
        add_tile(&tile, block);
    }
    finish_forward(origin, tile);
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

@compute @workgroup_size(8, 1, 1)
fn gather_forward_registers(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                            @builtin(local_invocation_index) lane: u32) {
    let origin = tile_origin(group, groups, lane, p.outputs);
    if (origin.x >= p.rows) { return; }
    let b = clamped6(origin.x, p.rows);
    let o = clamped8(origin.y, p.outputs);
    let i = p.inputs;
    let from0 = example_of(b[0]);
    let from1 = example_of(b[1]);
    let from2 = example_of(b[2]);
    let from3 = example_of(b[3]);
    let from4 = example_of(b[4]);
    let from5 = example_of(b[5]);
    var tile = Tile();
    for (var k0 = p.k_begin; k0 < p.k_end; k0 += BLOCK) {
        var block = Tile();
        for (var k = k0; k < min(k0 + BLOCK, p.k_end); k++) {
            let l = array(input_of(from0, k), input_of(from1, k), input_of(from2, k),
                          input_of(from3, k), input_of(from4, k), input_of(from5, k));
            let w = p.w + k;
            let y0 = vec4(params[w + o[0] * i], params[w + o[1] * i], params[w + o[2] * i], params[w + o[3] * i]);
            let y1 = vec4(params[w + o[4] * i], params[w + o[5] * i], params[w + o[6] * i], params[w + o[7] * i]);
            add_outer_product(&block, l, y0, y1);
            // One of the tiles of these rows keeps what all of them load.
            if (origin.y == 0u) {
                x[b[0] * i + k] = l[0];
                x[b[1] * i + k] = l[1];
                x[b[2] * i + k] = l[2];
                x[b[3] * i + k] = l[3];
                x[b[4] * i + k] = l[4];
                x[b[5] * i + k] = l[5];
            }
        }
        add_tile(&tile, block);
    }
    finish_forward(origin, tile);
}

@group(0) @binding(1) var<storage, read> delta: array<f32>;     // delta_{l+1} (B,O)
@group(0) @binding(3) var<storage, read> z_here: array<f32>;    // z_l (B,I)
@group(0) @binding(4) var<storage, read> a_here: array<f32>;    // a_l (B,I)
@group(0) @binding(5) var<storage, read_write> delta_here: array<f32>;

@compute @workgroup_size(8, 1, 1)
fn dense_backward_registers(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                            @builtin(local_invocation_index) lane: u32) {
    let origin = tile_origin(group, groups, lane, p.inputs);
    if (origin.x >= p.rows) { return; }
    let b = clamped6(origin.x, p.rows);
    let i = clamped8(origin.y, p.inputs);
    let o = p.outputs;
    var tile = Tile();
    for (var k = p.k_begin; k < p.k_end; k++) {
        let x = array(delta[b[0] * o + k], delta[b[1] * o + k], delta[b[2] * o + k],
                      delta[b[3] * o + k], delta[b[4] * o + k], delta[b[5] * o + k]);
        let w = p.w + k * p.inputs;
        let y0 = vec4(params[w + i[0]], params[w + i[1]], params[w + i[2]], params[w + i[3]]);
        let y1 = vec4(params[w + i[4]], params[w + i[5]], params[w + i[6]], params[w + i[7]]);
        add_outer_product(&tile, x, y0, y1);
    }
    var sums = halves(tile);
    for (var r = 0u; r < min(ROWS, p.rows - origin.x); r++) {
        for (var c = 0u; c < min(COLUMNS, p.inputs - origin.y); c++) {
            let at = (origin.x + r) * p.inputs + origin.y + c;
            var sum = sums[2u * r + c / 4u][c % 4u];
            if (p.k_begin != 0u) { sum += delta_here[at]; }
            if (p.k_end == p.outputs) { sum *= f_prime(ACTIVATION, z_here[at], a_here[at]); }
            delta_here[at] = sum;
        }
    }
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

// Which tile of which layer an invocation has, by its first row and column; and whether it has one.
struct Found {
    layer: u32,
    origin: vec2<u32>,
    is_there: bool,
}

// A workgroup has eight tiles of one layer, the last one of a layer what is left of them.
fn find_tile(number_of_group: u32, lane: u32) -> Found {
    var left = number_of_group;
    for (var l = 0u; l < p.outputs; l++) {
        let layer = layer_of(l);
        let tiles_x = (layer.inputs + COLUMNS) / COLUMNS; // I + 1 columns
        let tiles = (layer.outputs + ROWS - 1u) / ROWS * tiles_x;
        if (left < (tiles + 7u) / 8u) {
            let tile = left * 8u + lane;
            return Found(l, vec2(tile / tiles_x * ROWS, tile % tiles_x * COLUMNS), tile < tiles);
        }
        left -= (tiles + 7u) / 8u;
    }
    return Found(0u, vec2(0u, 0u), false);
}

// (delta^T [a 1]) over the rows k_begin..k_end, for the tile at origin; column I of a is 1. Two loops, one for each pair of arenas: such an
// adapter takes both ways of a branch, and within the loop it would load everything twice.
fn gradient_tile(layer: Layer, l: u32, origin: vec2<u32>) -> Tile {
    let o = clamped6(origin.x, layer.outputs);
    let i = clamped8(origin.y, layer.inputs);
    // 1 in the one column that stands for the bias, if it is in this tile.
    let bias0 = vec4(layer.inputs) == vec4(origin.y, origin.y + 1u, origin.y + 2u, origin.y + 3u);
    let bias1 = vec4(layer.inputs) == vec4(origin.y + 4u, origin.y + 5u, origin.y + 6u, origin.y + 7u);
    if (l % 2u == 0u) { return tile_of_even_inputs(layer, o, i, bias0, bias1); }
    return tile_of_odd_inputs(layer, o, i, bias0, bias1);
}

fn tile_of_even_inputs(layer: Layer, o: array<u32, 6>, i: array<u32, 8>, bias0: vec4<bool>, bias1: vec4<bool>) -> Tile {
    var tile = Tile();
    for (var k = p.k_begin; k < p.k_end; k++) {
        let d = layer.here + k * layer.outputs;
        let x = array(delta_odd[d + o[0]], delta_odd[d + o[1]], delta_odd[d + o[2]], delta_odd[d + o[3]], delta_odd[d + o[4]], delta_odd[d + o[5]]);
        let a = layer.below + k * layer.inputs;
        let y0 = vec4(a_even[a + i[0]], a_even[a + i[1]], a_even[a + i[2]], a_even[a + i[3]]);
        let y1 = vec4(a_even[a + i[4]], a_even[a + i[5]], a_even[a + i[6]], a_even[a + i[7]]);
        add_outer_product(&tile, x, select(y0, vec4(1.0), bias0), select(y1, vec4(1.0), bias1));
    }
    return tile;
}

fn tile_of_odd_inputs(layer: Layer, o: array<u32, 6>, i: array<u32, 8>, bias0: vec4<bool>, bias1: vec4<bool>) -> Tile {
    var tile = Tile();
    for (var k = p.k_begin; k < p.k_end; k++) {
        let d = layer.here + k * layer.outputs;
        let x = array(delta_even[d + o[0]], delta_even[d + o[1]], delta_even[d + o[2]], delta_even[d + o[3]], delta_even[d + o[4]], delta_even[d + o[5]]);
        let a = layer.below + k * layer.inputs;
        let y0 = vec4(a_odd[a + i[0]], a_odd[a + i[1]], a_odd[a + i[2]], a_odd[a + i[3]]);
        let y1 = vec4(a_odd[a + i[4]], a_odd[a + i[5]], a_odd[a + i[6]], a_odd[a + i[7]]);
        add_outer_product(&tile, x, select(y0, vec4(1.0), bias0), select(y1, vec4(1.0), bias1));
    }
    return tile;
}

var<workgroup> part: array<vec2<f32>, 8>;

// What the step scored into its place, and on to the next mini-batch. All lanes of one workgroup call it.
fn tally_rows(lane: u32) {
    var sum = vec2(0.0, 0.0); // the second is exact: rows are at most 2^24
    for (var b = lane; b < p.rows; b += 8u) { sum += vec2(scoring[b], scoring[p.rows + b]); }
    part[lane] = sum;
    workgroupBarrier();
    if (lane == 0u) {
        let total = ((part[0] + part[1]) + (part[2] + part[3])) + ((part[4] + part[5]) + (part[6] + part[7]));
        let step = walk[4];
        scoring[p.w + 2u * step] = total.x;
        scoring[p.w + 2u * step + 1u] = total.y;
        if (p.cost == 1u) {
            walk[0] = step + 1u;
            walk[1] = min(p.rows, walk[2] - min((step + 1u) * p.rows, walk[2]));
        }
    }
}

@group(0) @binding(7) var<storage, read_write> gradients: array<f32>;

@compute @workgroup_size(8, 1, 1)
fn dense_gradient_registers(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                            @builtin(local_invocation_index) lane: u32) {
    let number_of_group = p.first + group.y * groups.x + group.x;
    let found = find_tile(number_of_group, lane);
    if (found.is_there) {
        let layer = layer_of(found.layer);
        let origin = found.origin;
        var sums = halves(gradient_tile(layer, found.layer, origin));
        for (var r = 0u; r < min(ROWS, layer.outputs - origin.x); r++) {
            for (var c = 0u; c < min(COLUMNS, layer.inputs + 1u - origin.y); c++) {
                let o = origin.x + r;
                let i = origin.y + c;
                let at = select(layer.w + o * layer.inputs + i, layer.b + o, i == layer.inputs);
                var start = 0.0;
                if (p.k_begin != 0u) { start = gradients[at]; }
                gradients[at] = start + sums[2u * r + c / 4u][c % 4u];
            }
        }
    }
    if (number_of_group == 0u && p.k_end == p.rows && p.cost != 2u) { tally_rows(lane); }
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

@compute @workgroup_size(8, 1, 1)
fn dense_update_registers(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                          @builtin(local_invocation_index) lane: u32) {
    let number_of_group = p.first + group.y * groups.x + group.x;
    let found = find_tile(number_of_group, lane);
    if (found.is_there) {
        let layer = layer_of(found.layer);
        let origin = found.origin;
        var sums = halves(gradient_tile(layer, found.layer, origin));
        for (var r = 0u; r < min(ROWS, layer.outputs - origin.x); r++) {
            for (var c = 0u; c < min(COLUMNS, layer.inputs + 1u - origin.y); c++) {
                let o = origin.x + r;
                let i = origin.y + c;
                let at = select(layer.w + o * layer.inputs + i, layer.b + o, i == layer.inputs);
                let sum = sums[2u * r + c / 4u][c % 4u];
                let next = moved(RULE, HYPER * walk[4], remembered(at, p.count, weights[at]), sum, i < layer.inputs);
                weights[at] = next.w;
                remember(at, p.count, next);
            }
        }
    }
    if (number_of_group == 0u && p.k_end == p.rows && p.cost != 2u) { tally_rows(lane); }
}
