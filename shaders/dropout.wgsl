// dropout.wgsl: dropout of a layer's activations, and of the errors that go back through them.
//   B = rows, O = outputs
//
// dropout : to[b,j] = from[b,j] / (1 - rate) if (b,j) is kept, else 0     from (B,O) -> to (B,O)          overwrites
//           (b,j) is kept in step t if random(seed, t, layer, b O + j) < p.k_end, which is (1 - rate) 2^32
//
// The random bits are a function of these numbers alone, in whole numbers: the same on every device, for the activation as for its error.
// Twin: src/cpu/dropout.rs, functions of the same names. Change both or neither.
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
    cost: u32,        // 0 quadratic, 1 binary cross-entropy, 2 categorical cross-entropy, 3 huber, 4 absolute
    format: u32,      // of gathered words, inputs + 4 targets: 0 f32, 1 four bytes (value / 255), 2 class label; + 16: rows have weights; + 32: y is there
    count: u32,       // elements of an elementwise kernel; parameters, where w or their step is concerned
    rule: u32,        // of the optimiser: 0 sgd, 1 momentum, 2 nesterov, 3 rmsprop, 4 adam
    first: u32,       // workgroups before those of this dispatch, where a grid takes several
}
@group(0) @binding(0) var<uniform> p: Params;
// Here w is the seed, b the layer, k_end the bound of the random bits, and format holds the bits of 1 / (1 - rate).

@group(0) @binding(1) var<storage, read> control: array<u32>; // [0] step within the epoch, [3] steps before it
@group(0) @binding(2) var<storage, read> kept: array<f32>;
@group(0) @binding(3) var<storage, read_write> dropped: array<f32>;

// PCG as a hash, RXS-M-XS 32 (Jarzynski and Olano 2020): a bijection of 32 bits.
fn pcg(x: u32) -> u32 {
    let state = x * 747796405u + 2891336453u;
    let word = ((state >> ((state >> 28u) + 4u)) ^ state) * 277803737u;
    return (word >> 22u) ^ word;
}

@compute @workgroup_size(64, 1, 1)
fn dropout(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
           @builtin(local_invocation_index) lane: u32) {
    let e = (p.first + group.y * groups.x + group.x) * 64u + lane;
    if (e >= p.count) { return; }
    let random = pcg(e + pcg(control[3] + control[0] + pcg(p.b + pcg(p.w))));
    dropped[e] = select(0.0, kept[e] * bitcast<f32>(p.format), random < p.k_end);
}
