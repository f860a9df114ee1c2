//! Training data: sets of examples, the order in which an epoch visits them, tables, IDX files (MNIST) and built-in digits.
//!
//! | what | where |
//! |---|---|
//! | the examples of a data set, in memory | [`Dataset`] |
//! | the mini-batches of an epoch | [`Batches`] |
//! | tables with named columns, from CSV files or from a program | [`TableReader`], [`Table`] |
//! | from a table's rows to a network's inputs, and back | [`Preparation`], [`Predictions`] |
//! | IDX files, plain or gzip | [`read_idx`], [`load_idx_pair`], [`load_mnist_dir`] |
//! | digits that need no file | [`synthetic_digits`] |
//! | a picture as text | [`ascii`] |
//!
//! A reader for a further format is one function that returns a [`Dataset`].

mod ascii;
mod batches;
mod column;
mod csv;
mod dataset;
mod date;
mod digits;
mod encoding;
#[rustfmt::skip] // It would give each point of a stroke a line of its own.
mod glyphs;
mod idx;
mod mnist;
mod number;
mod predictions;
mod preparation;
mod sniff;
mod split;
mod table;
mod target;
mod text;
mod weights;

pub use ascii::ascii;
pub use batches::Batches;
pub use column::{Column, Field, Kind};
pub use csv::TableReader;
pub use dataset::{Dataset, Inputs, Targets};
pub use digits::synthetic_digits;
pub(crate) use encoding::{Encoding, Scale};
pub use idx::{IdxArray, IdxData, read_idx, read_idx_from};
pub use mnist::{load_idx_pair, load_mnist_dir};
pub use predictions::Predictions;
pub use preparation::{Missing, Preparation, PreparationBuilder, Scaling, Unknown};
pub use table::Table;
pub use target::Task;
