//! wgrad
mod activation;
mod cost;
pub mod data;
mod error;
pub mod real;
pub mod reference;

pub use activation::Activation;
pub use cost::Cost;
pub use data::{Batches, Dataset, Inputs, Targets};
pub use error::{Error, Result};
