//! Every kernel on a device against the reference.

use super::case::{Case, Fill, Shape};
use super::compare::Worst;
use crate::Device;
use crate::error::{Error, Result};
use crate::kernel::Kernel;

/// How one kernel did.
#[derive(Debug, Clone, Copy)]
pub struct KernelCheck {
    /// The kernel.
    pub kernel: Kernel,
    /// Cases run.
    pub cases: usize,
    /// The worst element of all of them.
    pub worst: Worst,
}

/// How a device did.
#[derive(Debug, Clone)]
pub struct SelfCheck {
    /// The device, in words.
    pub adapter: String,
    /// Every kernel.
    pub kernels: Vec<KernelCheck>,
}

impl SelfCheck {
    /// Cases run, of all kernels.
    #[must_use]
    pub fn cases(&self) -> usize {
        self.kernels.iter().map(|k| k.cases).sum()
    }

    /// Whether every kernel was checked, and none was past its bound.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.kernels.len() == Kernel::ALL.len() && self.kernels.iter().all(|k| k.cases > 0 && k.worst.passed())
    }
}

impl std::fmt::Display for SelfCheck {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{:<18} {:>6} {:>10}  worst error, 1 = its bound", "kernel", "cases", "elements")?;
        for check in &self.kernels {
            let verdict = if check.worst.passed() { "" } else { "  FAILED" };
            let (name, Worst { elements, ratio, .. }) = (check.kernel.name(), check.worst);
            writeln!(f, "{name:<18} {:>6} {elements:>10}  {ratio:.4}{verdict}", check.cases)?;
        }
        Ok(())
    }
}

/// Runs every kernel on the device in all its variants on these shapes, with ordinary and with extreme numbers, and compares
/// each result with the `f64` reference. Outputs start as garbage, guard words stand after each buffer, and inputs have to stay
/// as they were.
///
/// # Errors
/// [`Error::InvalidOption`] for a shape of other sizes than 1 to 65,536, or whose largest array has more than 2^24 elements; what
/// the device reports; and [`Error::Disagreement`] for a kernel that writes where it must not. A result past its bound is
/// no error here: it is in the report, which has [`SelfCheck::passed`].
pub async fn check_kernels_async(device: &Device, shapes: &[Shape], seed: u64) -> Result<SelfCheck> {
    let mut kernels = Vec::with_capacity(Kernel::ALL.len());
    for &kernel in Kernel::ALL {
        kernels.push(check_kernel_async(device, kernel, shapes, seed).await?);
    }
    Ok(SelfCheck { adapter: device.adapter(), kernels })
}

/// As [`check_kernels_async`], one kernel.
///
/// # Errors
/// As there.
pub async fn check_kernel_async(device: &Device, kernel: Kernel, shapes: &[Shape], seed: u64) -> Result<KernelCheck> {
    if let Some(shape) = shapes.iter().find(|shape| !Case::fits(**shape)) {
        let want = "of sizes from 1 to 65,536, and its arrays of at most 16,777,216 elements";
        return Err(Error::InvalidOption { option: "shape", value: format!("{shape:?}"), want });
    }
    let mut engine = device.engine();
    let mut check = KernelCheck { kernel, cases: 0, worst: Worst::default() };
    for &shape in shapes {
        for fill in [Fill::Ordinary, Fill::Extreme] {
            for variant in 0..Case::variants(kernel) {
                let case = Case::new(kernel, shape, fill, variant, seed);
                let worst = case.check(&mut engine).await.map_err(|error| match error {
                    Error::Disagreement(what) => Error::Disagreement(format!("{device}, shape {shape:?}: {what}")),
                    other => other,
                })?;
                check.cases += 1;
                check.worst.merge(&worst);
            }
        }
    }
    Ok(check)
}

/// Blocking form of [`check_kernels_async`].
///
/// # Errors
/// As there.
///
/// ```
/// use wgrad::{Device, verify};
/// let report = verify::check_kernels(&Device::cpu(), &[[3, 5, 2], [9, 17, 8]], 1)?;
/// assert!(report.passed(), "{report}");
/// # Ok::<(), wgrad::Error>(())
/// ```
#[cfg(all(feature = "blocking", not(target_arch = "wasm32")))]
pub fn check_kernels(device: &Device, shapes: &[Shape], seed: u64) -> Result<SelfCheck> {
    crate::blocking::block_on(check_kernels_async(device, shapes, seed))
}

/// Blocking form of [`check_kernel_async`].
///
/// # Errors
/// As there.
#[cfg(all(feature = "blocking", not(target_arch = "wasm32")))]
pub fn check_kernel(device: &Device, kernel: Kernel, shapes: &[Shape], seed: u64) -> Result<KernelCheck> {
    crate::blocking::block_on(check_kernel_async(device, kernel, shapes, seed))
}
