// What an exported network computes with: each function that it needs goes into the exported text as it stands here. Nothing
// but `core`, which has no `exp`. Those of `f32` are the ones of `src/real.rs`. accuracy.rs holds them to what they say.

/// `e^x`, within 2 ULP. Below -87.3 it is 0, above 88.3 infinity.
fn exp(x: f32) -> f32 {
    // e^x = 2^n e^r, n whole, |r| <= ln(2)/2. Adding 1.5 * 2^23 rounds to a whole number, which then stands in the low bits.
    const ROUND: f32 = 12_582_912.0;
    let shifted = x * core::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    // ln 2 in two parts, the first so short that its product with n is exact.
    let r = (x - n * 0.693_359_4) - n * -2.121_944_4e-4;
    let p = 1.987_569_1e-4;
    let p = p * r + 1.398_2e-3;
    let p = p * r + 8.333_452e-3;
    let p = p * r + 4.166_579_6e-2;
    let p = p * r + 1.666_666_5e-1;
    let p = p * r + 0.5;
    let p = (p * r) * r + r + 1.0;
    let power = f32::from_bits(shifted.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(127) << 23);
    let e = if x < -87.336_54 { 0.0 } else { p * power };
    if x > 88.376_26 { f32::INFINITY } else { e }
}

/// `ln(1 + e)` for `0 <= e <= 1`, within 3 units of 2^-23: `2 artanh(e / (2 + e))` by its series.
fn ln_1p(e: f32) -> f32 {
    let s = e / (2.0 + e);
    let q = s * s;
    let p = 0.076_923_08 + q * 0.066_666_67;
    let p = 0.111_111_11 + q * (0.090_909_09 + q * p);
    let p = 0.333_333_34 + q * (0.2 + q * (0.142_857_15 + q * p));
    2.0 * s + 2.0 * s * q * p
}

/// `e^x - 1` for `x <= 0`, within 10 units of 2^-23; near 0 by its series.
fn exp_m1(x: f32) -> f32 {
    let p = 0.041_666_668 + x * (0.008_333_334 + x * 0.001_388_888_9);
    let series = x + x * x * (0.5 + x * (0.166_666_67 + x * p));
    if x > -0.2 { series } else { exp(x) - 1.0 }
}

/// `Phi(-|x|)`, the part of the standard normal distribution beyond `|x|` on one side: `e^(-x^2/2)` times a polynomial of
/// `1 / (1 + 0.21 |x|)`. Within 24 units of 2^-23 up to 6.
fn normal_tail(x: f32) -> f32 {
    let t = 1.0 / (1.0 + 0.21 * x.abs());
    let p = 0.285_453_4 + t * -0.072_033_97;
    let p = -0.097_245_73 + t * (0.354_033_68 + t * (-0.334_189_65 + t * p));
    let p = 0.083_707_705 + t * (0.085_129_41 + t * (0.068_790_04 + t * (0.126_355_16 + t * p)));
    exp(-(0.5 * (x * x))) * (t * p)
}

/// `1 / (1 + e^-z)`, within 4e-7 of itself.
fn f_sigmoid(z: f32) -> f32 {
    let e = exp(-z.abs());
    (if z >= 0.0 { 1.0 } else { e }) / (1.0 + e)
}

/// `tanh z`, within 2e-7.
fn f_tanh(z: f32) -> f32 {
    let e = exp(-2.0 * z.abs());
    let t = (1.0 - e) / (1.0 + e);
    let t = if z < 0.0 { -t } else { t };
    // Near 0 by its series, where the quotient would lose digits.
    if z.abs() < 0.02 { z - z * z * z * 0.333_333_34 } else { t }
}

/// `max(z, 0)`.
fn f_relu(z: f32) -> f32 {
    if z < 0.0 { 0.0 } else { z }
}

/// `z` for `z >= 0`, else `0.01 z`.
fn f_leaky_relu(z: f32) -> f32 {
    if z < 0.0 { 0.01 * z } else { z }
}

/// `z` for `z >= 0`, else `e^z - 1`.
fn f_elu(z: f32) -> f32 {
    if z < 0.0 { exp_m1(z) } else { z }
}

/// `z Phi(z)`.
fn f_gelu(z: f32) -> f32 {
    let tail = normal_tail(z);
    z * if z < 0.0 { tail } else { 1.0 - tail }
}

