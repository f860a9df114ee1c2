//! The buffers of one network on a GPU, and the recording of steps into submissions.

use std::future::Future;
use std::num::NonZeroU64;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::context::Context;
use super::pipeline::{Pipeline, UNIFORM_BYTES};
use super::wait::{Readback, submitted_work};
use crate::backend::{Prepared, Slot};
use crate::error::{Error, Result};
use crate::kernel::Params;
use crate::plan::{BufferId, BufferSpec, Limits, Plan, Step};

/// Threads that compile at once: a driver's compiler needs memory too.
#[cfg(not(target_arch = "wasm32"))]
const MOST_COMPILERS: usize = 8;

/// Words of one write: wgpu copies what is written into memory that it has to find besides, and frees that with the submission. Where
/// there is none it gives the device up as lost, while a buffer for which there is none is but an error.
const MOST_AT_ONCE: usize = 4 << 20;

/// The GPU backend of one network.
#[derive(Debug)]
pub(crate) struct Engine {
    context: Arc<Context>,
    buffers: Vec<Option<wgpu::Buffer>>,
    limits: Limits,
    /// Whether shaders keep wgpu's run-time checks.
    checked: bool,
}

/// What a plan needs on the GPU: everything a step sets, made once.
#[derive(Debug)]
pub(crate) struct Recorded {
    steps: Vec<RecordedStep>,
}

#[derive(Debug)]
struct RecordedStep {
    pipeline: Arc<Pipeline>,
    /// One, but where a grid takes several dispatches.
    dispatches: Vec<(wgpu::BindGroup, [u32; 2])>,
}

impl Engine {
    /// `limits` are at most those of the context; tests lower them.
    pub(crate) fn new(context: Arc<Context>, limits: Limits) -> Self {
        let checked = context.checked;
        Self { context, buffers: Vec::new(), limits, checked }
    }

    /// As [`new`](Self::new), with wgpu's run-time checks in every shader.
    pub(crate) fn checked(context: Arc<Context>, limits: Limits) -> Self {
        Self { checked: true, ..Self::new(context, limits) }
    }

