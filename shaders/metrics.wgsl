// metrics.wgsl: what the network answered, counted, and how far off its numbers were.
//   B = rows, O = outputs, K = classes = max(O, 2); live = control[1], the rows of this mini-batch that hold an example
//
// answers       : answer[b] = (truth, guess, rank), K in all three for rows past live    y, a (B,O) -> answer (B,3) overwrites
//                 truth = argmax y[b], guess = argmax a[b] (the first of equals), rank = outputs before a[b,truth]: larger, or
//                 as large and further left, so that the guess is right where rank = 0. With one output, the class is which
//                 side of the middle of its range it lies on, and rank is 0 or 1. A NaN among a[b]: guess = rank = K.
// count_answers : counts[t,g] += rows with truth t and guess g, g = K: none              answer (B,3) -> counts (K+1,K+1)
//                 counts[K,r] += rows with rank r, r = K: none                           adds; overwrites where step = 0
// residuals     : errors[step,j] = (sum_b (a[b,j] - y[b,j])^2, sum_b |a[b,j] - y[b,j]|) over b < live
//                                                             y, a (B,O) -> errors, (O,2) of them a step           overwrites
//
// Sum order: whole numbers have no order to keep; residuals: each of a column's 16 lanes adds every 16th row, ascending; then
// a fixed tree over those lanes.
// Twin: src/cpu/metrics.rs, functions of the same names. Change both or neither.
// Grid: answers: one workgroup of 64 a row; count_answers: 64 counts a workgroup; residuals: four columns a workgroup; each
// folded into y.

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

@group(0) @binding(1) var<storage, read> control: array<u32>; // [0] step, [1] live rows
@group(0) @binding(2) var<storage, read> y: array<f32>;
@group(0) @binding(3) var<storage, read> a: array<f32>;
@group(0) @binding(4) var<storage, read_write> answer: array<u32>;

var<workgroup> best_a: array<u32, 64>; // places in a, of the largest output that a lane has seen
var<workgroup> best_y: array<u32, 64>;
var<workgroup> number: array<u32, 64>; // of outputs that are NaN, then of outputs before the true one

fn is_nan(x: f32) -> bool {
    return (bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u; // a compiler may assume x == x
}

// The sum of one number a lane. All 64 lanes call it; each gets the sum.
fn sum_of(n: u32, lane: u32) -> u32 {
    number[lane] = n;
    workgroupBarrier();
    for (var half = 32u; half > 0u; half /= 2u) {
        if (lane < half) { number[lane] += number[lane + half]; }
        workgroupBarrier();
    }
    let total = number[0];
    workgroupBarrier();
    return total;
}

@compute @workgroup_size(64, 1, 1)
fn answers(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
           @builtin(local_invocation_index) lane: u32) {
    let row = p.first + group.y * groups.x + group.x;
    if (row >= p.rows) { return; }
    let first = row * p.outputs;
    let none = max(p.outputs, 2u);
    var nan = 0u;
    var top_a = first + lane;
    var top_y = first + lane;
    for (var j = lane; j < p.outputs; j += 64u) {
        if (is_nan(a[first + j])) { nan += 1u; }
        if (a[first + j] > a[top_a]) { top_a = first + j; }
        if (y[first + j] > y[top_y]) { top_y = first + j; }
    }
    best_a[lane] = top_a;
    best_y[lane] = top_y;
    let spoilt = sum_of(nan, lane) > 0u;
    for (var half = 32u; half > 0u; half /= 2u) {
        let other = lane + half;
        if (lane < half && other < p.outputs) {
            let pa = best_a[lane];
            let qa = best_a[other];
            if (a[qa] > a[pa] || (a[qa] == a[pa] && qa < pa)) { best_a[lane] = qa; }
            let py = best_y[lane];
            let qy = best_y[other];
            if (y[qy] > y[py] || (y[qy] == y[py] && qy < py)) { best_y[lane] = qy; }
        }
        workgroupBarrier();
    }
    let t = best_y[0];
    var truth = t - first;
    var guess = best_a[0] - first;
    var before = 0u;
    for (var j = lane; j < p.outputs; j += 64u) {
        if (a[first + j] > a[t] || (a[first + j] == a[t] && first + j < t)) { before += 1u; }
    }
    var rank = sum_of(before, lane);
    if (p.outputs == 1u) {
        let middle = select(0.5, 0.0, p.activation == 1u);
        truth = select(0u, 1u, y[first] >= middle);
        guess = select(0u, 1u, a[first] >= middle);
        rank = select(0u, 1u, truth != guess);
    }
    if (lane == 0u) {
        let live = row < control[1];
        answer[3u * row] = select(none, truth, live);
        answer[3u * row + 1u] = select(none, guess, live && !spoilt);
        answer[3u * row + 2u] = select(none, rank, live && !spoilt);
    }
}

@group(0) @binding(2) var<storage, read> answered: array<u32>;
@group(0) @binding(3) var<storage, read_write> counts: array<u32>;

@compute @workgroup_size(64, 1, 1)
fn count_answers(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                 @builtin(local_invocation_index) lane: u32) {
    let e = (p.first + group.y * groups.x + group.x) * 64u + lane;
    if (e >= p.count) { return; }
    let classes = max(p.outputs, 2u);
    let t = e / (classes + 1u);
    let c = e % (classes + 1u);
    // A row of counts is of one truth, and column 1 of the answers decides; the last one is of ranks, whatever the truth.
    let column = select(1u, 2u, t == classes);
    var n = 0u;
    for (var b = 0u; b < min(p.rows, control[1]); b += 1u) {
        if ((t == classes || answered[3u * b] == t) && answered[3u * b + column] == c) { n += 1u; }
    }
    counts[e] = select(counts[e] + n, n, control[0] == 0u);
}

@group(0) @binding(4) var<storage, read_write> errors: array<f32>;
var<workgroup> part: array<vec2<f32>, 64>;

@compute @workgroup_size(64, 1, 1)
fn residuals(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
             @builtin(local_invocation_index) lane: u32) {
    let j = (p.first + group.y * groups.x + group.x) * 4u + lane % 4u;
    var sum = vec2(0.0, 0.0);
    for (var b = lane / 4u; b < min(p.rows, control[1]); b += 16u) {
        if (j < p.outputs) {
            let off = a[b * p.outputs + j] - y[b * p.outputs + j];
            sum += vec2(off * off, abs(off));
        }
    }
    part[lane] = sum;
    workgroupBarrier();
    for (var half = 32u; half >= 4u; half /= 2u) {
        if (lane < half) { part[lane] += part[lane + half]; }
        workgroupBarrier();
    }
    if (lane < 4u && j < p.outputs) {
        let place = 2u * (control[0] * p.outputs + j);
        errors[place] = part[lane].x;
        errors[place + 1u] = part[lane].y;
    }
}
