//! Where a network is trained: the CPU, or a GPU.

use std::sync::Arc;

use crate::backend::Engine;
use crate::cpu;
#[cfg_attr(feature = "gpu", allow(unused_imports, reason = "the documentation refers to Error"))]
use crate::error::{Error, Result};
use crate::kernel::Tiling;
use crate::plan::Limits;

/// The environment variable that overrides [`Device::auto`].
const DEVICE_VARIABLE: &str = "WGRAD_DEVICE";

/// More threads than any machine has.
const MOST_THREADS: usize = 1024;

/// A device to build networks on. Cheap to clone; clones share the GPU device and its compiled kernels.
///
/// ```
/// use wgrad::Device;
/// let device = Device::cpu();
/// assert_eq!(device.kind(), "cpu");
/// println!("training on {device}, because {}", device.reason());
/// ```
#[derive(Debug, Clone)]
pub struct Device {
    place: Place,
    reason: Arc<str>,
    limits: Limits,
}

#[derive(Debug, Clone)]
enum Place {
    Cpu(cpu::Teams),
    #[cfg(feature = "gpu")]
    Gpu(Arc<crate::gpu::Context>),
}

/// An adapter of this machine, as [`Device::list_async`] shows it.
#[cfg(feature = "gpu")]
#[derive(Debug, Clone)]
pub struct AdapterSummary {
    /// What wgpu knows of it.
    pub info: wgpu::AdapterInfo,
    /// Whether it computes on the CPU; such an adapter is only used when it is named.
    pub software: bool,
    /// Its limits.
    pub limits: wgpu::Limits,
    /// Its features.
    pub features: wgpu::Features,
}

impl Device {
    /// The CPU backend, with as many threads for large products as rayon has. What a thread of a rayon pool asks for, as within
    /// `par_iter`, it computes alone, to the same bits: there the cores are taken.
    #[must_use]
    pub fn cpu() -> Self {
        Self::cpu_because("it was asked for", 0)
    }

    /// The CPU backend with this many threads for large products, and for the networks of a [`Population`](crate::Population), at most
    /// 1024; 0 means as many as rayon has. The results have the same bits whatever the number.
    #[must_use]
    pub fn cpu_with_threads(threads: usize) -> Self {
        Self::cpu_because("it was asked for", threads)
    }

    pub(crate) fn cpu_because(reason: &str, threads: usize) -> Self {
        // Nobody means to start millions.
        let threads = threads.min(MOST_THREADS);
        Self { place: Place::Cpu(cpu::Teams::of(threads)), reason: reason.into(), limits: Limits::HOST }
    }

    /// The device to use when nobody says: a discrete GPU, else an integrated one, else the CPU backend. A software adapter
    /// (llvmpipe, SwiftShader) is never taken, since the CPU backend is many times faster. The environment variable
    /// `WGRAD_DEVICE` overrides the choice; it takes the words of [`named`](Self::named_async).
    ///
    /// # Errors
    /// [`Error::NoAdapter`] if `WGRAD_DEVICE` names none; [`Error::Device`] if the chosen adapter gives no device.
    pub async fn auto_async() -> Result<Self> {
        match std::env::var(DEVICE_VARIABLE) {
            Ok(word) if !word.trim().is_empty() && !word.trim().eq_ignore_ascii_case("auto") => {
                let mut device = Self::named_async(&word).await?;
                device.reason = format!("{DEVICE_VARIABLE} is '{}'", word.trim()).into();
                Ok(device)
            }
            _ => Self::best().await,
        }
    }

    /// The device that a word names: `auto` (as [`auto`](Self::auto_async), without the environment), `cpu`, `gpu`, or part of
    /// an adapter's name, in any case, optionally with its backend in front: `vulkan:radeon`, `gl:llvmpipe`. Vulkan, Metal and
    /// DX12 win over OpenGL where both fit.
    ///
    /// # Errors
    /// [`Error::NoAdapter`] lists what there is; [`Error::Device`] if the adapter gives no device.
    pub async fn named_async(word: &str) -> Result<Self> {
        match word.trim().to_lowercase().as_str() {
            "auto" | "" => Self::best().await,
            "cpu" => Ok(Self::cpu()),
            "gpu" => Self::gpu_async().await,
            _ => Self::with_adapter_async(word.trim()).await,
        }
    }

