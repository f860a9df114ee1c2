// data.wgsl: the mini-batch is picked out of the resident data set.
//   B = rows a mini-batch can hold, O = columns, n = examples in the data set
//
// gather : out[r,j] = value of column j of example order[step * B + r]   data (n,O), order (n) -> out (B,O)   overwrites
//          rows at or past the live count are set to 0, so that a ragged last batch adds nothing
//          format 0: data holds f32 bits; 1: four u8 a word, each worth 1/255; 2: one class label a row, one-hot here
// advance: control moves on to the next mini-batch: step + 1, and its count of live rows                      overwrites
//
// Twin: src/cpu/data.rs, functions of the same names. Change both or neither.
// Grid: gather: one invocation an element, 64 a workgroup, folded into y; advance: one invocation.

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
    format: u32,      // of gathered words: 0 f32, 1 four bytes (each value / 255), 2 class label (one-hot)
    count: u32,       // elements of an elementwise kernel
    spare: u32,
}
@group(0) @binding(0) var<uniform> p: Params;

// control: [0] step within the epoch, [1] live rows of this step, [2] n, [3] unused
@group(0) @binding(1) var<storage, read> control: array<u32>;
@group(0) @binding(2) var<storage, read> order: array<u32>;
@group(0) @binding(3) var<storage, read> data: array<u32>;
@group(0) @binding(4) var<storage, read_write> out: array<f32>;

@compute @workgroup_size(64, 1, 1)
fn gather(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
          @builtin(local_invocation_index) lane: u32) {
    let e = (group.y * groups.x + group.x) * 64u + lane;
    if (e >= p.rows * p.outputs) { return; }
    let r = e / p.outputs;
    let j = e % p.outputs;
    if (r >= control[1]) {
        out[e] = 0.0;
        return;
    }
    let example = order[control[0] * p.rows + r];
    if (p.format == 2u) {
        out[e] = select(0.0, 1.0, data[example] == j);
    } else {
        let at = example * p.outputs + j;
        if (p.format == 1u) {
            let byte = (data[at / 4u] >> ((at % 4u) * 8u)) & 255u;
            out[e] = f32(byte) * 0.003921569;
        } else {
            out[e] = bitcast<f32>(data[at]);
        }
    }
}

@group(0) @binding(1) var<storage, read_write> next: array<u32>;

@compute @workgroup_size(1, 1, 1)
fn advance() {
    let step = next[0] + 1u;
    let first = min(step * p.rows, next[2]);
    next[0] = step;
    next[1] = min(p.rows, next[2] - first);
}
