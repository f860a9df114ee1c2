//! One wgpu device with its queue, its pipelines, and what is known of its health.

use std::collections::HashMap;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context as TaskContext, Poll, Waker};

use super::adapter::{Adapters, describe, is_software};
use super::fault::{self, Op};
use super::pipeline::Pipeline;
use crate::error::{Error, Result};
use crate::kernel::{Kernel, MOST_WORKGROUP_BYTES, Tiling};
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

/// The environment variable that keeps the run-time checks in shaders.
const CHECKED: &str = "WGRAD_CHECKED";

/// What a pipeline is made from: its kernel and tiling, what its shader is specialised with, and whether it keeps the checks.
type Key = (Kernel, Tiling, Vec<(&'static str, u32)>, bool);

/// What several engines on one device share.
pub(crate) struct Context {
    pub(crate) device: wgpu::Device,
    pub(crate) queue: wgpu::Queue,
    pub(crate) info: wgpu::AdapterInfo,
    /// Whether shaders keep wgpu's run-time checks, even where the crate makes plans and indices itself.
    pub(crate) checked: bool,
    /// Whether the device was made here, and not by an application.
    pub(crate) is_own: bool,
    pipelines: Mutex<HashMap<Key, Arc<Pipeline>>>,
    /// Another text for one of the shader files: see [`with_shader`](Self::with_shader).
    other_text: Option<(&'static str, Arc<str>)>,
    health: Arc<Health>,
    /// Bytes of buffer writes that wait for the next submission; wgpu keeps each in memory of its own until then.
    written: AtomicU64,
    work: Arc<Work>,
    /// Last, so that no other field is the last to let go of the queue.
    _last: LastHandle,
}

/// Submissions of ours.
#[derive(Default)]
struct Work {
    submitted: AtomicU64,
    finished: AtomicU64,
}

/// A handle to the queue that goes after every other. Where a driver had no memory to end the commands of buffer writes, wgpu 30
/// panics as the queue goes (wgpu-hal 30.0.2, vulkan/command.rs:170): it takes them for commands that are still being written.
struct LastHandle(Option<wgpu::Queue>);

impl Drop for LastHandle {
    fn drop(&mut self) {
        // Everything that the queue has is dropped all the same, as a panic unwinds through it.
        let _ = caught(|| drop(self.0.take()));
    }
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

/// Whether the environment asks for the run-time checks.
fn checks_asked() -> Result<bool> {
    std::env::var_os(CHECKED).map_or(Ok(false), |word| means_checked(&word.to_string_lossy()))
}

/// Whether a word asks for the run-time checks. One that nobody knows is an error: who takes it for a yes would go without.
fn means_checked(word: &str) -> Result<bool> {
    match word.trim().to_lowercase().as_str() {
        "1" | "true" | "yes" | "on" => Ok(true),
        "" | "0" | "false" | "no" | "off" => Ok(false),
        _ => Err(Error::UnknownName {
            what: "run-time checks (WGRAD_CHECKED)",
            word: word.to_owned(),
            known: "1, true, yes, on, 0, false, no, off".to_owned(),
        }),
    }
}

impl Context {
    /// Asks the adapter for a device of our own, with all that the adapter allows, or at most with these limits.
    pub(crate) async fn own(adapter: &wgpu::Adapter, limits: Option<&wgpu::Limits>) -> Result<Self> {
        let checked = checks_asked()?;
        let info = adapter.get_info();
        let have = adapter.limits();
        let mut required_limits = limits.map_or(have.clone(), |limits| limits.clone().or_worse_values_from(&have));
        if fault::strikes(Op::Device, None) {
            required_limits.max_bind_groups = u32::MAX;
        }
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("wgrad"),
            required_limits,
            memory_hints: wgpu::MemoryHints::Performance,
            ..Default::default()
        };
        let failed = |problem: String| Error::Device { adapter: describe(&info), problem };
        let asked = caught(|| adapter.request_device(&descriptor));
        let asked = asked.map_err(|panic| failed(format!("wgpu panicked: {panic}")))?;
        let (device, queue) = asked.await.map_err(|error| failed(error.to_string()))?;
        let context = Self { checked, is_own: true, ..Self::shared(device, queue, info) };
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
        let _last = LastHandle(Some(queue.clone()));
        Self {
            device,
            queue,
            info,
            // There is no error to return: a word that means nothing has the checks, as the safe side.
            checked: checks_asked().unwrap_or(true),
            is_own: false,
            pipelines: Mutex::default(),
            other_text: None,
            health: Arc::default(),
            written: AtomicU64::new(0),
            work: Arc::default(),
            _last,
        }
    }

    /// Another device of the same adapter, in the place of one that was made here and is lost: everything is asked for anew.
    ///
    /// # Errors
    /// [`Error::NoAdapter`] where the adapter is gone; [`Error::Device`] where it gives no device, as that of an application.
    pub(crate) async fn again(&self) -> Result<Self> {
        if !self.is_own {
            let problem = "the device belongs to the application, which alone can make another".to_owned();
            return Err(Error::Device { adapter: self.describe(), problem });
        }
        let adapters = Adapters::find_again(&self.info).await;
        Ok(Self { checked: self.checked, ..Self::own(adapters.same(&self.info)?, Some(&self.device.limits())).await? })
    }

    /// This device with another text for one shader file; whatever was compiled of the other files is shared.
    pub(crate) fn with_shader(&self, file: &'static str, text: &str) -> Self {
        let stays = |key: &Key| key.0.entry(key.1).file != file;
        let made = lock(&self.pipelines);
        let pipelines = made.iter().filter(|(key, _)| stays(key)).map(|(key, made)| (key.clone(), Arc::clone(made)));
        Self {
            device: self.device.clone(),
            queue: self.queue.clone(),
            info: self.info.clone(),
            checked: true,
            is_own: self.is_own,
            pipelines: Mutex::new(pipelines.collect()),
            other_text: Some((file, text.into())),
            health: Arc::clone(&self.health),
            written: AtomicU64::new(0),
            work: Arc::clone(&self.work),
            _last: LastHandle(Some(self.queue.clone())),
        }
    }

    /// Hands commands to the queue, or only the buffer writes that wait for the next submission.
    pub(crate) fn submit(&self, commands: Option<wgpu::CommandBuffer>) {
        self.written.store(0, Ordering::Relaxed);
        let spoilt = fault::strikes(Op::Submission, Some(&self.device)).then(|| self.spoilt());
        self.work.submitted.fetch_add(1, Ordering::Relaxed);
        self.queue.submit(commands.into_iter().chain(spoilt));
        let work = Arc::clone(&self.work);
        self.queue.on_submitted_work_done(move || {
            work.finished.fetch_add(1, Ordering::Relaxed);
        });
    }

    /// How many submissions there were until now.
    pub(super) fn submitted(&self) -> u64 {
        self.work.submitted.load(Ordering::Relaxed)
    }

    /// How many of so many submissions are done: by this a wait sees that the device goes on with what is waited for.
    #[cfg(not(target_arch = "wasm32"))]
    pub(super) fn finished_of(&self, submitted: u64) -> u64 {
        self.work.finished.load(Ordering::Relaxed).min(submitted)
    }

    /// Commands with which no submission is accepted, for tests.
    fn spoilt(&self) -> wgpu::CommandBuffer {
        let usage = wgpu::BufferUsages::COPY_DST;
        let buffer = self.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("destroyed"),
            size: 4,
            usage,
            mapped_at_creation: false,
        });
        let mut encoder = self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        encoder.clear_buffer(&buffer, 0, None);
        buffer.destroy();
        encoder.finish()
    }

    /// Writes into a buffer, in place for every later submission.
    pub(crate) fn write(&self, buffer: &wgpu::Buffer, offset: u64, bytes: &[u8]) {
        if fault::strikes(Op::Write, Some(&self.device)) {
            return;
        }
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
        let little_memory = limits.max_compute_workgroup_storage_size < MOST_WORKGROUP_BYTES;
        let tiling = if is_software(&self.info) || little_memory { Tiling::Registers } else { Tiling::GPU };
        Limits {
            max_groups: limits.max_compute_workgroups_per_dimension,
            max_storage_buffers: limits.max_storage_buffers_per_shader_stage,
            max_workgroup_bytes: limits.max_compute_workgroup_storage_size,
            max_binding_bytes: limits.max_storage_buffer_binding_size.min(limits.max_buffer_size),
            max_data_bytes: u64::MAX,
            max_iterations: if is_software(&self.info) { SOFTWARE_ITERATIONS } else { u64::MAX },
            tiling,
            persistent_up_to: if is_software(&self.info) { 0 } else { PERSISTENT_UP_TO },
            output_layer_up_to: tiling.output_layer_up_to(),
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
        let label = format!("the pipeline of kernel {}", kernel.name());
        let file = kernel.entry(tiling).file;
        let text = self.other_text.as_ref().filter(|(other, _)| *other == file).map(|(_, text)| &**text);
        let make = || {
            fault::strikes(Op::Pipeline, Some(&self.device));
            Pipeline::new(&self.device, kernel, tiling, &key.2, checked, text)
        };
        let pipeline = Arc::new(self.scope(&label, 0, make)?);
        lock(&self.pipelines).insert(key, Arc::clone(&pipeline));
        Ok(pipeline)
    }

    /// A new buffer; inside a [`scope`](Self::scope), which reports what becomes of it.
    pub(crate) fn create_buffer(&self, descriptor: &wgpu::BufferDescriptor<'_>) -> wgpu::Buffer {
        fault::strikes(Op::Buffer, Some(&self.device));
        self.device.create_buffer(descriptor)
    }

    /// What a call failed with: the loss of the device where that is the reason, else this.
    ///
    /// After a loss wgpu swallows every call. On an application's device, where no handler of ours is told of it, the only sign is
    /// that a buffer which is mapped from the start has nothing in it, though no error was reported.
    pub(crate) fn why(&self, error: Error) -> Error {
        if let Err(lost) = self.healthy() {
            return lost;
        }
        if self.answers() {
            return error;
        }
        let during = if let Error::Gpu { during, .. } = &error { during } else { "a call" };
        Error::DeviceLost { reason: format!("it takes no more calls, as was seen during {during}") }
    }

    /// Whether the device still does what it is told; in a browser a lost one seems to.
    pub(crate) fn answers(&self) -> bool {
        let usage = wgpu::BufferUsages::COPY_SRC;
        let descriptor = wgpu::BufferDescriptor { label: Some("probe"), size: 4, usage, mapped_at_creation: true };
        let make = || self.device.create_buffer(&descriptor).get_mapped_range_mut(..).is_ok();
        // An error that is reported comes from a device that is there.
        let (made, report) = self.reported(make);
        made == Ok(true) || report.is_some()
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
        let (result, report) = self.reported(work);
        let report = report.or_else(fault::report);
        self.healthy()?;
        let result =
            result.map_err(|panic| Error::DeviceLost { reason: format!("wgpu panicked in {during}: {panic}") })?;
        match report {
            None => Ok(result),
            Some(wgpu::Error::OutOfMemory { .. }) => Err(Error::OutOfMemory { what: during.to_owned(), bytes }),
            // What uses a buffer that was made after a loss is said to be invalid.
            Some(other) => Err(self.why(Error::Gpu { during: during.to_owned(), message: other.to_string() })),
        }
    }

    /// Runs `work`, and says what wgpu reports about it.
    fn reported<T>(&self, work: impl FnOnce() -> T) -> (Result<T, String>, Option<wgpu::Error>) {
        let memory = self.device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let validation = self.device.push_error_scope(wgpu::ErrorFilter::Validation);
        let internal = self.device.push_error_scope(wgpu::ErrorFilter::Internal);
        let result = caught(work);
        // All three are popped, in reverse, before any is looked at: a scope left open would swallow later errors.
        let reports = [internal, validation, memory].map(|scope| at_once(scope.pop()));
        (result, reports.into_iter().flatten().next())
    }
}

/// What wgpu gives, or the words of its panic: where a driver fails in a way that wgpu 30 has no error for, it panics
/// (`tests/driver/` has such drivers).
fn caught<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).map_err(|panic| {
        let words = panic.downcast_ref::<&str>().map(|words| (*words).to_owned());
        words.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "without a word".to_owned())
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_ask_for_the_checks() {
        for word in ["1", "true", " Yes ", "ON"] {
            assert!(matches!(means_checked(word), Ok(true)), "{word}");
        }
        for word in ["", " ", "0", "false", "No", "off"] {
            assert!(matches!(means_checked(word), Ok(false)), "{word}");
        }
        for word in ["2", "y", "enabled", "\u{fffd}"] {
            assert!(
                matches!(means_checked(word), Err(Error::UnknownName { word: said, .. }) if said == word),
                "{word}"
            );
        }
    }
}
