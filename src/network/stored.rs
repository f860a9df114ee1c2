//! What is stored of a network: all of it but its device and its plans.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::Network;
use crate::checkpoint::{self, BYTES, Tensors, Writer};
use crate::data::Preparation;
use crate::error::{Error, Result};
use crate::plan::PlanKind;
use crate::{Activation, Device, Init};

/// A network without its parameters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Stored {
    inputs: usize,
    layers: Vec<StoredLayer>,
    dropout_seed: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    plan: Option<PlanKind>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    preparation: Option<Preparation>,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredLayer {
    outputs: usize,
    activation: Activation,
    /// The share that is dropped.
    dropout: f32,
}

impl Stored {
    /// Whatever the network has, it is stored, or said here why not.
    pub(crate) fn of(net: &Network) -> Self {
        let Network {
            device: _,
            layers,
            len: _,
            forced,
            preparation,
            rates,
            dropout_seed,
            state: _,
            host: _,
            known: _,
        } = net;
        let layer = |(layer, &dropout): (&crate::Layer, &f32)| {
            let crate::Layer { inputs: _, outputs, activation, w: _, b: _ } = *layer;
            StoredLayer { outputs, activation, dropout }
        };
        Self {
            inputs: net.inputs(),
            layers: layers.iter().zip(rates).map(layer).collect(),
            dropout_seed: *dropout_seed,
            plan: *forced,
            preparation: preparation.clone(),
        }
    }

    /// The layers, and how many parameters they have, or why there are no such layers.
    pub(crate) fn layers(&self) -> Result<Vec<crate::Layer>, String> {
        let dense: Vec<_> = self.layers.iter().map(|layer| (layer.outputs, layer.activation)).collect();
        crate::layer::layout(self.inputs, &dense).map(|(layers, _)| layers).map_err(|error| error.to_string())
    }

    /// The network on a device, with these parameters.
    pub(crate) fn build(self, parameters: &[f32], device: &Device) -> Result<Network> {
        let mut builder = Network::new(self.inputs).init(Init::Constant(0.0));
        for StoredLayer { outputs, activation, dropout } in self.layers {
            builder = builder.dense(outputs, activation);
            if dropout.to_bits() != 0 {
                builder = builder.dropout(dropout);
            }
        }
        if let Some(plan) = self.plan {
            builder = builder.plan(plan);
        }
        let mut net = builder.build(device)?;
        net.dropout_seed = self.dropout_seed;
        if let Some(preparation) = self.preparation {
            net.set_preparation(preparation)?;
        }
        net.set_parameters(parameters)?;
        Ok(net)
    }
}

/// Refuses parameters that are no numbers.
pub(crate) fn check(parameters: &[f32]) -> Result<(), String> {
    match parameters.iter().position(|w| !w.is_finite()) {
        Some(at) => Err(format!("parameter {at} is {}; every one must be finite", parameters[at])),
        None => Ok(()),
    }
}

/// The network and its parameters, from a checkpoint of a network or of a run.
pub(crate) fn read(bytes: &[u8]) -> Result<(Stored, Vec<f32>), String> {
    let (mut tensors, stored, _) = Tensors::checkpoint::<Stored>(bytes)?;
    if tensors.has(crate::train::TRAINING) {
        return crate::train::Snapshot::read(bytes).map(crate::train::Snapshot::into_network);
    }
    let parameters = checkpoint::take_arena(&mut tensors, "", &stored.layers()?)?;
    tensors.finish()?;
    check(&parameters)?;
    Ok((stored, parameters))
}

impl Network {
    /// The network as the bytes of a safetensors file: its layers with their parameters, its dropout, its plan where one is forced,
    /// and its [`Preparation`] where it has one. What an optimiser remembers is not among them: see
    /// [`Checkpoints`](crate::Checkpoints).
    ///
    /// The tensors are `layers.0.weight (out, in)`, `layers.0.bias (out)`, `layers.1.weight` and so on, in `F32`, as PyTorch's
    /// `nn.Linear` has them. The same network gives the same bytes.
    ///
    /// # Errors
    /// [`Error::NotFinite`] for a parameter that is no number, as after training that diverged; what the device reports.
    pub async fn to_bytes_async(&self) -> Result<Vec<u8>> {
        let parameters = self.parameters_async().await?;
        super::finite("the network's parameters", &parameters)?;
        let mut writer = Writer::default();
        checkpoint::put_arena(&mut writer, "", &self.layers, &parameters);
        writer.finish(&Stored::of(self)).map_err(|problem| Error::file(BYTES, problem))
    }

    /// Writes [`to_bytes`](Self::to_bytes_async) to a file. There is always a whole file: a temporary one in the same folder is
    /// written, flushed to the disk and renamed. A symbolic link stays one, and an old file's permissions stay.
    ///
    /// # Errors
    /// As there; [`Error::Io`] and [`Error::File`] for a path that cannot be written. The old file is still there then.
    pub async fn save_async(&self, path: impl AsRef<Path>) -> Result<()> {
        checkpoint::save(path.as_ref(), &self.to_bytes_async().await?)
    }

    /// The network of a file that [`save`](Self::save_async) or a run with [`Checkpoints`](crate::Checkpoints) wrote, on any
    /// device. It predicts what the saved one did, on the same device to the bit. Of a run that is over it is the network that the run
    /// left: with the parameters of the best epoch, where those were to be restored; of one that was interrupted, that of the last save.
    ///
    /// The file is untrusted: every byte of it is under a digest, all that it says is checked, and no more memory is asked for than 32
    /// times its size.
    ///
    /// ```
    /// # #[cfg(feature = "blocking")] {
    /// use wgrad::{Activation, Device, Network};
    /// let net = Network::new(2).dense(3, Activation::Tanh).dense(1, Activation::Sigmoid).build(&Device::cpu())?;
    /// let file = std::env::temp_dir().join(format!("wgrad example {}.safetensors", std::process::id()));
    /// net.save(&file)?;
    /// let again = Network::load(&file, &Device::cpu())?;
    /// assert_eq!(net.predict(&[1.0, 0.0])?, again.predict(&[1.0, 0.0])?);
    /// # std::fs::remove_file(&file).expect("it was there");
    /// # }
    /// # Ok::<(), wgrad::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::File`] for what is no such file, or damaged, or of a later format; [`Error::Limit`] and
    /// [`Error::OutOfMemory`] if the device cannot hold it; what the device reports.
    pub fn load(path: impl AsRef<Path>, device: &Device) -> Result<Self> {
        let (stored, parameters) = checkpoint::load(path.as_ref(), read)?;
        stored.build(&parameters, device).map_err(|error| at_path(path.as_ref(), error))
    }

    /// As [`load`](Self::load), from bytes, such as those that `include_bytes!` put into a program.
    ///
    /// # Errors
    /// As there.
    pub fn from_bytes(bytes: &[u8], device: &Device) -> Result<Self> {
        let (stored, parameters) = read(bytes).map_err(|problem| Error::file(BYTES, problem))?;
        stored.build(&parameters, device).map_err(|error| at_path(Path::new(BYTES), error))
    }
}

/// An error that comes of what a file says, with its path; what is the device's stays as it is.
pub(crate) fn at_path(path: &Path, error: Error) -> Error {
    match error {
        Error::Several { .. }
        | Error::Architecture { .. }
        | Error::InvalidOption { .. }
        | Error::Shape { .. }
        | Error::NotFinite { .. } => Error::file(path, error.to_string()),
        error => error,
    }
}
