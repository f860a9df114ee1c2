//! Checks that anyone can run on their own machine: every kernel of this crate against an `f64` reference, and two backends
//! side by side.

mod case;
mod case_runner;
mod compare;
mod kernels;
mod lockstep;
mod maker;
mod selection;
mod self_check;
mod step;
mod tracked;

pub use case::{Case, Fill, Shape};
pub use case_runner::CaseRunner;
pub use compare::{Worst, bound, compare};
pub use kernels::{KernelCheck, KernelChecks, check_case_async, check_kernel_async, check_kernels_async};
pub use lockstep::{DeviceRunner, Lockstep, Runner, lockstep_async};
pub use self_check::{PlanCheck, SelfCheck};
#[cfg(feature = "gpu")]
pub use self_check::{check_with_shader_async, with_shader};
pub(crate) use step::{Off, StepCheck};
pub use tracked::Tracked;

#[cfg(all(feature = "blocking", not(target_arch = "wasm32")))]
pub use kernels::{check_case, check_kernel, check_kernels};
#[cfg(all(feature = "blocking", not(target_arch = "wasm32")))]
pub use lockstep::lockstep;
