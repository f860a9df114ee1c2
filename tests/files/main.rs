//! Files: each way in which one can be wrong is an error that names the file, and costs little memory.

mod csv;
mod idx;
mod make;
mod memory;
mod mnist;
mod multiple;
#[cfg(feature = "onnx")]
mod onnx;
mod random;