    /// Makes the pipelines of these steps, on as many threads as there are cores: compiling is most of what a first step takes.
    pub(crate) fn warm(&self, steps: &[(&Step, Limits)]) -> Result<()> {
        let mut keys: Vec<_> = Vec::new();
        for (step, limits) in steps {
            let key = (step.kernel, limits.tiling, step.kernel.constants(&step.params, limits.tiling, limits.lanes));
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
        let next = AtomicUsize::new(0);
        let make = || {
            while let Some((kernel, tiling, constants)) = keys.get(next.fetch_add(1, Ordering::Relaxed)) {
                self.context.pipeline(*kernel, *tiling, constants.clone(), self.checked)?;
            }
            Ok(())
        };
        #[cfg(target_arch = "wasm32")]
        return make();
        #[cfg(not(target_arch = "wasm32"))]
        std::thread::scope(|scope| {
            let cores = std::thread::available_parallelism().map_or(1, usize::from).min(MOST_COMPILERS);
            let thread = || std::thread::Builder::new().spawn_scoped(scope, make).ok();
            let others: Vec<_> = (1..cores).map_while(|_| thread()).collect();
            let own = make();
            // A thread that panicked has made no pipelines: they are made when they are needed, and the panic shows there.
            others.into_iter().filter_map(|thread| thread.join().ok()).fold(own, |all, one| all.and(one))
        })
    }

    pub(crate) fn alloc(&mut self, spec: &BufferSpec) -> Result<Slot> {
        let size = (spec.len.max(1) as u64).saturating_mul(4);
        let limit = self.limits.max_binding_bytes;
        if size > limit {
            return Err(Error::Limit {
                what: format!("buffer {} of {} elements", spec.name, spec.len),
                limit: "max_storage_buffer_binding_size, in bytes",
                need: size,
                have: limit,
                advice: spec.advice(),
            });
        }
        let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::COPY_SRC;
        let descriptor = wgpu::BufferDescriptor { label: Some(&spec.name), size, usage, mapped_at_creation: false };
        let what = format!("buffer {}", spec.name);
        let buffer = self.context.scope(&what, size, || self.context.create_buffer(&descriptor))?;
        let free = self.buffers.iter().position(Option::is_none);
        Ok(Slot::whole(if let Some(free) = free {
            self.buffers[free] = Some(buffer);
            free
        } else {
            self.buffers.push(Some(buffer));
            self.buffers.len() - 1
        }))
    }

    pub(crate) fn release(&mut self, slot: Slot) {
        self.buffers[slot.buffer] = None;
    }

    /// Hands over the writes that wait, which keep buffers alive that were released; a submission also frees what is done with.
    pub(crate) fn reclaim(&self) -> Result<()> {
        self.context.scope("a submission", 0, || self.context.submit(None))
    }

    /// Buffers that there are.
    #[cfg(test)]
    pub(crate) fn live(&self) -> usize {
        self.buffers.iter().flatten().count()
    }

    fn buffer(&self, slot: Slot) -> Result<&wgpu::Buffer> {
        let gone = || Error::Gpu { during: "buffer lookup".to_owned(), message: "released".to_owned() };
        self.buffers.get(slot.buffer).and_then(Option::as_ref).ok_or_else(gone)
    }

    pub(crate) fn write(&mut self, slot: Slot, offset: usize, words: &[u32]) -> Result<()> {
        let buffer = self.buffer(slot)?;
        let first = (slot.start + offset) as u64 * 4;
        for (part, words) in (0..).zip(words.chunks(MOST_AT_ONCE)) {
            let (at, bytes) = (first + part * 4 * MOST_AT_ONCE as u64, bytemuck::cast_slice(words));
            self.context.scope("a buffer write", bytes.len() as u64, || self.context.write(buffer, at, bytes))?;
        }
        Ok(())
    }

    pub(crate) fn prepare(&mut self, plan: Plan, slots: Vec<Slot>) -> Result<Prepared> {
        let mut steps = Vec::with_capacity(plan.steps.len());
        for step in &plan.steps {
            // A plan of a caller may be for another device.
            self.limits.allow(step.kernel)?;
            let constants = step.kernel.constants(&step.params, self.limits.tiling, self.limits.lanes);
            let pipeline = self.context.pipeline(step.kernel, self.limits.tiling, constants, self.checked)?;
            let grids = self.limits.grids(step.kernel, step.kernel.groups(&step.params, self.limits.tiling))?;
            let bound = |id: &BufferId| {
                let (spec, slot) = (&plan.buffers[id.0], slots[id.0]);
                let buffer = self.buffer(slot)?;
                if spec.part_of.is_none() {
                    return Ok(buffer.as_entire_binding());
                }
                let (offset, size) = (slot.start as u64 * 4, NonZeroU64::new(spec.len as u64 * 4));
                Ok(wgpu::BindingResource::Buffer(wgpu::BufferBinding { buffer, offset, size }))
            };
            let buffers = step.bindings.iter().map(bound).collect::<Result<Vec<_>>>()?;
            let bind_group = |first: u32| {
                let device = &self.context.device;
                let uniform = self.context.create_buffer(&wgpu::BufferDescriptor {
                    label: Some(&step.label),
                    size: UNIFORM_BYTES,
                    usage: wgpu::BufferUsages::UNIFORM,
                    mapped_at_creation: true,
                });
                let mut words = Params { first, ..step.params }.words().to_vec();
                words.resize(words.len().next_multiple_of(4), 0);
                if let Ok(mut view) = uniform.slice(..).get_mapped_range_mut() {
                    view.copy_from_slice(bytemuck::cast_slice(&words));
                }
                uniform.unmap();
                let entries: Vec<_> = (0..)
                    .zip(std::iter::once(uniform.as_entire_binding()).chain(buffers.iter().cloned()))
                    .map(|(binding, resource)| wgpu::BindGroupEntry { binding, resource })
                    .collect();
                device.create_bind_group(&wgpu::BindGroupDescriptor {
                    label: Some(&step.label),
                    layout: &pipeline.layout,
                    entries: &entries,
                })
            };
            let bytes = UNIFORM_BYTES * grids.len() as u64;
            let dispatches = self
                .context
                .scope(&step.label, bytes, || grids.iter().map(|grid| (bind_group(grid.first), grid.size)).collect())?;
            steps.push(RecordedStep { pipeline, dispatches });
        }
        Ok(Prepared { gpu: Some(Recorded { steps }), ..Prepared::new(plan, slots) })
    }

    /// One pass, one submission: for each part the steps of its range in order, so many times over.
    pub(crate) fn run(
        &mut self,
        prepared: &Prepared,
        parts: impl Iterator<Item = (Range<usize>, usize)>,
    ) -> Result<()> {
        let Some(recorded) = &prepared.gpu else {
            return Err(Error::Gpu {
                during: "run".to_owned(),
                message: "the plan was prepared for another backend".to_owned(),
            });
        };
        let context = &self.context;
        context.scope("a submission", 0, || {
            let mut encoder = context.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
            {
                let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
                for (range, times) in parts {
                    for _ in 0..times {
                        for step in &recorded.steps[range.clone()] {
                            pass.set_pipeline(&step.pipeline.pipeline);
                            for (bind_group, [x, y]) in &step.dispatches {
                                pass.set_bind_group(0, bind_group, &[]);
                                pass.dispatch_workgroups(*x, *y, 1);
                            }
                        }
                    }
                }
            }
            context.submit(Some(encoder.finish()));
        })
    }

    /// Copies part of a buffer out and asks for the copy.
    pub(crate) fn read(&mut self, slot: Slot, offset: usize, len: usize) -> Result<Readback> {
        let buffer = self.buffer(slot)?;
        let size = (len * 4) as u64;
        let staging = self.context.scope("a readback", size, || {
            let device = &self.context.device;
            let staging = self.context.create_buffer(&wgpu::BufferDescriptor {
                label: Some("readback"),
                size,
                usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
                mapped_at_creation: false,
            });
            let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
            encoder.copy_buffer_to_buffer(buffer, ((slot.start + offset) * 4) as u64, &staging, 0, Some(size));
            self.context.submit(Some(encoder.finish()));
            staging
        })?;
        Readback::new(Arc::clone(&self.context), staging)
    }

    /// Ready when everything submitted so far is done; says how long after this call that was.
    pub(crate) fn done(&mut self) -> Result<impl Future<Output = Result<Duration>> + use<>> {
        self.context.healthy()?;
        Ok(submitted_work(Arc::clone(&self.context)))
    }
}
