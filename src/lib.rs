//! wgrad
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
pub mod kernel;
mod layer;
pub mod plan;
pub mod real;
pub mod reference;
pub mod verify;

pub use activation::Activation;
pub use cost::Cost;
pub use device::Device;
pub use error::{Error, Result};
pub use layer::Layer;
