//! Trains feed-forward neural networks by backpropagation on any GPU that [wgpu](https://wgpu.rs) reaches, through WGSL
//! compute shaders, and on the CPU where there is none. Every kernel is checked against an `f64` reference.
//!
//! A [`Device`] is where a [`Network`] is built and lives. A [`Trainer`] walks it through the mini-batches of a [`Dataset`],
//! which it uploads once, or streams where they do not fit: an epoch is a few submissions, and the host reads costs and right answers at its end.
//!
//! ```
//! # #[cfg(feature = "blocking")] {
//! use wgrad::{Activation, Cost, Dataset, Device, Network, Sgd, Trainer};
//!
//! // XOR: four rows of two inputs, with one target each.
//! let xor = Dataset::new(vec![0., 0., 0., 1., 1., 0., 1., 1.], 2, vec![0., 1., 1., 0.], 1)?;
//!
//! let device = Device::auto()?; // the best GPU, else the CPU
//! let mut net = Network::new(2)
//!     .dense(4, Activation::Tanh)
//!     .dense(1, Activation::Sigmoid)
//!     .seed(1)
//!     .build(&device)?;
//! let mut trainer = Trainer::new(Cost::BinaryCrossEntropy, Sgd::new(1.0)).batch_size(4).epochs(300);
//! let history = trainer.fit(&mut net, &xor, None)?;
//!
//! assert!(history.epochs[299].train_cost < 0.1 * history.epochs[0].train_cost);
//! assert!(net.predict(&[1.0, 0.0])?[0] > 0.9);
//! # }
//! # Ok::<(), wgrad::Error>(())
//! ```
//!
//! Programs with a loop of their own train in slices of time ([`Training::step_for`]), or mini-batch by mini-batch
//! ([`Network::update_mini_batch`], [`Network::gradients_async`], [`Network::evaluate_async`]). Whatever waits has an async
//! form, named `..._async`, and a blocking one of the same name without it.
//!
//! A run that is saved ([`Checkpoints`], [`Training::save_async`]) goes on from its file bit for bit ([`Trainer::resume`]);
//! [`Network::save_async`] and [`Network::load`] keep a network alone, and [`Weights`] are read from elsewhere.
//!
//! # Where things are
//!
//! | module | what it holds |
//! |---|---|
//! | the crate's root | networks, training, devices, errors: all that most programs need |
//! | [`data`] | data sets, mini-batches, tables (CSV) and what prepares them, IDX files (MNIST), built-in digits |
//! | [`plan`] | the step of a mini-batch recorded as data, and the limits that the planner keeps to |
//! | [`export`] | a trained network as a Rust module, a WGSL function or ONNX |
//! | [`kernel`] | the table of kernels: what shaders, CPU functions and plans are held to |
//! | [`verify`] | checks that anyone can run: every kernel, or two devices side by side, against `f64` |
//! | `plot` | charts as SVG and PNG, with the feature of that name |
//! | `progress` | a progress bar, with the feature of that name |
//! | [`reference`](mod@reference) | the algorithm of the notes in `f64`, one example at a time |
//! | [`real`] | the arithmetic that the CPU kernels are written in |
//!
//! Names are those of the usual notes on backpropagation: `w`, `b`, weighted input `z`, activation `a`, error `delta`,
//! learning rate `eta`; equations are cited by their numbers there, (1) to (7) and BP1 to BP4.
//!
//! # Features
//!
//! | feature | default | what it adds |
//! |---|---|---|
//! | `gpu` | yes | the GPU backend through wgpu, which is re-exported |
//! | `blocking` | yes | blocking forms of whatever waits; never on wasm32 |
//! | `plot` | no | charts of a run, as SVG and PNG; not on wasm32 |
//! | `progress` | no | a progress bar; not on wasm32 |
//! | `onnx` | no | networks to ONNX and from it |

#![warn(missing_docs, unreachable_pub)]
#![warn(clippy::cast_possible_truncation, clippy::float_cmp, clippy::missing_errors_doc, clippy::missing_panics_doc)]
#![warn(clippy::print_stderr, clippy::print_stdout, clippy::unwrap_used)]

mod activation;
mod backend;
#[cfg(not(target_arch = "wasm32"))]
mod blocking;
mod checkpoint;
mod cost;
mod cpu;
pub mod data;
mod device;
mod error;
pub mod export;
mod feed;
#[cfg(feature = "gpu")]
mod gpu;
mod init;
pub mod kernel;
mod layer;
mod metrics;
mod network;
mod optimizer;
pub mod plan;
#[cfg(feature = "plot")]
pub mod plot;
mod population;
mod problems;
#[cfg(feature = "progress")]
pub mod progress;
mod random;
pub mod real;
pub mod reference;
mod regularization;
mod resident;
mod rows;
mod scores;
mod session;
mod stopwatch;
mod stream;
mod train;
pub mod verify;

pub use activation::Activation;
pub use backend::Counters;
pub use checkpoint::{Checkpoints, Weights};
pub use cost::Cost;
pub use data::{Batches, Dataset, Inputs, Predictions, Preparation, Table, Targets};
#[cfg(feature = "gpu")]
pub use device::AdapterSummary;
pub use device::Device;
pub use error::{Error, Place, Result};
pub use init::Init;
pub use layer::Layer;
pub use metrics::{Confusion, Evaluation, Metrics, OutputErrors};
pub use network::{Gradients, Network, NetworkBuilder};
pub use optimizer::{Adam, AdamW, Momentum, Nesterov, Optimizer, RmsProp, Sgd};
pub use population::{Population, PopulationReport};
pub use regularization::Regularization;
pub use train::{
    EarlyStopping, EpochReport, Event, History, Metric, Moment, Plateau, Recovery, Schedule, Slowed, Span, Stepped,
    StopReason, Trainer, Training, Watch,
};
#[cfg(feature = "gpu")]
pub use wgpu;

/// Compiles and runs the example in the README.
#[cfg(all(doctest, feature = "blocking"))]
#[doc = include_str!("../README.md")]
struct Readme;
