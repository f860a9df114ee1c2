//! Weights from elsewhere: any safetensors file of dense layers, such as PyTorch's.

use std::collections::BTreeMap;
use std::path::Path;

use safetensors::Dtype;

use super::container::Tensors;
use super::{BYTES, load};
use crate::error::{Error, Result, brief};
use crate::layer::layout;
use crate::network::{Network, at_path, check_parameters};
use crate::{Activation, Device, Init};

/// The parameters of dense layers, from a safetensors file that need not be this crate's: `0.weight (out, in)`, `0.bias (out)`,
/// `2.weight`, ..., as `nn.Sequential` has them, `layers.0.weight`, or with any other names that end in `weight` and `bias`. Layers
/// are taken by the numbers in their names, and must fit on one another.
///
/// ```
/// # #[cfg(feature = "blocking")] {
/// use wgrad::{Activation, Device, Network, Weights};
/// let net = Network::new(3).dense(4, Activation::Relu).dense(2, Activation::Identity).seed(1).build(&Device::cpu())?;
/// let bytes = net.to_bytes()?; // or what `safetensors.torch.save_file(model.state_dict(), ...)` wrote
///
/// let weights = Weights::from_bytes(&bytes)?;
/// assert_eq!(weights.sizes(), [3, 4, 2]);
/// // A file of weights does not say what comes after each layer:
/// let again = weights.network(&[Activation::Relu, Activation::Identity], &Device::cpu())?;
/// assert_eq!(again.predict(&[1.0, 2.0, 3.0])?, net.predict(&[1.0, 2.0, 3.0])?);
/// # }
/// # Ok::<(), wgrad::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Weights {
    /// Inputs, outputs, weights and biases of each layer.
    layers: Vec<(usize, usize, Vec<f32>, Vec<f32>)>,
    /// Where they are from.
    path: std::path::PathBuf,
}

/// Which numbers are taken.
#[derive(Clone, Copy)]
enum Take {
    F32,
    Any,
}

impl Weights {
    /// Reads `F32` numbers, as they are.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::File`] for what is no safetensors file, and for other numbers, missing, double and additional tensors,
    /// shapes that do not fit, and numbers that are not finite.
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let layers = load(path, |bytes| layers(bytes, Take::F32))?;
        Ok(Self { layers, path: path.to_owned() })
    }

    /// As [`read`](Self::read), also numbers of the kinds `F16` and `BF16`, which an `f32` holds exactly, and `F64`, which are rounded.
    ///
    /// # Errors
    /// As there.
    pub fn read_converted(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let layers = load(path, |bytes| layers(bytes, Take::Any))?;
        Ok(Self { layers, path: path.to_owned() })
    }

    /// As [`read`](Self::read), from bytes.
    ///
    /// # Errors
    /// As there.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let layers = layers(bytes, Take::F32).map_err(|problem| Error::file(BYTES, problem))?;
        Ok(Self { layers, path: BYTES.into() })
    }

    /// The width of the input and of every layer.
    #[must_use]
    pub fn sizes(&self) -> Vec<usize> {
        let inputs = self.layers.first().map(|(inputs, ..)| *inputs);
        inputs.into_iter().chain(self.layers.iter().map(|(_, outputs, ..)| *outputs)).collect()
    }

    /// The network of these layers, each with its activation.
    ///
    /// # Errors
    /// [`Error::Shape`] for another number of activations than layers; [`Error::Architecture`] for layers that cannot be;
    /// [`Error::Limit`] and [`Error::OutOfMemory`] if the device cannot hold it; what the device reports.
    pub fn network(&self, activations: &[Activation], device: &Device) -> Result<Network> {
        if activations.len() != self.layers.len() {
            let want = format!("{} activations, one for each layer", self.layers.len());
            return Err(Error::shape("Weights::network", want, activations.len().to_string()));
        }
        let start = Network::new(self.layers.first().map_or(0, |(inputs, ..)| *inputs)).init(Init::Constant(0.0));
        let layers = self.layers.iter().zip(activations);
        let net = layers.fold(start, |net, ((_, outputs, ..), &activation)| net.dense(*outputs, activation));
        let mut net = net.build(device)?;
        self.give(&mut net)?;
        Ok(net)
    }

    /// Gives these parameters to a network with the same layers, in place of its own.
    ///
    /// # Errors
    /// [`Error::File`] if it has others; what the device reports.
    pub fn give(&self, net: &mut Network) -> Result<()> {
        if net.sizes() != self.sizes() {
            let problem = format!("its layers are {:?}, those of the network {:?}", self.sizes(), net.sizes());
            return Err(Error::file(&self.path, problem));
        }
        let weights = self.layers.iter().flat_map(|(_, _, weights, _)| weights);
        let biases = self.layers.iter().flat_map(|(_, _, _, biases)| biases);
        let arena: Vec<f32> = weights.chain(biases).copied().collect();
        net.set_parameters(&arena).map_err(|error| at_path(&self.path, error))
    }
}

