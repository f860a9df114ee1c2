//! wgrad
mod activation;
mod cost;
mod error;
pub mod real;
pub mod reference;
pub mod data;

pub use activation::Activation;
pub use cost::Cost;
pub use error::{Error, Result};
