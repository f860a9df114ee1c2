// data.wgsl: the mini-batch is picked out of the resident data set.
//   B = rows a mini-batch can hold, O = columns of the inputs or of the targets, n = examples in the data set,
//   h = p.count, the examples that the device holds at a time: n, or fewer of a data set that is streamed
//
// gather : picked[r,j] = column j of example order[step * B + r]
//          words (h,O), order (n) -> picked (B,O)                                                             overwrites
//          rows at or past the live count are set to 0, so that a ragged last batch adds nothing
//          p.format 0: f32 bits; 1: four u8 a word, each worth 1/255; 2: one class label a row; here its column is the number whose
//          bits are p.k_begin, and the others that of p.b: 1 and 0, unless labels are smoothed
//          from 16 on, a weight follows for each row: words (h,O), weights (h) -> picked (B,O), weights (B)
//
// Twin: src/cpu/data.rs, functions of the same names. Change both or neither.
// Grid: one invocation four columns of a row, 64 a workgroup, folded into y.

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

// control: [0] step within the epoch, [1] live rows of this step, [2] n, [3] steps before this epoch
@group(0) @binding(1) var<storage, read> control: array<u32>;
@group(0) @binding(2) var<storage, read> order: array<u32>;
@group(0) @binding(3) var<storage, read> words: array<u32>;
@group(0) @binding(4) var<storage, read_write> picked: array<f32>;

@compute @workgroup_size(64, 1, 1)
fn gather(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
          @builtin(local_invocation_index) lane: u32) {
    let quads = (p.outputs + p.format / 16u + 3u) / 4u;
    let e = (p.first + group.y * groups.x + group.x) * 64u + lane;
    let r = e / quads;
    if (r >= p.rows) { return; }
    let first = 4u * (e % quads);
    let live = r < control[1];
    let kind = p.format & 3u;
    var example = 0u;
    if (live) { example = order[control[0] * p.rows + r]; }
    for (var c = first; c < min(first + 4u, p.outputs); c++) {
        let at = example * p.outputs + c;
        var value = 0.0;
        if (live && kind == 2u) {
            value = bitcast<f32>(select(p.b, p.k_begin, words[example] == c));
        } else if (live && kind == 1u) {
            value = f32((words[at >> 2u] >> ((at & 3u) * 8u)) & 255u) * 0.003921569;
        } else if (live) {
            value = bitcast<f32>(words[at]);
        }
        picked[r * p.outputs + c] = value;
    }
    if (p.format >= 16u && first + 4u > p.outputs) {
        var weight = 0.0;
        if (live) { weight = bitcast<f32>(words[p.count * select(p.outputs, 1u, kind == 2u) + example]); }
        picked[p.rows * p.outputs + r] = weight;
    }
}