/// What orders names as people do: pieces of text, and the numbers between them.
fn natural(name: &str) -> Vec<(String, u64)> {
    let mut pieces = Vec::new();
    let mut rest = name;
    while !rest.is_empty() {
        let text = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let (head, tail) = rest.split_at(text);
        let digits = tail.find(|c: char| !c.is_ascii_digit()).unwrap_or(tail.len());
        let (number, tail) = tail.split_at(digits);
        pieces.push((head.to_owned(), number.parse().unwrap_or(u64::MAX)));
        rest = tail;
    }
    pieces
}

/// The layers of a file, or what is wrong with it.
#[allow(clippy::type_complexity, reason = "that of the one field it is for")]
fn layers(bytes: &[u8], take: Take) -> Result<Vec<(usize, usize, Vec<f32>, Vec<f32>)>, String> {
    let mut tensors = Tensors::plain(bytes)?;
    // What this crate adds to the parameters of a run is no layer.
    let ours = tensors.has(crate::train::TRAINING);
    let is_ours = |name: &str| {
        ours && (["optimizer.", "best."].iter().any(|front| name.starts_with(front))
            || ["scores", crate::train::TRAINING].contains(&name))
    };
    let mut found: BTreeMap<Vec<(String, u64)>, (String, [Option<Vec<usize>>; 2])> = BTreeMap::new();
    for (name, shape) in tensors.names().filter(|(name, _)| !is_ours(name)) {
        let kind = ["weight", "bias"]
            .iter()
            .position(|end| name.strip_suffix(end).is_some_and(|front| front.is_empty() || front.ends_with('.')));
        let Some(kind) = kind else {
            return Err(format!("it has a tensor '{}', which is neither weight nor bias of a layer", brief(name)));
        };
        let front = &name[..name.len() - ["weight", "bias"][kind].len()];
        let entry = found.entry(natural(front)).or_insert_with(|| (front.to_owned(), [None, None]));
        if entry.0 != front {
            return Err(format!(
                "it has the layers '{}' and '{}', which are one by their number",
                brief(&entry.0),
                brief(front)
            ));
        }
        entry.1[kind] = Some(shape.to_vec());
    }
    if found.is_empty() {
        return Err("it has no tensors".to_owned());
    }
    let mut layers: Vec<(usize, usize, Vec<f32>, Vec<f32>)> = Vec::new();
    for (front, [weight, bias]) in found.into_values() {
        let (weight_name, bias_name) = (format!("{front}weight"), format!("{front}bias"));
        let missing = |name: &str| format!("it has no tensor '{}'", brief(name));
        let weight = weight.ok_or_else(|| missing(&weight_name))?;
        let bias = bias.ok_or_else(|| missing(&bias_name))?;
        let &[outputs, inputs] = weight.as_slice() else {
            return Err(format!("its tensor '{}' is {weight:?}, where (out, in) belongs", brief(&weight_name)));
        };
        if bias != [outputs] {
            return Err(format!("its tensor '{}' is {bias:?}, where [{outputs}] belongs", brief(&bias_name)));
        }
        if let Some((_, below, ..)) = layers.last().filter(|(_, below, ..)| *below != inputs) {
            let name = brief(&weight_name);
            return Err(format!(
                "its tensor '{name}' takes {inputs} inputs, where the layer below has {below} outputs"
            ));
        }
        let weights = numbers(&mut tensors, &weight_name, take)?;
        layers.push((inputs, outputs, weights, numbers(&mut tensors, &bias_name, take)?));
    }
    let dense: Vec<_> = layers.iter().map(|(_, outputs, ..)| (*outputs, Activation::Identity)).collect();
    layout(layers.first().map_or(0, |(inputs, ..)| *inputs), &dense).map_err(|error| error.to_string())?;
    Ok(layers)
}

