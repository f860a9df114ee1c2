//! One wgpu device with its queue, its pipelines, and what is known of its health.

use std::collections::HashMap;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context as TaskContext, Poll, Waker};

use super::adapter::{describe, is_software};
use super::pipeline::Pipeline;
use crate::error::{Error, Result};
use crate::kernel::{Kernel, Tiling};
use crate::plan::Limits;

/// Loop iterations that an invocation may take on a software adapter: Mesa's llvmpipe silently ends all loops of an
/// invocation after 65,535.
const SOFTWARE_ITERATIONS: u64 = 30_000;

/// Invocations of the persistent kernel's workgroup: on a GPU enough to hide its memory's latency; on a software adapter, where
/// a workgroup is one thread, few, so that a barrier costs little.
const LANES: u32 = 256;
const SOFTWARE_LANES: u32 = 64;

/// Multiplications up to which the persistent plan is chosen on a GPU: one of its multiprocessors does some 10^11 a second, so a
/// step of three such products takes about ten microseconds, as long as the dispatches of the fused plan. An estimate.
const PERSISTENT_UP_TO: u64 = 400_000;

/// Bytes of buffer writes that may wait for the next submission. Networks that are built or loaded but never run would hold on
/// to all that was ever written otherwise.
const MOST_WRITTEN: u64 = 16 << 20;

/// What a pipeline is made from: its kernel and tiling, what its shader is specialised with, and whether it keeps the checks.
type Key = (Kernel, Tiling, Vec<(&'static str, u32)>, bool);

/// What several engines on one device share.
pub(crate) struct Context {
    pub(crate) device: wgpu::Device,
    pub(crate) queue: wgpu::Queue,
    pub(crate) info: wgpu::AdapterInfo,
    /// Whether shaders keep wgpu's run-time checks, even where the crate makes plans and indices itself.
    pub(crate) checked: bool,
    pipelines: Mutex<HashMap<Key, Arc<Pipeline>>>,
    health: Arc<Health>,
    /// Bytes of buffer writes that wait for the next submission; wgpu keeps each in memory of its own until then.
    written: AtomicU64,
    /// Submissions of ours that are done.
    finished: Arc<AtomicU64>,
}

/// What the device reported from outside any call of ours. Only devices made here report it: on an application's device no
/// handler is installed.
#[derive(Default)]
struct Health {
    lost: Mutex<Option<String>>,
    first_error: Mutex<Option<String>>,
}

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context").field("adapter", &describe(&self.info)).finish_non_exhaustive()
    }
}

