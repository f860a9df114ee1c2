//! wgrad
mod activation;
mod backend;
#[cfg(not(target_arch = "wasm32"))]
mod blocking;
mod cost;
pub mod data;
mod error;
#[cfg(feature = "gpu")]
mod gpu;
mod init;
pub mod kernel;
mod layer;
mod network;
mod optimizer;
pub mod plan;
pub mod real;
pub mod reference;

pub use activation::Activation;
pub use cost::Cost;
pub use data::{Batches, Dataset, Inputs, Targets};
pub use error::{Error, Result};
pub use init::Init;
pub use layer::Layer;
pub use network::{Evaluation, Gradients, Network, NetworkBuilder};
pub use optimizer::{Optimizer, Sgd};
pub use train::{EpochReport, Event, History, Trainer};
#[cfg(feature = "gpu")]
pub use wgpu;
