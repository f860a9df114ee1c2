// matmul.wgsl: the three products of a dense layer, and the sum over rows. Row-major everywhere.
//   B = rows, I = inputs, O = outputs; w (O,I) is read from the parameter arena at p.w, the bias (O) at p.b
//
// matmul_nt      : z[b,o]  = bias[o] + sum_i a[b,i] * w[o,i]   a (B,I), w (O,I) -> z (B,O)         (equation 2)
// matmul_nn      : e[b,i]  = sum_o delta[b,o] * w[o,i]         delta (B,O), w (O,I) -> e (B,I)     (BP2, its matrix product)
// outer_products : dw[o,i] = sum_b delta[b,o] * a[b,i]         delta (B,O), a (B,I) -> dw (O,I)    (BP4)
// bias_gradient  : db[o]   = sum_b delta[b,o]                  delta (B,O) -> db (O)               (BP3)
//                  (the 1/rows of the mean is already in delta, put there by cost_derivative, nowhere else)
//
// Each does the terms k_begin <= k < k_end of its sum: it overwrites when k_begin is 0 (matmul_nt starts from the bias),
// and adds to what is there otherwise, so that a long sum can be cut into dispatches.
// Sum order: fixed (k ascending within a tile of 8, tiles ascending): independent of scheduling.
// Twin: src/cpu/matmul.rs, functions of the same names. Change both or neither.
// Grid: one 8x8 workgroup a tile of the result, tiles in row-major order, folded into y; bias_gradient: 64 columns a workgroup.

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

@group(0) @binding(1) var<storage, read> left: array<f32>;
@group(0) @binding(2) var<storage, read> right: array<f32>;
@group(0) @binding(3) var<storage, read_write> out: array<f32>;

const TILE: u32 = 8u;
var<workgroup> tile_l: array<array<f32, 8>, 8>; // [row of the result][k]
var<workgroup> tile_r: array<array<f32, 8>, 8>; // [k][column of the result]

// The part of the sum that one pair of tiles holds, for the element (y, x) of this workgroup's tile.
fn tile_product(y: u32, x: u32) -> f32 {
    var sum = 0.0;
    for (var k = 0u; k < TILE; k++) {
        sum += tile_l[y][k] * tile_r[k][x];
    }
    return sum;
}

@compute @workgroup_size(8, 8, 1)
fn matmul_nt(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
             @builtin(local_invocation_id) local: vec3<u32>) {
    let tiles_x = (p.outputs + TILE - 1u) / TILE;
    let tile = p.first + group.y * groups.x + group.x;
    let b = tile / tiles_x * TILE + local.y;
    let o = tile % tiles_x * TILE + local.x;
    let o_load = tile % tiles_x * TILE + local.y; // w is (O,I): rows of w become columns of the result
    var sum = 0.0;
    for (var k0 = p.k_begin; k0 < p.k_end; k0 += TILE) {
        let k = k0 + local.x;
        var l = 0.0;
        var r = 0.0;
        if (b < p.rows && k < p.k_end) { l = left[b * p.inputs + k]; }
        if (o_load < p.outputs && k < p.k_end) { r = right[p.w + o_load * p.inputs + k]; }
        tile_l[local.y][local.x] = l;
        tile_r[local.x][local.y] = r;
        workgroupBarrier();
        sum += tile_product(local.y, local.x);
        workgroupBarrier();
    }
    if (b < p.rows && o < p.outputs) {
        let at = b * p.outputs + o;
        var start = 0.0;
        if (p.k_begin == 0u) { start = right[p.b + o]; } else { start = out[at]; }
        out[at] = start + sum;
    }
}

@compute @workgroup_size(8, 8, 1)
fn matmul_nn(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
             @builtin(local_invocation_id) local: vec3<u32>) {
    let tiles_x = (p.inputs + TILE - 1u) / TILE;
    let tile = p.first + group.y * groups.x + group.x;
    let b = tile / tiles_x * TILE + local.y;
    let i = tile % tiles_x * TILE + local.x;
    var sum = 0.0;
    for (var k0 = p.k_begin; k0 < p.k_end; k0 += TILE) {
        var l = 0.0;
        var r = 0.0;
        if (b < p.rows && k0 + local.x < p.k_end) { l = left[b * p.outputs + k0 + local.x]; }
        if (i < p.inputs && k0 + local.y < p.k_end) { r = right[p.w + (k0 + local.y) * p.inputs + i]; }
        tile_l[local.y][local.x] = l;
        tile_r[local.y][local.x] = r;
        workgroupBarrier();
        sum += tile_product(local.y, local.x);
        workgroupBarrier();
    }
    if (b < p.rows && i < p.inputs) {
        let at = b * p.inputs + i;
        var start = 0.0;
        if (p.k_begin != 0u) { start = out[at]; }
        out[at] = start + sum;
    }
}

@compute @workgroup_size(8, 8, 1)
fn outer_products(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                  @builtin(local_invocation_id) local: vec3<u32>) {
    let tiles_x = (p.inputs + TILE - 1u) / TILE;
    let tile = p.first + group.y * groups.x + group.x;
    let o = tile / tiles_x * TILE + local.y;
    let i = tile % tiles_x * TILE + local.x;
    let o_load = tile / tiles_x * TILE + local.x; // delta is (B,O): its columns become rows of the result
    var sum = 0.0;
    for (var k0 = p.k_begin; k0 < p.k_end; k0 += TILE) {
        let k = k0 + local.y;
        var l = 0.0;
        var r = 0.0;
        if (o_load < p.outputs && k < p.k_end) { l = left[k * p.outputs + o_load]; }
        if (i < p.inputs && k < p.k_end) { r = right[k * p.inputs + i]; }
        tile_l[local.x][local.y] = l;
        tile_r[local.y][local.x] = r;
        workgroupBarrier();
        sum += tile_product(local.y, local.x);
        workgroupBarrier();
    }
    if (o < p.outputs && i < p.inputs) {
        let at = p.w + o * p.inputs + i;
        var start = 0.0;
        if (p.k_begin != 0u) { start = out[at]; }
        out[at] = start + sum;
    }
}

@group(0) @binding(2) var<storage, read_write> db: array<f32>;

@compute @workgroup_size(64, 1, 1)
fn bias_gradient(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                 @builtin(local_invocation_index) lane: u32) {
    let o = (p.first + group.y * groups.x + group.x) * 64u + lane;
    if (o >= p.outputs) { return; }
    var sum = 0.0;
    if (p.k_begin != 0u) { sum = db[p.b + o]; }
    for (var b = p.k_begin; b < p.k_end; b++) {
        sum += left[b * p.outputs + o];
    }
    db[p.b + o] = sum;
}
