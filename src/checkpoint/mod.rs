//! Checkpoints: what was learned, in files. `network/stored.rs` says what is stored of a network, `train/state.rs` what of a run.

mod container;
mod file;
mod policy;
mod weights;

use std::path::Path;

pub(crate) use container::{Tensors, Writer};
pub use policy::Checkpoints;
pub use weights::Weights;

use crate::error::{Error, Result};
use crate::layer::Layer;

/// What messages name in place of a path, where bytes came from none.
pub(crate) const BYTES: &str = "<bytes>";

/// The bytes of a file, handed to a reader that says what is wrong with them.
pub(crate) fn load<T>(path: &Path, read: impl FnOnce(&[u8]) -> Result<T, String>) -> Result<T> {
    read(&file::read(path)?).map_err(|problem| Error::file(path, problem))
}

/// Writes a file so that there is always a whole one.
pub(crate) fn save(path: &Path, bytes: &[u8]) -> Result<()> {
    file::write(path, bytes)
}

/// Adds an arena of parameters, or of numbers laid out like them, as a tensor a layer and kind: `layers.0.weight (out, in)`,
/// `layers.0.bias (out)`, behind a prefix.
pub(crate) fn put_arena(writer: &mut Writer, prefix: &str, layers: &[Layer], arena: &[f32]) {
    for (l, layer) in layers.iter().enumerate() {
        let (weight, bias) = (format!("{prefix}layers.{l}.weight"), format!("{prefix}layers.{l}.bias"));
        writer.numbers(weight, vec![layer.outputs, layer.inputs], &arena[layer.weights()]);
        writer.numbers(bias, vec![layer.outputs], &arena[layer.biases()]);
    }
}

/// Takes what [`put_arena`] added.
pub(crate) fn take_arena(tensors: &mut Tensors<'_>, prefix: &str, layers: &[Layer]) -> Result<Vec<f32>, String> {
    let (mut weights, mut biases) = (Vec::new(), Vec::new());
    for (l, layer) in layers.iter().enumerate() {
        let (weight, bias) = (format!("{prefix}layers.{l}.weight"), format!("{prefix}layers.{l}.bias"));
        weights.extend(tensors.numbers(&weight, &[layer.outputs, layer.inputs])?);
        biases.extend(tensors.numbers(&bias, &[layer.outputs])?);
    }
    weights.extend(biases);
    Ok(weights)
}
