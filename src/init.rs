//! The parameters a network starts with.

use rand::Rng;
use rand_pcg::Pcg64;

use crate::activation::by_name;
use crate::error::{Error, Result};
use crate::layer::Layer;
use crate::random::generator;

/// How weights and biases are drawn. `n_in` and `n_out` are a layer's inputs and outputs.
///
/// All of it is a pure function of the seed and the layer, with the same bits on every device and platform: the generator is
/// PCG 64, and the logarithm of the normal draw is not the system's.
///
/// ```
/// use wgrad::Init;
/// assert_eq!("he".parse::<Init>()?, Init::He);
/// # Ok::<(), wgrad::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[non_exhaustive]
pub enum Init {
    /// Weights and biases from N(0, 1): the first program of the book that the notes follow. Wide layers saturate.
    StandardNormal,
    /// Weights from `N(0, 1/n_in)`, biases from N(0, 1): the book's improved initialisation. The default.
    #[default]
    ScaledNormal,
    /// Weights uniform in `+-sqrt(6 / (n_in + n_out))`, biases 0 (Glorot and Bengio 2010). For sigmoid and tanh.
    Xavier,
    /// Weights from `N(0, 2/n_in)`, biases 0 (He et al. 2015). For `ReLU`.
    He,
    /// Weights from `N(0, 1/n_in)`, biases 0 (LeCun et al. 1998).
    LecunNormal,
    /// Weights uniform in `+-sqrt(3 / n_in)`, biases 0: of the same variance.
    LecunUniform,
    /// Weights with rows (or, where there are more rows than columns, columns) that are orthonormal, uniform among all such: those
    /// of a normal matrix, orthogonalised (Saxe et al. 2013). Biases 0. Takes about `n_in n_out min(n_in, n_out)` multiplications.
    Orthogonal,
    /// All weights this number, biases 0. It has no place in [`ALL`](Self::ALL), and no word stands for it.
    Constant(f32),
}

impl Init {
    /// Every initialisation that needs no number.
    pub const ALL: [Self; 7] = [
        Self::StandardNormal,
        Self::ScaledNormal,
        Self::Xavier,
        Self::He,
        Self::LecunNormal,
        Self::LecunUniform,
        Self::Orthogonal,
    ];

    /// The name in lower case.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::StandardNormal => "standard-normal",
            Self::ScaledNormal => "scaled-normal",
            Self::Xavier => "xavier",
            Self::He => "he",
            Self::LecunNormal => "lecun-normal",
            Self::LecunUniform => "lecun-uniform",
            Self::Orthogonal => "orthogonal",
            Self::Constant(_) => "constant",
        }
    }

    /// Refuses a number that cannot be.
    pub(crate) fn check(self) -> Result<()> {
        match self {
            Self::Constant(value) if !value.is_finite() => {
                Err(Error::InvalidOption { option: "init", value: value.to_string(), want: "finite" })
            }
            _ => Ok(()),
        }
    }

    /// Draws the parameters of all layers into one arena of `len` numbers, each layer as `inits` has it.
    pub(crate) fn draw_each(inits: &[Self], layers: &[Layer], len: usize, seed: u64) -> Vec<f32> {
        let mut arena = vec![0.0; len];
        for ((l, layer), init) in (0..).zip(layers).zip(inits) {
            init.draw_layer(layer, &mut Draws { rng: generator(seed, l), spare: None }, &mut arena);
        }
        arena
    }

    fn draw_layer(self, layer: &Layer, draws: &mut Draws, arena: &mut [f32]) {
        #[allow(clippy::cast_precision_loss, reason = "widths are far below 2^53")]
        let [inputs, outputs] = [layer.inputs, layer.outputs].map(|n| n as f64);
        if self == Self::Orthogonal {
            let rows = orthonormal(layer.outputs, layer.inputs, draws);
            for (w, drawn) in arena[layer.weights()].iter_mut().zip(rows) {
                *w = rounded(drawn);
            }
            return;
        }
        for w in &mut arena[layer.weights()] {
            *w = match self {
                Self::StandardNormal => rounded(draws.normal()),
                Self::ScaledNormal | Self::LecunNormal => rounded(draws.normal() / inputs.sqrt()),
                Self::Xavier => rounded(draws.symmetric() * (6.0 / (inputs + outputs)).sqrt()),
                Self::He => rounded(draws.normal() * (2.0 / inputs).sqrt()),
                Self::LecunUniform => rounded(draws.symmetric() * (3.0 / inputs).sqrt()),
                Self::Constant(value) => value,
                Self::Orthogonal => 0.0,
            };
        }
        for b in &mut arena[layer.biases()] {
            *b = match self {
                Self::StandardNormal | Self::ScaledNormal => rounded(draws.normal()),
                _ => 0.0,
            };
        }
    }
}

/// A matrix (rows, columns), row-major, whose rows are orthonormal, or its columns where they are fewer: those of a normal matrix by
/// the Gram-Schmidt process, in which the lengths taken out are positive, so that no direction is preferred. Each vector is
/// orthogonalised twice, which leaves nothing but rounding.
fn orthonormal(rows: usize, columns: usize, draws: &mut Draws) -> Vec<f64> {
    let (count, length) = (rows.min(columns), rows.max(columns));
    let mut vectors: Vec<Vec<f64>> = Vec::with_capacity(count);
    while vectors.len() < count {
        let mut v: Vec<f64> = (0..length).map(|_| draws.normal()).collect();
        for _ in 0..2 {
            for other in &vectors {
                let along: f64 = v.iter().zip(other).map(|(v, o)| v * o).sum();
                v.iter_mut().zip(other).for_each(|(v, o)| *v -= along * o);
            }
        }
        let norm = v.iter().map(|v| v * v).sum::<f64>().sqrt();
        // A draw that lies among the others has no direction left; it is as good as impossible.
        if norm > 1e-9 {
            v.iter_mut().for_each(|v| *v /= norm);
            vectors.push(v);
        }
    }
    if rows <= columns {
        return vectors.concat();
    }
    (0..rows).flat_map(|row| vectors.iter().map(move |v| v[row])).collect()
}

