// data.wgsl: the mini-batch is picked out of the resident data set.
//   B = rows a mini-batch can hold, I = columns of the inputs, O = columns of the targets, n = examples in the data set
//
// gather : x[r,i], y[r,j] = columns i and j of example order[step * B + r]
//          inputs (n,I), targets (n,O), order (n) -> x (B,I), y (B,O)                                         overwrites
//          rows at or past the live count are set to 0, so that a ragged last batch adds nothing
//          p.format is that of the inputs plus 4 times that of the targets; 0: f32 bits; 1: four u8 a word, each worth 1/255;
//          2: one class label a row; here its column is the number whose bits are p.k_begin, and the others that of p.b: 1 and 0,
//          unless labels are smoothed
//          from 16 on, a weight follows for each row: targets (n,O), weights (n) -> y (B,O), weights (B)
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
}
@group(0) @binding(0) var<uniform> p: Params;

// control: [0] step within the epoch, [1] live rows of this step, [2] n, [3] steps before this epoch
@group(0) @binding(1) var<storage, read> control: array<u32>;
@group(0) @binding(2) var<storage, read> order: array<u32>;
@group(0) @binding(3) var<storage, read> inputs: array<u32>;
@group(0) @binding(4) var<storage, read> targets: array<u32>;
@group(0) @binding(5) var<storage, read_write> x: array<f32>;
@group(0) @binding(6) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(64, 1, 1)
fn gather(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
          @builtin(local_invocation_index) lane: u32) {
    let of_inputs = (p.inputs + 3u) / 4u;
    let of_targets = (p.outputs + p.format / 16u + 3u) / 4u;
    let e = (group.y * groups.x + group.x) * 64u + lane;
    let r = e / (of_inputs + of_targets);
    if (r >= p.rows) { return; }
    let quad = e % (of_inputs + of_targets);
    let live = r < control[1];
    var example = 0u;
    if (live) { example = order[control[0] * p.rows + r]; }
    if (quad < of_inputs) {
        let first = 4u * quad;
        for (var c = first; c < min(first + 4u, p.inputs); c++) {
            let at = example * p.inputs + c;
            var value = 0.0;
            if (live && (p.format & 3u) == 1u) {
                value = f32((inputs[at >> 2u] >> ((at & 3u) * 8u)) & 255u) * 0.003921569;
            } else if (live) {
                value = bitcast<f32>(inputs[at]);
            }
            x[r * p.inputs + c] = value;
        }
    } else {
        let first = 4u * (quad - of_inputs);
        let labels = (p.format & 8u) != 0u;
        for (var c = first; c < min(first + 4u, p.outputs); c++) {
            var value = 0.0;
            if (live && labels) {
                value = bitcast<f32>(select(p.b, p.k_begin, targets[example] == c));
            } else if (live) {
                value = bitcast<f32>(targets[example * p.outputs + c]);
            }
            y[r * p.outputs + c] = value;
        }
        if (p.format >= 16u && first + 4u > p.outputs) {
            var weight = 0.0;
            if (live) { weight = bitcast<f32>(targets[control[2] * select(p.outputs, 1u, labels) + example]); }
            y[p.rows * p.outputs + r] = weight;
        }
    }
}