    #[cfg(feature = "gpu")]
    async fn best() -> Result<Self> {
        Self::best_within(crate::gpu::asked()?.as_ref()).await
    }

    #[cfg(feature = "gpu")]
    async fn best_within(limits: Option<&wgpu::Limits>) -> Result<Self> {
        let adapters = crate::gpu::Adapters::find().await;
        match adapters.hardware() {
            Some(adapter) => Self::open(adapter, limits, "it is the best GPU of this machine").await,
            None if adapters.infos().next().is_none() => Ok(Self::cpu_because("this machine shows no GPU", 0)),
            None => Ok(Self::cpu_because(
                "this machine has only software adapters, which are slower than the CPU backend",
                0,
            )),
        }
    }

    #[cfg(not(feature = "gpu"))]
    #[allow(clippy::unused_async, reason = "the same signature as with the GPU backend")]
    async fn best() -> Result<Self> {
        Ok(Self::cpu_because("wgrad was built without its feature 'gpu'", 0))
    }

    /// The best adapter that is real hardware.
    ///
    /// # Errors
    /// [`Error::NoAdapter`] lists what there is; [`Error::Device`] if the adapter gives no device.
    #[cfg(feature = "gpu")]
    pub async fn gpu_async() -> Result<Self> {
        Self::gpu_within(crate::gpu::asked()?.as_ref()).await
    }

    #[cfg(feature = "gpu")]
    async fn gpu_within(limits: Option<&wgpu::Limits>) -> Result<Self> {
        let adapters = crate::gpu::Adapters::find().await;
        let adapter = adapters.hardware().ok_or_else(|| adapters.none("gpu (real hardware)"))?;
        Self::open(adapter, limits, "it is the best GPU of this machine").await
    }

    /// As with the feature `gpu`: here always an error.
    ///
    /// # Errors
    /// [`Error::NoAdapter`].
    #[cfg(not(feature = "gpu"))]
    #[allow(clippy::unused_async, reason = "the same signature as with the GPU backend")]
    pub async fn gpu_async() -> Result<Self> {
        Self::no_gpu("gpu (real hardware)")
    }

    /// The adapter whose name contains this word, software or not; see [`named`](Self::named_async).
    ///
    /// # Errors
    /// [`Error::NoAdapter`] lists what there is; [`Error::Device`] if the adapter gives no device.
    #[cfg(feature = "gpu")]
    pub async fn with_adapter_async(name: &str) -> Result<Self> {
        Self::adapter_within(name, crate::gpu::asked()?.as_ref()).await
    }

    #[cfg(feature = "gpu")]
    async fn adapter_within(name: &str, limits: Option<&wgpu::Limits>) -> Result<Self> {
        let adapters = crate::gpu::Adapters::find_for(name).await;
        Self::open(adapters.named(name)?, limits, &format!("its name fits '{name}'")).await
    }

