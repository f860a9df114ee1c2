//! Training data: sets of examples, and the order in which an epoch visits them.
//!
//! | what | where |
//! |---|---|
//! | the examples of a data set, in memory | [`Dataset`] |
//! | the mini-batches of an epoch | [`Batches`] |
//!
//! A reader for a further format is one function that returns a [`Dataset`].

mod batches;
mod dataset;
mod random;

pub use batches::Batches;
pub use dataset::{Dataset, Inputs, Targets};
