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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
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
}

impl Init {
    /// Every initialisation.
    pub const ALL: [Self; 4] = [Self::StandardNormal, Self::ScaledNormal, Self::Xavier, Self::He];

    /// The name in lower case.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::StandardNormal => "standard-normal",
            Self::ScaledNormal => "scaled-normal",
            Self::Xavier => "xavier",
            Self::He => "he",
        }
    }

    /// Draws the parameters of all layers into one arena of `len` numbers.
    pub(crate) fn draw(self, layers: &[Layer], len: usize, seed: u64) -> Vec<f32> {
        let mut arena = vec![0.0; len];
        for (l, layer) in (0..).zip(layers) {
            let mut draws = Draws { rng: generator(seed, l), spare: None };
            #[allow(clippy::cast_precision_loss, reason = "widths are far below 2^53")]
            let [inputs, outputs] = [layer.inputs, layer.outputs].map(|n| n as f64);
            for w in &mut arena[layer.weights()] {
                *w = rounded(match self {
                    Self::StandardNormal => draws.normal(),
                    Self::ScaledNormal => draws.normal() / inputs.sqrt(),
                    Self::Xavier => draws.symmetric() * (6.0 / (inputs + outputs)).sqrt(),
                    Self::He => draws.normal() * (2.0 / inputs).sqrt(),
                });
            }
            for b in &mut arena[layer.biases()] {
                *b = match self {
                    Self::StandardNormal | Self::ScaledNormal => rounded(draws.normal()),
                    Self::Xavier | Self::He => 0.0,
                };
            }
        }
        arena
    }
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
        ] {
            let arena = init.draw(&layers, len, 7);
            let w: Vec<f64> = arena[layers[0].weights()].iter().map(|&w| w.into()).collect();
            #[allow(clippy::cast_precision_loss, reason = "8000 is exact")]
            let n = w.len() as f64;
            let mean = w.iter().sum::<f64>() / n;
            let variance = w.iter().map(|w| (w - mean).powi(2)).sum::<f64>() / n;
            assert!(mean.abs() < 4.0 * deviation / n.sqrt(), "{init}: mean {mean}");
            assert!((variance.sqrt() / deviation - 1.0).abs() < 0.03, "{init}: deviation {}", variance.sqrt());
            let bits = arena.iter().fold(0_u32, |sum, x| sum.rotate_left(5) ^ x.to_bits());
            assert_eq!(bits, sum, "{init}: the bits changed");
            assert_ne!(arena, init.draw(&layers, len, 8), "{init}: the seed does nothing");
            assert_ne!(arena[layers[0].w..][..5], arena[layers[1].w..][..5], "{init}: layers draw the same");
        }
    }
}