    /// The device that a word names, as [`named`](Self::named_async) takes it, asked for with these limits at most in place of all that
    /// its adapter has: to train as a smaller device would, or to leave some of a device's means to others. What is above the adapter's
    /// own is lowered to that. The CPU backend has no limits.
    ///
    /// The environment variable `WGRAD_LIMITS` does the same for every device that is made here without limits of its own: `default` is
    /// [`wgpu::Limits::default`], what WebGPU promises of every device, and `tiny` what the tests run under to see everything split.
    ///
    /// Everything works with 64 invocations a workgroup, 8 KiB of workgroup memory, 4 storage buffers a stage, and few workgroups a
    /// dimension, though slower: a step of more workgroups than a dispatch may have takes several, up to 4,096; where 8 storage buffers are too many,
    /// the textbook plan is taken, which needs 4 ([`Network::plan`](crate::Network::plan) says so). A data set longer than a binding is
    /// streamed. Parameters, and the numbers of a mini-batch between two layers, have to fit a binding each:
    /// [`Error::Limit`] names the buffer, the need and the limit, before anything is trained.
    ///
    /// # Errors
    /// As there; [`Error::Device`] if the adapter gives no device with these limits.
    #[cfg(feature = "gpu")]
    pub async fn named_with_limits_async(word: &str, limits: &wgpu::Limits) -> Result<Self> {
        match word.trim().to_lowercase().as_str() {
            "auto" | "" => Self::best_within(Some(limits)).await,
            "cpu" => Ok(Self::cpu()),
            "gpu" => Self::gpu_within(Some(limits)).await,
            _ => Self::adapter_within(word.trim(), Some(limits)).await,
        }
    }

    /// As with the feature `gpu`: here always an error.
    ///
    /// # Errors
    /// [`Error::NoAdapter`].
    #[cfg(not(feature = "gpu"))]
    #[allow(clippy::unused_async, reason = "the same signature as with the GPU backend")]
    pub async fn with_adapter_async(name: &str) -> Result<Self> {
        Self::no_gpu(name)
    }

    #[cfg(not(feature = "gpu"))]
    fn no_gpu(wanted: &str) -> Result<Self> {
        let found = "none, since wgrad was built without its feature 'gpu'".to_owned();
        Err(Error::NoAdapter { wanted: wanted.to_owned(), found })
    }

    #[cfg(feature = "gpu")]
    pub(crate) async fn open(adapter: &wgpu::Adapter, limits: Option<&wgpu::Limits>, reason: &str) -> Result<Self> {
        Ok(Self::on(crate::gpu::Context::own(adapter, limits).await?, reason))
    }

    #[cfg(feature = "gpu")]
    fn on(context: crate::gpu::Context, reason: &str) -> Self {
        let limits = context.limits();
        Self { place: Place::Gpu(Arc::new(context)), reason: reason.into(), limits }
    }

    /// A device that belongs to the application. wgrad installs no handlers on it, keeps no global state, submits to its queue
    /// only within calls, and keeps to its limits. `info` is the adapter's, from `adapter.get_info()`.
    ///
    /// The types are those of wgpu 30, so the application has to use that version too. No feature is needed. The limits may be wgpu's
    /// defaults, or those of [`named_with_limits`](Self::named_with_limits_async) and more; with all that the adapter has
    /// (`adapter.limits()`) larger networks fit, and larger data sets without being streamed. `WGRAD_LIMITS` changes nothing here;
    /// `WGRAD_CHECKED` does, and a word that it does not know keeps the checks.
    ///
    /// ```no_run
    /// # #[cfg(feature = "blocking")] {
    /// use wgrad::{Activation, Device, Network};
    /// let instance = wgpu::Instance::default();
    /// let adapter = pollster::block_on(instance.request_adapter(&wgpu::RequestAdapterOptions::default()))?;
    /// let limits = adapter.limits();
    /// let descriptor = wgpu::DeviceDescriptor { required_limits: limits, ..Default::default() };
    /// let (device, queue) = pollster::block_on(adapter.request_device(&descriptor))?;
    ///
    /// // The application goes on using its own handles.
    /// let shared = Device::from_wgpu(device.clone(), queue.clone(), adapter.get_info());
    /// let net = Network::new(784).dense(10, Activation::Sigmoid).build(&shared)?;
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[cfg(feature = "gpu")]
    #[must_use]
    pub fn from_wgpu(device: wgpu::Device, queue: wgpu::Queue, info: wgpu::AdapterInfo) -> Self {
        Self::on(crate::gpu::Context::shared(device, queue, info), "the application gave it")
    }