/// A lock whose holder panicked still guards whole values here: every write is one assignment.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Context {
    /// Asks the adapter for a device of our own, with all that the adapter allows.
    pub(crate) async fn own(adapter: &wgpu::Adapter) -> Result<Self> {
        let info = adapter.get_info();
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("wgrad"),
            required_limits: adapter.limits(),
            memory_hints: wgpu::MemoryHints::Performance,
            ..Default::default()
        };
        let (device, queue) = adapter
            .request_device(&descriptor)
            .await
            .map_err(|error| Error::Device { adapter: describe(&info), problem: error.to_string() })?;
        let context = Self::shared(device, queue, info);
        // Both callbacks may run on any thread with locks of wgpu held: they only note what happened.
        let health = Arc::clone(&context.health);
        context.device.set_device_lost_callback(move |reason, message| {
            lock(&health.lost).get_or_insert(format!("{reason:?}: {message}"));
        });
        let health = Arc::clone(&context.health);
        context.device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| {
            lock(&health.first_error).get_or_insert(error.to_string());
        }));
        Ok(context)
    }

    /// Takes a device that belongs to an application, and changes nothing about it.
    pub(crate) fn shared(device: wgpu::Device, queue: wgpu::Queue, info: wgpu::AdapterInfo) -> Self {
        Self {
            device,
            queue,
            info,
            checked: std::env::var("WGRAD_CHECKED").is_ok_and(|v| v == "1"),
            pipelines: Mutex::default(),
            health: Arc::default(),
            written: AtomicU64::new(0),
            finished: Arc::default(),
        }
    }

    /// Hands commands to the queue, or only the buffer writes that wait for the next submission.
    pub(crate) fn submit(&self, commands: Option<wgpu::CommandBuffer>) {
        self.written.store(0, Ordering::Relaxed);
        self.queue.submit(commands);
        let finished = Arc::clone(&self.finished);
        self.queue.on_submitted_work_done(move || {
            finished.fetch_add(1, Ordering::Relaxed);
        });
    }

    /// How many submissions of ours are done: by this a wait sees that the device goes on.
    pub(crate) fn finished(&self) -> u64 {
        self.finished.load(Ordering::Relaxed)
    }

    /// Writes into a buffer, in place for every later submission.
    pub(crate) fn write(&self, buffer: &wgpu::Buffer, offset: u64, bytes: &[u8]) {
        self.queue.write_buffer(buffer, offset, bytes);
        let more = bytes.len() as u64;
        if self.written.fetch_add(more, Ordering::Relaxed).saturating_add(more) > MOST_WRITTEN {
            self.submit(None);
        }
    }

    pub(crate) fn describe(&self) -> String {
        describe(&self.info)
    }

    /// What the planner has to keep to on this device.
    pub(crate) fn limits(&self) -> Limits {
        let limits = self.device.limits();
        let lanes = limits.max_compute_invocations_per_workgroup.min(limits.max_compute_workgroup_size_x);
        Limits {
            max_groups: limits.max_compute_workgroups_per_dimension,
            max_binding_bytes: limits.max_storage_buffer_binding_size.min(limits.max_buffer_size),
            max_iterations: if is_software(&self.info) { SOFTWARE_ITERATIONS } else { u64::MAX },
            tiling: if is_software(&self.info) { Tiling::Registers } else { Tiling::GPU },
            persistent_up_to: if is_software(&self.info) { 0 } else { PERSISTENT_UP_TO },
            lanes: lanes.min(if is_software(&self.info) { SOFTWARE_LANES } else { LANES }),
        }
    }

    /// The kernel's pipeline, made at its first use and shared from then on.
    pub(crate) fn pipeline(
        &self,
        kernel: Kernel,
        tiling: Tiling,
        constants: Vec<(&'static str, u32)>,
        checked: bool,
    ) -> Result<Arc<Pipeline>> {
        let key = (kernel, tiling, constants, checked);
        if let Some(pipeline) = lock(&self.pipelines).get(&key) {
            return Ok(Arc::clone(pipeline));
        }
        let (need, have) = (kernel.info().bindings.len(), self.device.limits().max_storage_buffers_per_shader_stage);
        if need as u64 > u64::from(have) {
            return Err(Error::Limit {
                what: format!("kernel {}", kernel.name()),
                limit: "max_storage_buffers_per_shader_stage",
                need: need as u64,
                have: have.into(),
                advice: "ask the adapter for a device with 8, as WebGPU promises, or use the CPU backend",
            });
        }
        let label = format!("the pipeline of kernel {}", kernel.name());
        let make = || Pipeline::new(&self.device, kernel, tiling, &key.2, checked);
        let pipeline = Arc::new(self.scope(&label, 0, make)?);
        lock(&self.pipelines).insert(key, Arc::clone(&pipeline));
        Ok(pipeline)
    }

    /// Fails if the device was lost, or reported an error that no scope of ours caught.
    pub(crate) fn healthy(&self) -> Result<()> {
        if let Some(reason) = lock(&self.health.lost).clone() {
            return Err(Error::DeviceLost { reason });
        }
        if let Some(message) = lock(&self.health.first_error).take() {
            return Err(Error::Gpu { during: "earlier work".to_owned(), message });
        }
        Ok(())
    }

    /// Runs `work` and turns what wgpu reports about it into an error. `bytes` is what it allocates, for the message.
    pub(crate) fn scope<T>(&self, during: &str, bytes: u64, work: impl FnOnce() -> T) -> Result<T> {
        let memory = self.device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let validation = self.device.push_error_scope(wgpu::ErrorFilter::Validation);
        let internal = self.device.push_error_scope(wgpu::ErrorFilter::Internal);
        let result = work();
        // All three are popped, in reverse, before any is looked at: a scope left open would swallow later errors.
        let reports = [internal, validation, memory].map(|scope| at_once(scope.pop()));
        self.healthy()?;
        match reports.into_iter().flatten().next() {
            None => Ok(result),
            Some(wgpu::Error::OutOfMemory { .. }) => Err(Error::OutOfMemory { what: during.to_owned(), bytes }),
            Some(other) => Err(Error::Gpu { during: during.to_owned(), message: other.to_string() }),
        }
    }
}

/// The value of a future that is ready at once, as an error scope is natively. In a browser the report comes later: there, an
/// invalid object shows as a failed readback.
fn at_once(future: impl Future<Output = Option<wgpu::Error>>) -> Option<wgpu::Error> {
    let mut future = std::pin::pin!(future);
    match future.as_mut().poll(&mut TaskContext::from_waker(Waker::noop())) {
        Poll::Ready(report) => report,
        Poll::Pending => None,
    }
}
