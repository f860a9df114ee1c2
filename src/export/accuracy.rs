//! The functions of `functions.rs`, as they stand in exported texts, against `f64`.

#![allow(clippy::cast_possible_truncation, reason = "as the exported text has it")]

use crate::{Activation, reference};

include!("functions.rs");

type Function = fn(f32) -> f32;

const ACTIVATIONS: [(Activation, Function); 9] = [
    (Activation::Sigmoid, f_sigmoid),
    (Activation::Tanh, f_tanh),
    (Activation::Relu, f_relu),
    (Activation::LeakyRelu, f_leaky_relu),
    (Activation::Elu, f_elu),
    (Activation::Gelu, f_gelu),
    (Activation::GeluTanh, f_gelu_tanh),
    (Activation::Silu, f_silu),
    (Activation::Softplus, f_softplus),
];

/// Every thousandth number, on both sides.
fn numbers() -> impl Iterator<Item = f32> {
    (0..0x7f80_0000_u32).step_by(1009).map(f32::from_bits).flat_map(|x| [x, -x])
}

#[test]
fn every_activation_is_within_what_tests_allow() {
    for (f, got) in ACTIVATIONS {
        assert_eq!(
            super::function(f).map(|name| name.trim_start_matches("f_").replace('_', "-")),
            Some(f.name().to_owned())
        );
        let mut worst = 0.0_f64;
        for z in numbers() {
            let want = reference::activation(f, &[f64::from(z)])[0];
            let error = (f64::from(got(z)) - want).abs() / want.abs().max(1.0);
            assert!(!error.is_nan(), "{f}({z})");
            worst = worst.max(error / f64::from(f32::EPSILON));
        }
        println!("{f}: within {worst:.2} units of 2^-23, relative to the larger of 1 and the value");
        assert!(worst <= 4.0, "{f}: {worst}");
        assert!(got(f32::NAN).is_nan(), "{f}");
    }
    let all = Activation::ALL.into_iter().filter(|f| super::function(*f).is_some());
    assert_eq!(all.count(), ACTIVATIONS.len());
}

#[test]
fn each_is_as_accurate_as_its_comment_says() {
    /// A name, the function and the `f64` one, the range, and the largest relative error in units of 2^-23.
    type Row = (&'static str, Function, fn(f64) -> f64, [f32; 2], f64);
    let rows: [Row; 5] = [
        ("exp", exp, f64::exp, [-87.3, 88.3], 2.0),
        ("ln_1p", ln_1p, f64::ln_1p, [0.0, 1.0], 3.0),
        ("exp_m1", exp_m1, f64::exp_m1, [-100.0, 0.0], 10.0),
        ("normal_tail", normal_tail, |x| 0.5 * libm::erfc(x.abs() / std::f64::consts::SQRT_2), [-6.0, 6.0], 24.0),
        ("f_sigmoid", f_sigmoid, |z| 1.0 / (1.0 + (-z).exp()), [-80.0, 100.0], 3.4),
    ];
    for (name, got, want, [low, high], units) in rows {
        let mut worst = 0.0_f64;
        let steps = (0..=60_000_u16).map(|i| low + (high - low) * (f32::from(i) / 60_000.0));
        for x in steps.chain(numbers()).filter(|x| (low..=high).contains(x)) {
            let want = want(f64::from(x));
            let error = (f64::from(got(x)) - want).abs() / want.abs().max(f64::from(f32::MIN_POSITIVE));
            assert!(!error.is_nan(), "{name}({x})");
            worst = worst.max(error / f64::from(f32::EPSILON));
        }
        println!("{name}: within {worst:.2} units of 2^-23");
        assert!(worst <= units, "{name}: {worst}");
    }
    let tanh = numbers().map(|z| (f64::from(f_tanh(z)) - f64::from(z).tanh()).abs()).fold(0.0, f64::max);
    assert!(tanh <= 2e-7, "{tanh:e}");
}

#[test]
fn tables_have_their_f64_functions() {
    let (mut log, mut sine) = (0.0_f64, 0.0_f64);
    for i in 0..200_000_u32 {
        let x = 1e-9 * (f64::from(i) * 5e-4).exp();
        log = log.max((wide_ln_1p(x) - x.ln_1p()).abs() / x.ln_1p());
        let turns = f64::from(i) * 0.012_345 - 1000.0;
        sine = sine.max((sine_of_turns(turns) - (core::f64::consts::TAU * (turns - turns.floor())).sin()).abs());
    }
    println!("ln(1 + x) within {log:.1e} of itself, the sine of turns within {sine:.1e}");
    assert!(log <= 1e-15 && sine <= 1e-14, "{log:e} {sine:e}");
    #[allow(clippy::float_cmp, reason = "these are exact")]
    for x in [0.0, -0.5, 2.5, -3.0, 1e9 + 0.5, -1e15 - 0.5, 1e16, -1e300, f64::MAX] {
        assert_eq!(floor(x), x.floor(), "{x}");
    }
    assert!(wide_ln_1p(f64::MAX).is_finite());
}

#[test]
fn sums_and_softmax_are_right() {
    let mut w = [[0.0_f32; 21]; 2];
    let mut a = [0.0_f32; 21];
    for i in 0..21_u8 {
        a[usize::from(i)] = f32::from(i) - 7.0;
        w[0][usize::from(i)] = f32::from(i % 5);
        w[1][usize::from(i)] = f32::from(i % 7) - 3.0;
    }
    let want = w.map(|w| w.iter().zip(&a).map(|(w, a)| w * a).sum::<f32>());
    let z = weighted_input(&w, &a, &[0.5, -1.0]);
    // Whole numbers are exact in any order.
    assert_eq!(z.map(f32::to_bits), [want[0] + 0.5, want[1] - 1.0].map(f32::to_bits));
    for row in [&[1.0_f32, 2.0, 3.0][..], &[-1000.0, 1000.0], &[f32::MIN, f32::MIN], &[0.25]] {
        let mut got = row.to_vec();
        softmax(&mut got);
        let want = reference::softmax(&row.iter().map(|&z| f64::from(z)).collect::<Vec<_>>());
        for (got, want) in got.iter().zip(want) {
            assert!((f64::from(*got) - want).abs() <= 4e-7, "{row:?}: {got} beside {want}");
        }
    }
}
