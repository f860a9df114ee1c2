//! Checks that anyone can run on their own machine: every kernel of this crate against an `f64` reference, and two backends
//! side by side.

mod case;
mod case_runner;
mod compare;
mod lockstep;
mod maker;
mod self_check;
mod tracked;

pub use case::{Case, Fill, Shape};
pub use case_runner::CaseRunner;
pub use compare::{Worst, bound, compare};
pub use lockstep::{DeviceRunner, Lockstep, Runner, lockstep_async};
pub use self_check::{KernelCheck, SelfCheck, check_kernel_async, check_kernels_async};
pub use tracked::Tracked;

#[cfg(all(feature = "blocking", not(target_arch = "wasm32")))]
pub use lockstep::lockstep;
#[cfg(all(feature = "blocking", not(target_arch = "wasm32")))]
pub use self_check::{check_kernel, check_kernels};
