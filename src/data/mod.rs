//! Training data: sets of examples, the order in which an epoch visits them, and IDX files.
//!
//! | what | where |
//! |---|---|
//! | the examples of a data set, in memory | [`Dataset`] |
//! | the mini-batches of an epoch | [`Batches`] |
//! | IDX files, plain or gzip | [`read_idx`], [`load_idx_pair`], [`load_mnist_dir`] |
//!
//! A reader for a further format is one function that returns a [`Dataset`].

mod batches;
mod dataset;
mod idx;
mod mnist;
mod random;

pub use batches::Batches;
pub use dataset::{Dataset, Inputs, Targets};
pub use idx::{IdxArray, IdxData, read_idx, read_idx_from};
pub use mnist::{load_idx_pair, load_mnist_dir};