    /// Another device of the same adapter and driver, with the same limits, in the place of this one: what was lost does not come back.
    /// Networks that are on this one stay on it. The CPU backend cannot be lost, and is returned as it is.
    ///
    /// Training does this by itself (see [`Recovery`](crate::Recovery)). A program that would rather do it takes the network, or the run, to
    /// the new device by its bytes:
    ///
    /// ```
    /// # #[cfg(feature = "blocking")] {
    /// use wgrad::{Activation, Adam, Cost, Device, Error, Network, Recovery, Trainer, data};
    /// let (digits, mut device) = (data::synthetic_digits(200, 1)?, Device::auto()?);
    /// let mut net = Network::new(784).dense(10, Activation::Sigmoid).build(&device)?;
    /// let trainer = Trainer::new(Cost::BinaryCrossEntropy, Adam::new(0.01)).recovery(Recovery::none());
    /// let mut run = trainer.start(&mut net, &digits)?;
    /// let mut saved = run.to_bytes()?; // now and then
    /// if let Err(Error::DeviceLost { .. }) = run.step_for(std::time::Duration::from_millis(4)) {
    ///     device = device.reopen()?;
    ///     let (mut net, trainer) = Trainer::from_bytes(&saved, &device)?;
    ///     let mut run = trainer.start(&mut net, &digits)?; // goes on bit for bit
    ///     saved = run.to_bytes()?;
    /// }
    /// # }
    /// # Ok::<(), wgrad::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::NoAdapter`] where the adapter is gone; [`Error::Device`] where it gives no device, and for a device that belongs to an
    /// application (`Device::from_wgpu`), which alone can make another.
    #[cfg_attr(
        not(feature = "gpu"),
        allow(clippy::unused_async, reason = "the same signature as with the GPU backend")
    )]
    pub async fn reopen_async(&self) -> Result<Self> {
        match &self.place {
            Place::Cpu(_) => Ok(self.clone()),
            #[cfg(feature = "gpu")]
            Place::Gpu(context) => {
                let place = Place::Gpu(Arc::new(context.again().await?));
                Ok(Self { place, reason: "the one before it was lost".into(), limits: self.limits })
            }
        }
    }

    /// Whether the other is a clone of this one.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        match (&self.place, &other.place) {
            (Place::Cpu(_), Place::Cpu(_)) => true,
            #[cfg(feature = "gpu")]
            (Place::Gpu(one), Place::Gpu(other)) => Arc::ptr_eq(one, other),
            #[cfg(feature = "gpu")]
            _ => false,
        }
    }

    /// Whether another one can be made without the application.
    pub(crate) fn is_own(&self) -> bool {
        match &self.place {
            Place::Cpu(_) => true,
            #[cfg(feature = "gpu")]
            Place::Gpu(context) => context.is_own,
        }
    }

    /// Whether the device still does what it is told. The answer of a browser is always yes.
    pub(crate) fn answers(&self) -> bool {
        match &self.place {
            Place::Cpu(_) => true,
            #[cfg(feature = "gpu")]
            Place::Gpu(context) => context.answers(),
        }
    }

    /// The adapters of this machine, those of OpenGL included.
    #[cfg(feature = "gpu")]
    pub async fn list_async() -> Vec<AdapterSummary> {
        let adapters = crate::gpu::Adapters::find_all().await;
        adapters
            .infos()
            .map(|(info, adapter)| AdapterSummary {
                software: crate::gpu::is_software(&info),
                info,
                limits: adapter.limits(),
                features: adapter.features(),
            })
            .collect()
    }

    /// This device with another text for a file of `shaders/`, whose run-time checks are on whatever it says.
    #[cfg(feature = "gpu")]
    pub(crate) fn with_shader(&self, file: &'static str, text: &str) -> Result<Self> {
        let Place::Gpu(context) = &self.place else {
            let want = "one with shaders, which the CPU backend is not";
            return Err(Error::InvalidOption { option: "device", value: self.adapter(), want });
        };
        Ok(Self { place: Place::Gpu(Arc::new(context.with_shader(file, text))), ..self.clone() })
    }

    /// The driver with its version, and the interface that it is reached by; empty for the CPU backend.
    pub(crate) fn driver(&self) -> [String; 2] {
        match &self.place {
            Place::Cpu(_) => [String::new(), String::new()],
            #[cfg(feature = "gpu")]
            Place::Gpu(context) => {
                let driver = [context.info.driver.trim(), context.info.driver_info.trim()].join(" ");
                [driver.trim().to_owned(), context.info.backend.to_string()]
            }
        }
    }

    /// This device with limits at most these: to see what a smaller device would do.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = Limits {
            max_groups: self.limits.max_groups.min(limits.max_groups),
            max_storage_buffers: self.limits.max_storage_buffers.min(limits.max_storage_buffers),
            max_workgroup_bytes: self.limits.max_workgroup_bytes.min(limits.max_workgroup_bytes),
            max_binding_bytes: self.limits.max_binding_bytes.min(limits.max_binding_bytes),
            max_data_bytes: self.limits.max_data_bytes.min(limits.max_data_bytes),
            max_iterations: self.limits.max_iterations.min(limits.max_iterations),
            tiling: self.limits.tiling,
            lanes: self.limits.lanes.min(limits.lanes).max(1),
            persistent_up_to: self.limits.persistent_up_to.min(limits.persistent_up_to),
            output_layer_up_to: self.limits.output_layer_up_to.min(limits.output_layer_up_to),
        };
        self
    }

    /// This device with so many bytes at most for the rows of a data set, inputs and targets, at a time. A data set that has more is
    /// streamed: the device trains on some mini-batches while the rows of the next are on their way, with the same bits as if all
    /// were there. Without this a data set is streamed where one buffer cannot hold its inputs or targets, or the device has not the
    /// memory.
    ///
    /// ```
    /// use wgrad::{Activation, Cost, Device, Network, Sgd, Trainer, data};
    /// let digits = data::synthetic_digits(300, 1)?; // 300 times 784 bytes, and a label
    /// let train = |device: &Device| -> wgrad::Result<_> {
    ///     let mut net = Network::new(784).dense(10, Activation::Sigmoid).build(device)?;
    ///     let history = Trainer::new(Cost::Quadratic, Sgd::new(3.0)).epochs(2).fit(&mut net, &digits, None)?;
    ///     Ok((net.parameters()?, history.streamed))
    /// };
    /// let (resident, no) = train(&Device::cpu())?;
    /// let (streamed, yes) = train(&Device::cpu().with_data_memory(100_000))?;
    /// assert_eq!((resident, no, yes), (streamed, false, true));
    /// # Ok::<(), wgrad::Error>(())
    /// ```
    #[must_use]
    pub fn with_data_memory(mut self, bytes: u64) -> Self {
        self.limits.max_data_bytes = self.limits.max_data_bytes.min(bytes);
        self
    }

    /// This device with other shaders than it would choose, those that such a device would have: to test and measure both.
    #[must_use]
    pub const fn with_tiling(mut self, tiling: Tiling) -> Self {
        self.limits.tiling = tiling;
        self.limits.output_layer_up_to = tiling.output_layer_up_to();
        self
    }

    /// What the planner keeps to on this device.
    #[must_use]
    pub const fn limits(&self) -> Limits {
        self.limits
    }

    /// `cpu` or `gpu`: the backend that runs plans. A software adapter is `gpu` here; see [`is_software`](Self::is_software).
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self.place {
            Place::Cpu(_) => "cpu",
            #[cfg(feature = "gpu")]
            Place::Gpu(_) => "gpu",
        }
    }

    /// The adapter with its backend and kind, or what the CPU backend is.
    #[must_use]
    pub fn adapter(&self) -> String {
        match &self.place {
            Place::Cpu(_) => "CPU backend".to_owned(),
            #[cfg(feature = "gpu")]
            Place::Gpu(context) => context.describe(),
        }
    }

    /// Whether this is a software adapter: a GPU interface computed on the CPU.
    #[must_use]
    pub fn is_software(&self) -> bool {
        match &self.place {
            Place::Cpu(_) => false,
            #[cfg(feature = "gpu")]
            Place::Gpu(context) => crate::gpu::is_software(&context.info),
        }
    }

    /// Whether the shaders keep wgpu's run-time checks (`WGRAD_CHECKED=1` when the device was made).
    #[must_use]
    pub fn is_checked(&self) -> bool {
        match &self.place {
            Place::Cpu(_) => true,
            #[cfg(feature = "gpu")]
            Place::Gpu(context) => context.checked,
        }
    }

    /// Why this device was chosen.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.reason
    }

    pub(crate) fn engine(&self) -> Engine {
        match &self.place {
            Place::Cpu(teams) => Engine::cpu(cpu::Engine::new(teams.clone())),
            #[cfg(feature = "gpu")]
            Place::Gpu(context) => Engine::gpu(crate::gpu::Engine::new(Arc::clone(context), self.limits)),
        }
    }

    /// How many threads the CPU backend may have.
    #[cfg(all(feature = "blocking", not(target_arch = "wasm32")))]
    pub(crate) fn cpu_threads(&self) -> usize {
        let all = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        match &self.place {
            Place::Cpu(teams) if teams.threads() > 0 => teams.threads(),
            _ => all(),
        }
    }

    /// As [`engine`](Self::engine), for plans and buffers that anyone may have written: shaders keep wgpu's run-time checks.
    pub(crate) fn checked_engine(&self) -> Engine {
        match &self.place {
            Place::Cpu(_) => self.engine(),
            #[cfg(feature = "gpu")]
            Place::Gpu(context) => Engine::gpu(crate::gpu::Engine::checked(Arc::clone(context), self.limits)),
        }
    }
}

