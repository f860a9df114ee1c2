//! What a device allows a plan.

use crate::error::{Error, Result};
use crate::kernel::{Kernel, Tiling};

/// What the planner has to keep to. The default is what WebGPU promises of every device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Workgroups in one dimension of a dispatch.
    pub max_groups: u32,
    /// Buffers that one kernel may see.
    pub max_storage_buffers: u32,
    /// Bytes of memory that a workgroup may have.
    pub max_workgroup_bytes: u32,
    /// Bytes of one buffer as a kernel sees it.
    pub max_binding_bytes: u64,
    /// Bytes of a data set, inputs and targets, that may lie on the device at a time; one that has more is streamed.
    pub max_data_bytes: u64,
    /// Loop iterations of one invocation. Some software drivers stop loops silently beyond a count.
    pub max_iterations: u64,
    /// Which shader of a matrix kernel runs.
    pub tiling: Tiling,
    /// Invocations of the persistent kernel's workgroup.
    pub lanes: u32,
    /// Up to how many multiplications of a forward pass (rows of the mini-batch times weights) one workgroup trains faster than
    /// many dispatches; 0 where it never does.
    pub persistent_up_to: u64,
    /// Up to how many weights of the last layer its forward pass and its error are faster in one kernel than in two; 0 where they never
    /// are.
    pub output_layer_up_to: u64,
}

impl Default for Limits {
    fn default() -> Self {
        let (max_storage_buffers, max_workgroup_bytes) = (8, 16 << 10);
        Self {
            max_groups: 65_535,
            max_storage_buffers,
            max_workgroup_bytes,
            max_binding_bytes: 128 << 20,
            ..Self::HOST
        }
    }
}

impl Limits {
    /// No limits but those of 32-bit sizes: for backends in the host's memory.
    pub const HOST: Self = Self {
        max_groups: u32::MAX,
        max_storage_buffers: u32::MAX,
        max_workgroup_bytes: u32::MAX,
        max_binding_bytes: u64::MAX,
        max_data_bytes: u64::MAX,
        max_iterations: u64::MAX,
        tiling: Tiling::GPU,
        lanes: 64,
        persistent_up_to: 0,
        output_layer_up_to: 0,
    };

    /// Bytes of the longest buffer: its elements have 32-bit numbers.
    pub(crate) fn binding(&self) -> u64 {
        self.max_binding_bytes.min(u32::MAX.into())
    }

    /// The dispatches of a step of `groups` workgroups: one, folded into y where one dimension is too short, or several where two are.
    ///
    /// # Errors
    /// [`Error::Limit`] if there would have to be more than 4,096 of them.
    pub fn grids(&self, kernel: Kernel, groups: u64) -> Result<Vec<Grid>> {
        let max = u64::from(self.max_groups);
        let each = max.saturating_mul(max);
        let count = groups.div_ceil(each.max(1)).max(1);
        // The number of a workgroup has 32 bits.
        let most = each.saturating_mul(MOST_GRIDS).min(u32::MAX.into()).max(each);
        let too_many = || Error::Limit {
            what: format!("kernel {}", kernel.name()),
            limit: "max_compute_workgroups_per_dimension, squared and in 4096 dispatches",
            need: groups,
            have: most,
            advice: "use a smaller batch or layer, or the CPU backend",
        };
        if groups > most {
            return Err(too_many());
        }
        let grid = |first: u64| {
            // Only the last may have a few workgroups too many, since kernels leave out what is past their end alone.
            let groups = (groups - first).min(each);
            let y = groups.div_ceil(max.max(1));
            let x = groups.div_ceil(y.max(1));
            let word = |n: u64| u32::try_from(n).map_err(|_| too_many());
            Ok(Grid { first: word(first)?, size: [word(x)?, word(y)?] })
        };
        (0..count).map(|part| grid(part * each)).collect()
    }

    /// Refuses a kernel that binds more buffers, or has more workgroup memory, than there is.
    pub(crate) fn allow(&self, kernel: Kernel) -> Result<()> {
        let buffers = "max_storage_buffers_per_shader_stage";
        let memory = "max_compute_workgroup_storage_size, in bytes";
        let bound = u32::try_from(kernel.info().bindings.len()).unwrap_or(u32::MAX);
        for (limit, need, have, advice) in [
            (
                buffers,
                bound,
                self.max_storage_buffers,
                "ask the adapter for a device with more, or use the CPU backend",
            ),
            (
                memory,
                kernel.workgroup_bytes(self.tiling),
                self.max_workgroup_bytes,
                "take Tiling::Registers, as a device with so little does by itself, or the CPU backend",
            ),
        ] {
            if need > have {
                let (need, have) = (need.into(), have.into());
                return Err(Error::Limit { what: format!("kernel {}", kernel.name()), limit, need, have, advice });
            }
        }
        Ok(())
    }
}

/// One dispatch of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grid {
    /// Workgroups of the step that come before it.
    pub first: u32,
    /// Workgroups in x and y.
    pub size: [u32; 2],
}

/// Dispatches of one step: each has a few hundred bytes of its own.
const MOST_GRIDS: u64 = 4096;