/// `z (1 + tanh u) / 2`, `u = sqrt(2/pi) (z + 0.044715 z^3)`; beyond 12 nothing changes.
fn f_gelu_tanh(z: f32) -> f32 {
    let x = if z > 12.0 { 12.0 } else { z };
    let x = if x < -12.0 { -12.0 } else { x };
    z * f_sigmoid(1.595_769_2 * (x + 0.044_715 * (x * x * x)))
}

/// `z / (1 + e^-z)`.
fn f_silu(z: f32) -> f32 {
    z * f_sigmoid(z)
}

/// `ln(1 + e^z)`.
fn f_softplus(z: f32) -> f32 {
    let above = if z < 0.0 { 0.0 } else { z };
    above + ln_1p(exp(-z.abs()))
}

/// `a_j = e^z_j / sum_k e^z_k`, in place.
fn softmax(z: &mut [f32]) {
    let m = z.iter().fold(f32::MIN, |m, &z| if z > m { z } else { m });
    let mut sum = 0.0;
    for z in z.iter_mut() {
        *z = exp(*z - m);
        sum += *z;
    }
    for z in z.iter_mut() {
        *z /= sum;
    }
}

/// `z = w a + b`, for one row.
fn weighted_input<const I: usize, const O: usize>(w: &[[f32; I]; O], a: &[f32; I], b: &[f32; O]) -> [f32; O] {
    let mut z = *b;
    for (z, w) in z.iter_mut().zip(w) {
        // Eight sums side by side, which a processor adds at once.
        let mut sums = [0.0; 8];
        let (blocks, a_blocks) = (w.chunks_exact(8), a.chunks_exact(8));
        let rest = blocks.remainder().iter().zip(a_blocks.remainder());
        for (w, a) in blocks.zip(a_blocks) {
            for ((sum, w), a) in sums.iter_mut().zip(w).zip(a) {
                *sum += w * a;
            }
        }
        for ((w, a), sum) in rest.zip(&mut sums) {
            *sum += w * a;
        }
        let [s0, s1, s2, s3, s4, s5, s6, s7] = sums;
        *z += ((s0 + s4) + (s2 + s6)) + ((s1 + s5) + (s3 + s7));
    }
    z
}

/// `ln(1 + x)` in `f64` for `x >= 0`, within 1e-15 of itself.
fn wide_ln_1p(x: f64) -> f64 {
    if x < 0.25 {
        return artanh_series(x / (2.0 + x));
    }
    // 1 + x = 2^n m, with m from sqrt(1/2) to sqrt(2).
    let y = 1.0 + x;
    let bits = y.to_bits();
    let n = ((bits >> 52) as i32) - 1023;
    let m = f64::from_bits((bits & 0x000f_ffff_ffff_ffff) | 0x3ff0_0000_0000_0000);
    let (n, m) = if m > core::f64::consts::SQRT_2 { (n + 1, 0.5 * m) } else { (n, m) };
    f64::from(n) * core::f64::consts::LN_2 + artanh_series((m - 1.0) / (m + 1.0))
}

/// `2 artanh s` for `|s| < 0.18`.
fn artanh_series(s: f64) -> f64 {
    let q = s * s;
    let mut sum = 0.0;
    let mut k = 23.0;
    while k > 0.0 {
        sum = sum * q + 1.0 / k;
        k -= 2.0;
    }
    2.0 * s * sum
}

/// The largest whole number that is not above `x`.
fn floor(x: f64) -> f64 {
    // From 2^52 on every number is whole.
    if !(-4_503_599_627_370_496.0..4_503_599_627_370_496.0).contains(&x) {
        return x;
    }
    let cut = x as i64 as f64;
    if cut > x { cut - 1.0 } else { cut }
}

/// The sine of so many whole turns, within 1e-14.
fn sine_of_turns(turns: f64) -> f64 {
    let part = turns - floor(turns);
    // To the quarter turn around 0.
    let part = if part > 0.75 {
        part - 1.0
    } else if part > 0.25 {
        0.5 - part
    } else {
        part
    };
    let angle = core::f64::consts::TAU * part;
    let square = angle * angle;
    let (mut sum, mut k) = (1.0, 22.0);
    while k > 0.0 {
        sum = 1.0 - sum * square / (k * (k + 1.0));
        k -= 2.0;
    }
    angle * sum
}