#[cfg(all(feature = "blocking", not(target_arch = "wasm32")))]
impl Device {
    /// Blocking form of [`auto_async`](Self::auto_async).
    ///
    /// # Errors
    /// As there.
    pub fn auto() -> Result<Self> {
        crate::blocking::block_on(Self::auto_async())
    }

    /// Blocking form of [`named_async`](Self::named_async).
    ///
    /// # Errors
    /// As there.
    pub fn named(word: &str) -> Result<Self> {
        crate::blocking::block_on(Self::named_async(word))
    }

    /// Blocking form of [`gpu_async`](Self::gpu_async).
    ///
    /// # Errors
    /// As there.
    pub fn gpu() -> Result<Self> {
        crate::blocking::block_on(Self::gpu_async())
    }

    /// Blocking form of [`with_adapter_async`](Self::with_adapter_async).
    ///
    /// # Errors
    /// As there.
    pub fn with_adapter(name: &str) -> Result<Self> {
        crate::blocking::block_on(Self::with_adapter_async(name))
    }

    /// Blocking form of [`named_with_limits_async`](Self::named_with_limits_async).
    ///
    /// # Errors
    /// As there.
    #[cfg(feature = "gpu")]
    pub fn named_with_limits(word: &str, limits: &wgpu::Limits) -> Result<Self> {
        crate::blocking::block_on(Self::named_with_limits_async(word, limits))
    }

    /// Blocking form of [`reopen_async`](Self::reopen_async).
    ///
    /// # Errors
    /// As there.
    pub fn reopen(&self) -> Result<Self> {
        crate::blocking::block_on(self.reopen_async())
    }

    /// Blocking form of [`list_async`](Self::list_async).
    #[cfg(feature = "gpu")]
    #[must_use]
    pub fn list() -> Vec<AdapterSummary> {
        crate::blocking::block_on(Self::list_async())
    }
}

impl std::fmt::Display for Device {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.adapter())
    }
}