/// Takes the numbers of a tensor.
fn numbers(tensors: &mut Tensors<'_>, name: &str, take: Take) -> Result<Vec<f32>, String> {
    let view = tensors.take(name)?;
    let data = view.data();
    #[allow(clippy::cast_possible_truncation, reason = "rounding is what was asked for")]
    let numbers: Vec<f32> = match (view.dtype(), take) {
        (Dtype::F32, _) => data.as_chunks().0.iter().map(|word| f32::from_le_bytes(*word)).collect(),
        (Dtype::F64, Take::Any) => data.as_chunks().0.iter().map(|word| f64::from_le_bytes(*word) as f32).collect(),
        (Dtype::BF16, Take::Any) => {
            data.as_chunks().0.iter().map(|word| f32::from_bits(u32::from(u16::from_le_bytes(*word)) << 16)).collect()
        }
        (Dtype::F16, Take::Any) => data.as_chunks().0.iter().map(|word| half(u16::from_le_bytes(*word))).collect(),
        (dtype @ (Dtype::F64 | Dtype::F16 | Dtype::BF16), Take::F32) => {
            let name = brief(name);
            return Err(format!("its tensor '{name}' is {dtype}, where F32 belongs; Weights::read_converted takes it"));
        }
        (dtype, _) => return Err(format!("its tensor '{}' is {dtype}, where F32 belongs", brief(name))),
    };
    check_parameters(&numbers).map_err(|problem| format!("its tensor '{}': {problem}", brief(name)))?;
    Ok(numbers)
}

/// The number of a binary16: sign, five bits of exponent, ten of fraction.
fn half(bits: u16) -> f32 {
    let sign = if bits >> 15 == 1 { -1.0 } else { 1.0 };
    let (exponent, fraction) = (bits >> 10 & 31, f32::from(bits & 1023));
    sign * match exponent {
        0 => fraction * 2.0_f32.powi(-24),
        31 if fraction > 0.0 => f32::NAN,
        31 => f32::INFINITY,
        _ => (1024.0 + fraction) * 2.0_f32.powi(i32::from(exponent) - 25),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(clippy::float_cmp, reason = "these are exact")]
    fn halves_are_what_ieee_says() {
        for (bits, value) in [
            (0x3c00, 1.0),
            (0xc000, -2.0),
            (0x7bff, 65504.0),
            (0x0400, 6.103_515_6e-5),
            (0x0001, 5.960_464_5e-8),
            (0x3555, 0.333_251_95),
        ] {
            assert_eq!(half(bits), value, "{bits:04x}");
        }
        assert!(half(0x7c00).is_infinite() && half(0x7e00).is_nan());
    }

    #[test]
    fn numbers_in_names_count_as_numbers() {
        let mut names = ["10.", "2.", "0.", "net.3."];
        names.sort_by_key(|name| natural(name));
        assert_eq!(names, ["0.", "2.", "10.", "net.3."]);
    }
}
