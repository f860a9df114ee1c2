//! Runs a plan on a GPU through wgpu: adapter choice, buffers, pipelines, recording, readback.

mod adapter;
mod context;
mod engine;
pub(crate) mod fault;
mod limits;
mod pipeline;
mod wait;

pub(crate) use adapter::{Adapters, is_software};
pub(crate) use context::Context;
pub(crate) use engine::{Engine, Recorded};
pub(crate) use limits::asked;
pub(crate) use wait::{Readback, pause};
