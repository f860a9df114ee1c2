//! wgrad
#![warn(missing_docs, unreachable_pub)]
#![warn(clippy::cast_possible_truncation, clippy::float_cmp, clippy::missing_errors_doc, clippy::missing_panics_doc)]
#![warn(clippy::print_stderr, clippy::print_stdout, clippy::unwrap_used)]

mod activation;
mod backend;
#[cfg(not(target_arch = "wasm32"))]
mod blocking;
mod cost;
mod cpu;
pub mod data;
mod device;
mod error;
#[cfg(feature = "gpu")]
mod gpu;
mod init;
pub mod kernel;
mod layer;
mod network;
mod optimizer;
pub mod plan;
mod random;
pub mod real;
pub mod reference;
mod session;
mod train;
mod training;
pub mod verify;

pub use activation::Activation;
pub use backend::Counters;
pub use cost::Cost;
pub use data::{Batches, Dataset, Inputs, Targets};
#[cfg(feature = "gpu")]
pub use device::AdapterSummary;
pub use device::Device;
pub use error::{Error, Result};
pub use init::Init;
pub use layer::Layer;
pub use network::{Evaluation, Gradients, Network, NetworkBuilder};
pub use optimizer::{Optimizer, Sgd};
pub use train::{EpochReport, Event, History, Trainer};
pub use training::{Stepped, Training};
#[cfg(feature = "gpu")]
pub use wgpu;
