//! One kernel on a device again and again, for benchmarks.

use super::case::Case;
use crate::Device;
use crate::backend::{Engine, Prepared};
use crate::error::Result;

/// A [`Case`] with its buffers on a device, to be run as often as one likes: how long a kernel takes.
#[derive(Debug)]
pub struct CaseRunner {
    case: Case,
    engine: Engine,
    prepared: Prepared,
}

impl CaseRunner {
    /// Puts the case's buffers on the device, and makes the kernel's pipeline there.
    ///
    /// # Errors
    /// What the device reports.
    ///
    /// ```
    /// use wgrad::verify::{Case, CaseRunner, Fill};
    /// use wgrad::Device;
    /// use wgrad::kernel::Kernel;
    /// let case = Case::new(Kernel::MatmulNt, [10, 784, 30], Fill::Ordinary, 0, 1);
    /// let mut runner = CaseRunner::new(&Device::cpu(), &case)?;
    /// # #[cfg(feature = "blocking")]
    /// runner.run(3)?;
    /// # Ok::<(), wgrad::Error>(())
    /// ```
    pub fn new(device: &Device, case: &Case) -> Result<Self> {
        let mut engine = device.engine();
        let plan = case.plan();
        let slots = plan.buffers.iter().map(|spec| engine.alloc(spec)).collect::<Result<Vec<_>>>()?;
        let prepared = engine.prepare(plan, slots)?;
        let mut runner = Self { case: case.clone(), engine, prepared };
        runner.reset()?;
        Ok(runner)
    }

    /// Writes into the buffers what they held at first. A kernel that moves a counter on has to be reset before it runs again.
    ///
    /// # Errors
    /// What the device reports.
    pub fn reset(&mut self) -> Result<()> {
        for ((_, _, words), &slot) in self.case.buffers.iter().zip(&self.prepared.slots) {
            self.engine.write(slot, 0, words)?;
        }
        Ok(())
    }

    /// Runs the kernel so many times over in one submission, and waits for it.
    ///
    /// # Errors
    /// What the device reports.
    pub async fn run_async(&mut self, times: usize) -> Result<()> {
        self.engine.run(&self.prepared, std::iter::once((0..1, times)))?;
        self.engine.done().await.map(drop)
    }

    /// Blocking form of [`run_async`](Self::run_async).
    ///
    /// # Errors
    /// As there.
    #[cfg(all(feature = "blocking", not(target_arch = "wasm32")))]
    pub fn run(&mut self, times: usize) -> Result<()> {
        crate::blocking::block_on(self.run_async(times))
    }
}
