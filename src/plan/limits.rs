//! What a device allows a plan.

use crate::error::{Error, Result};
use crate::kernel::{Kernel, Tiling};

/// What the planner has to keep to. The default is what WebGPU promises of every device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Workgroups in one dimension of a dispatch.
    pub max_groups: u32,
    /// Bytes of one buffer as a kernel sees it.
    pub max_binding_bytes: u64,
    /// Loop iterations of one invocation. Some software drivers stop loops silently beyond a count.
    pub max_iterations: u64,
    /// Which shader of a matrix kernel runs.
    pub tiling: Tiling,
    /// Invocations of the persistent kernel's workgroup.
    pub lanes: u32,
    /// Up to how many multiplications of a forward pass (rows of the mini-batch times weights) one workgroup trains faster than
    /// many dispatches; 0 where it never does.
    pub persistent_up_to: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_groups: 65_535, max_binding_bytes: 128 << 20, ..Self::HOST }
    }
}

impl Limits {
    /// No limits but those of 32-bit sizes: for backends in the host's memory.
    pub const HOST: Self = Self {
        max_groups: u32::MAX,
        max_binding_bytes: u64::MAX,
        max_iterations: u64::MAX,
        tiling: Tiling::GPU,
        lanes: 64,
        persistent_up_to: 0,
    };

    /// The grid of a dispatch of `groups` workgroups, folded into y where one dimension is too short.
    ///
    /// # Errors
    /// [`Error::Limit`] if two dimensions are too short.
    pub fn grid(&self, kernel: Kernel, groups: u64) -> Result<[u32; 2]> {
        let max = u64::from(self.max_groups);
        let y = groups.div_ceil(max.max(1));
        let too_many = || Error::Limit {
            what: format!("kernel {}", kernel.name()),
            limit: "max_compute_workgroups_per_dimension, squared",
            need: groups,
            have: max.saturating_mul(max),
            advice: "use a smaller batch or layer",
        };
        if y > max {
            return Err(too_many());
        }
        let x = groups.div_ceil(y.max(1));
        Ok([u32::try_from(x).map_err(|_| too_many())?, u32::try_from(y).map_err(|_| too_many())?])
    }
}
