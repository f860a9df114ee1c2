// update.wgsl: the parameters' step, over the flat arena of all weights and biases.
//   P = p.count parameters; eta = hyper[4 * step], the learning rate of this step
//
// sgd : w[i] = w[i] - eta * dw[i]     params (P), gradients (P) -> params (P)     adds to what is there
//       (the notes' gradient descent rule; the mean over the rows is already in the gradient)
//
// Twin: src/cpu/update.rs, functions of the same names. Change both or neither.
// Grid: 64 elements a workgroup, folded into y.

struct Params {
    rows: u32,        // B: rows a mini-batch can hold
    inputs: u32,      // I: width of the layer below
    outputs: u32,     // O: width of this layer
    w: u32,           // where w_l starts in the parameter and gradient arenas, in elements
    b: u32,           // where b_l starts there
    k_begin: u32,     // the part of the sum that this dispatch does: terms k_begin <= k < k_end
    k_end: u32,
    activation: u32,  // 0 sigmoid, 1 tanh, 2 relu, 3 identity, 4 leaky relu, 5 elu, 6 gelu, 7 gelu by tanh, 8 silu, 9 softplus
    cost: u32,        // 0 quadratic, 1 binary cross-entropy, 2 categorical cross-entropy
    format: u32,      // of gathered words, inputs + 4 targets: 0 f32, 1 four bytes (value / 255), 2 class label (one-hot)
    count: u32,       // elements of an elementwise kernel
    spare: u32,
}
@group(0) @binding(0) var<uniform> p: Params;

@group(0) @binding(1) var<storage, read> control: array<u32>; // [0] step
@group(0) @binding(2) var<storage, read> hyper: array<f32>;   // four numbers a step: [0] eta
@group(0) @binding(3) var<storage, read> gradients: array<f32>;
@group(0) @binding(4) var<storage, read_write> params: array<f32>;

@compute @workgroup_size(64, 1, 1)
fn sgd(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
       @builtin(local_invocation_index) lane: u32) {
    let e = (group.y * groups.x + group.x) * 64u + lane;
    if (e < p.count) { params[e] -= hyper[4u * control[0]] * gradients[e]; }
}
