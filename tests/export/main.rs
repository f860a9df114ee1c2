//! Networks taken elsewhere: what is exported compiles, runs, and computes what `predict` does.

#![cfg(feature = "blocking")]
#![allow(clippy::print_stdout, reason = "the largest differences are the result of these tests")]

#[path = "../common/mod.rs"]
mod common;

mod bound;
mod cases;
#[cfg(feature = "onnx")]
mod onnx;
mod rust;
mod tables;
#[cfg(feature = "gpu")]
mod wgsl;
