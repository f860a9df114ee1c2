//! Every kernel on a device against the reference.

use serde::Serialize;

use super::case::{Case, Fill, Shape};
use super::compare::Worst;
use crate::Device;
use crate::error::{Error, Result};
use crate::kernel::{Kernel, Params};
use crate::plan::Limits;

/// How one kernel did.
#[derive(Debug, Clone, Serialize)]
pub struct KernelCheck {
    /// The kernel.
    #[serde(serialize_with = "by_name")]
    pub kernel: Kernel,
    /// Cases run.
    pub cases: usize,
    /// The worst element of all of them.
    pub worst: Worst,
    /// The case and the buffer that it was in.
    pub place: String,
    /// What was wrong beyond numbers: a write where the kernel must not.
    pub problem: Option<String>,
    /// Why it was left out: the limit of the device that it is past. No plan uses it there.
    pub left_out: Option<String>,
}

impl KernelCheck {
    /// Of no case yet; of none at all where these limits do not allow the kernel.
    pub(super) fn new(kernel: Kernel, limits: &Limits) -> Self {
        let left_out = limits.allow(kernel).err().map(|error| error.to_string());
        Self { kernel, cases: 0, worst: Worst::NOTHING, place: String::new(), problem: None, left_out }
    }

    /// Takes the result of a case in.
    pub(super) fn take(&mut self, case: &Case, found: Vec<(&'static str, Worst)>) {
        self.cases += 1;
        for (buffer, worst) in found {
            if self.worst.elements == 0 || worst.ratio > self.worst.ratio {
                self.place = format!("{}, buffer {buffer}", case.step.label);
            }
            self.worst.merge(&worst);
        }
    }

    /// Whether there was a case, every element was within its bound, and nothing else was written; or the device does not allow the
    /// kernel at all.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.left_out.is_some() || self.cases > 0 && self.problem.is_none() && self.worst.passed()
    }
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "what serde calls")]
fn by_name<S: serde::Serializer>(kernel: &Kernel, serializer: S) -> std::result::Result<S::Ok, S::Error> {
    serializer.serialize_str(kernel.name())
}

/// How the kernels of a device did.
#[derive(Debug, Clone, Serialize)]
pub struct KernelChecks {
    /// The device, in words.
    pub adapter: String,
    /// Every kernel.
    pub kernels: Vec<KernelCheck>,
}

impl KernelChecks {
    /// Cases run, of all kernels.
    #[must_use]
    pub fn cases(&self) -> usize {
        self.kernels.iter().map(|k| k.cases).sum()
    }

    /// Whether every kernel that the device allows was checked, and none was past its bound.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.cases() > 0 && self.kernels.len() == Kernel::ALL.len() && self.kernels.iter().all(KernelCheck::passed)
    }
}

impl std::fmt::Display for KernelChecks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{:<18} {:>6} {:>10}  worst error, 1 = its bound", "kernel", "cases", "elements")?;
        for check in &self.kernels {
            let verdict = if check.passed() { "" } else { "  FAILED" };
            let (name, Worst { elements, ratio, .. }) = (check.kernel.name(), &check.worst);
            if let Some(why) = &check.left_out {
                writeln!(f, "{name:<18} left out: {why}")?;
                continue;
            }
            writeln!(f, "{name:<18} {:>6} {elements:>10}  {ratio:.4}{verdict}", check.cases)?;
        }
        Ok(())
    }
}

/// Runs every kernel on the device in all its variants on these shapes, with ordinary and with extreme numbers, and compares
/// each result with the `f64` reference. Outputs start as garbage, guard words stand after each buffer, and inputs have to stay
/// as they were. A kernel that the device's limits do not allow is [left out](KernelCheck::left_out).
///
/// # Errors
/// [`Error::InvalidOption`] for a shape of other sizes than 1 to 65,536, or whose largest array has more than 2^24 elements; what
/// the device reports; and [`Error::Disagreement`] for a kernel that writes where it must not. A result past its bound is
/// no error here: it is in the report, which has [`KernelChecks::passed`].
pub async fn check_kernels_async(device: &Device, shapes: &[Shape], seed: u64) -> Result<KernelChecks> {
    let mut kernels = Vec::with_capacity(Kernel::ALL.len());
    for &kernel in Kernel::ALL {
        kernels.push(check_kernel_async(device, kernel, shapes, seed).await?);
    }
    Ok(KernelChecks { adapter: device.adapter(), kernels })
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
    let mut check = KernelCheck::new(kernel, &device.limits());
    if check.left_out.is_some() {
        return Ok(check);
    }
    for &shape in shapes {
        for fill in [Fill::Ordinary, Fill::Extreme] {
            for variant in 0..Case::variants(kernel) {
                let case = Case::new(kernel, shape, fill, variant, seed);
                let found = case.check(&mut engine).await.map_err(|error| on(device, shape, error))?;
                check.take(&case, found);
            }
        }
    }
    Ok(check)
}

/// As [`check_kernels_async`], one case, such as a report names.
///
/// # Errors
/// What the device reports; [`Error::Disagreement`] where the kernel writes what it must not.
pub async fn check_case_async(device: &Device, case: &Case) -> Result<KernelCheck> {
    let mut check = KernelCheck::new(case.kernel(), &device.limits());
    if check.left_out.is_none() {
        let Params { rows, inputs, outputs, .. } = *case.params();
        let found = case.check(&mut device.engine()).await;
        check.take(case, found.map_err(|error| on(device, [rows, inputs, outputs], error))?);
    }
    Ok(check)
}

/// A disagreement with where it was seen.
fn on(device: &Device, shape: Shape, error: Error) -> Error {
    match error {
        Error::Disagreement(what) => Error::Disagreement(format!("{device}, shape {shape:?}: {what}")),
        other => other,
    }
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
pub fn check_kernels(device: &Device, shapes: &[Shape], seed: u64) -> Result<KernelChecks> {
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

/// Blocking form of [`check_case_async`].
///
/// # Errors
/// As there.
///
/// ```
/// use wgrad::kernel::Kernel;
/// use wgrad::verify::{Case, Fill, check_case};
/// let case = Case::new(Kernel::DenseForward, [9, 17, 8], Fill::Extreme, 3, 1);
/// let check = check_case(&wgrad::Device::cpu(), &case)?;
/// assert!(check.passed(), "{}", check.worst);
/// # Ok::<(), wgrad::Error>(())
/// ```
#[cfg(all(feature = "blocking", not(target_arch = "wasm32")))]
pub fn check_case(device: &Device, case: &Case) -> Result<KernelCheck> {
    crate::blocking::block_on(check_case_async(device, case))
}
