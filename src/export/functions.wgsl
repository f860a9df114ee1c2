// functions.wgsl: what an exported network computes with. Each function that it needs goes into the exported text, with the network's
// name in front of its own. The formulas are those of shaders/activation.wgsl.

// e^x for x <= 0, and 0 where a driver may stop at the smallest normal number.
fn exp_down(x: f32) -> f32 {
    return select(exp(x), 0.0, x < -87.33654);
}

// e^x - 1 for x <= 0; near 0 by its series, where the difference would lose its leading digits.
fn exp_m1(x: f32) -> f32 {
    let series = x + x * x * (0.5 + x * (0.16666667 + x * (0.041666668 + x * (0.008333334 + x * 0.0013888889))));
    return select(exp(x) - 1.0, series, x > -0.2);
}

// ln(1 + e) for 0 <= e <= 1, as 2 artanh(e / (2 + e)) by its series: the logarithm of the sum would lose a small e.
fn ln_1p(e: f32) -> f32 {
    let s = e / (2.0 + e);
    let q = s * s;
    let series = 0.33333334 + q * (0.2 + q * (0.14285715 + q * (0.11111111 + q * (0.09090909 + q * (0.07692308 + q * 0.06666667)))));
    return 2.0 * s + 2.0 * s * q * series;
}

// Phi(-|x|), the part of the standard normal distribution beyond |x| on one side: e^(-x^2/2) times a polynomial of 1 / (1 + 0.21 |x|).
fn normal_tail(z: f32) -> f32 {
    let x = min(abs(z), 15.0);
    let t = 1.0 / (1.0 + 0.21 * x);
    let r = t * (0.083707705 + t * (0.08512941 + t * (0.06879004 + t * (0.12635516 + t * (-0.09724573 + t * (0.35403368
        + t * (-0.33418965 + t * (0.2854534 + t * -0.072033975))))))));
    return exp_down(-0.5 * x * x) * r;
}

// 1 / (1 + e^-z), from e^-|z|, which never overflows.
fn f_sigmoid(z: f32) -> f32 {
    let e = exp_down(-abs(z));
    return select(e, 1.0, z >= 0.0) / (1.0 + e);
}

// tanh z, from e^(-2|z|), and by its series near 0, where that would lose digits.
fn f_tanh(z: f32) -> f32 {
    let e = exp_down(-2.0 * abs(z));
    let t = (1.0 - e) / (1.0 + e);
    return select(select(t, -t, z < 0.0), z - z * z * z * 0.33333334, abs(z) < 0.02);
}

// max(z, 0)
fn f_relu(z: f32) -> f32 {
    return select(z, 0.0, z < 0.0);
}

// z for z >= 0, else 0.01 z
fn f_leaky_relu(z: f32) -> f32 {
    return select(z, 0.01 * z, z < 0.0);
}

// z for z >= 0, else e^z - 1
fn f_elu(z: f32) -> f32 {
    return select(z, exp_m1(min(z, 0.0)), z < 0.0);
}

// z Phi(z)
fn f_gelu(z: f32) -> f32 {
    let tail = normal_tail(z);
    return z * select(1.0 - tail, tail, z < 0.0);
}

// z (1 + tanh u) / 2, u = sqrt(2/pi) (z + 0.044715 z^3); beyond 12 nothing changes.
fn f_gelu_tanh(z: f32) -> f32 {
    let x = clamp(z, -12.0, 12.0);
    return z * f_sigmoid(1.5957692 * (x + 0.044715 * x * x * x));
}

// z / (1 + e^-z)
fn f_silu(z: f32) -> f32 {
    return z * f_sigmoid(z);
}

// ln(1 + e^z)
fn f_softplus(z: f32) -> f32 {
    return max(z, 0.0) + ln_1p(exp(-abs(z)));
}