#[allow(clippy::cast_possible_truncation, reason = "rounding to f32 is what this is for")]
const fn rounded(x: f64) -> f32 {
    x as f32
}

struct Draws {
    rng: Pcg64,
    spare: Option<f64>,
}

impl Draws {
    /// Uniform in \[-1, 1), in steps of 2^-52.
    fn symmetric(&mut self) -> f64 {
        #[allow(clippy::cast_precision_loss, reason = "53 bits are exact in f64")]
        let unit = (self.rng.next_u64() >> 11) as f64 / 9_007_199_254_740_992.0;
        2.0 * unit - 1.0
    }

    /// Standard normal, by Marsaglia's polar method: two for each accepted point of the disc.
    fn normal(&mut self) -> f64 {
        if let Some(spare) = self.spare.take() {
            return spare;
        }
        loop {
            let (u, v) = (self.symmetric(), self.symmetric());
            let s = u * u + v * v;
            if s > 0.0 && s < 1.0 {
                let scale = (-2.0 * libm::log(s) / s).sqrt();
                self.spare = Some(v * scale);
                return u * scale;
            }
        }
    }
}

impl std::fmt::Display for Init {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl std::str::FromStr for Init {
    type Err = Error;
    fn from_str(word: &str) -> Result<Self> {
        by_name(&Self::ALL, Self::name, "initialisation", word)
    }
}

#[cfg(test)]
#[allow(clippy::float_cmp, reason = "what is compared is exact")]
mod tests {
    use super::*;
    use crate::Activation;
    use crate::layer::layout;

    /// Mean, deviation and a checksum of the bits, which must not change between platforms or versions.
    #[test]
    fn moments_and_bits() {
        let (layers, len) = layout(100, &[(80, Activation::Tanh), (10, Activation::Sigmoid)]).expect("a valid network");
        for (init, deviation, sum) in [
            (Init::StandardNormal, 1.0, 0x5c683c6a),
            (Init::ScaledNormal, 0.1, 0xdbd5fd43),
            (Init::Xavier, (2.0_f64 / 180.0).sqrt(), 0x24ae3c99),
            (Init::He, (2.0_f64 / 100.0).sqrt(), 0x7ba4dbfa),
            (Init::LecunNormal, 0.1, 0x31bcda80),
            (Init::LecunUniform, 0.1, 0x485f42e7),
            (Init::Orthogonal, 0.1, 0x36819d63),
        ] {
            let draw = |seed| Init::draw_each(&[init; 2], &layers, len, seed);
            let arena = draw(7);
            let w: Vec<f64> = arena[layers[0].weights()].iter().map(|&w| w.into()).collect();
            #[allow(clippy::cast_precision_loss, reason = "8000 is exact")]
            let n = w.len() as f64;
            let mean = w.iter().sum::<f64>() / n;
            let variance = w.iter().map(|w| (w - mean).powi(2)).sum::<f64>() / n;
            assert!(mean.abs() < 4.0 * deviation / n.sqrt(), "{init}: mean {mean}");
            assert!((variance.sqrt() / deviation - 1.0).abs() < 0.03, "{init}: deviation {}", variance.sqrt());
            let bits = arena.iter().fold(0_u32, |sum, x| sum.rotate_left(5) ^ x.to_bits());
            assert_eq!(bits, sum, "{init}: the bits changed");
            assert_ne!(arena, draw(8), "{init}: the seed does nothing");
            assert_ne!(arena[layers[0].w..][..5], arena[layers[1].w..][..5], "{init}: layers draw the same");
        }
    }

    /// Rows or columns are orthonormal, whichever are fewer.
    #[test]
    fn orthogonal_matrices_are() {
        for (inputs, outputs) in [(7, 7), (20, 5), (5, 20), (1, 3), (3, 1), (97, 31)] {
            let (layers, len) = layout(inputs, &[(outputs, Activation::Tanh)]).expect("a valid network");
            let arena = Init::draw_each(&[Init::Orthogonal], &layers, len, 3);
            let w = |o: usize, i: usize| f64::from(arena[o * inputs + i]);
            let (count, length) = (inputs.min(outputs), inputs.max(outputs));
            let at = |v: usize, k: usize| if outputs <= inputs { w(v, k) } else { w(k, v) };
            for a in 0..count {
                for b in 0..count {
                    let dot: f64 = (0..length).map(|k| at(a, k) * at(b, k)).sum();
                    let want = if a == b { 1.0 } else { 0.0 };
                    assert!((dot - want).abs() < 1e-6, "{inputs} to {outputs}: vectors {a} and {b}: {dot}");
                }
            }
            assert!(arena[layers[0].biases()].iter().all(|b| *b == 0.0));
        }
    }

    /// Each layer has its own, and that of one does not touch the other.
    #[test]
    fn layers_may_differ() {
        let (layers, len) = layout(5, &[(4, Activation::Tanh), (3, Activation::Sigmoid)]).expect("a valid network");
        let mixed = Init::draw_each(&[Init::He, Init::Constant(0.25)], &layers, len, 9);
        let he = Init::draw_each(&[Init::He; 2], &layers, len, 9);
        assert_eq!(mixed[layers[0].weights()], he[layers[0].weights()]);
        assert!(mixed[layers[1].weights()].iter().all(|w| *w == 0.25));
        assert!(Init::Constant(f32::NAN).check().is_err() && Init::Constant(0.5).check().is_ok());
    }
}
