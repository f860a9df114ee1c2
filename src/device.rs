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
    Cpu(cpu::Threads),
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
    /// The CPU backend, with as many threads for large products as rayon has.
    #[must_use]
    pub fn cpu() -> Self {
        Self::cpu_because("it was asked for", 0)
    }

    /// The CPU backend with this many threads for large products, at most 1024; 0 means as many as rayon has. The results have
    /// the same bits whatever the number.
    #[must_use]
    pub fn cpu_with_threads(threads: usize) -> Self {
        Self::cpu_because("it was asked for", threads)
    }

    fn cpu_because(reason: &str, threads: usize) -> Self {
        // Nobody means to start millions.
        let threads = threads.min(MOST_THREADS);
        Self { place: Place::Cpu(cpu::Threads(threads)), reason: reason.into(), limits: Limits::HOST }
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
        let adapters = crate::gpu::Adapters::find().await;
        match adapters.hardware() {
            Some(adapter) => Self::open(adapter, "it is the best GPU of this machine").await,
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
        let adapters = crate::gpu::Adapters::find().await;
        let adapter = adapters.hardware().ok_or_else(|| adapters.none("gpu (real hardware)"))?;
        Self::open(adapter, "it is the best GPU of this machine").await
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
        let adapters = crate::gpu::Adapters::find_for(name).await;
        Self::open(adapters.named(name)?, &format!("its name fits '{name}'")).await
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
    async fn open(adapter: &wgpu::Adapter, reason: &str) -> Result<Self> {
        Ok(Self::on(crate::gpu::Context::own(adapter).await?, reason))
    }

    #[cfg(feature = "gpu")]
    fn on(context: crate::gpu::Context, reason: &str) -> Self {
        let limits = context.limits();
        Self { place: Place::Gpu(Arc::new(context)), reason: reason.into(), limits }
    }

    /// A device that belongs to the application. wgrad installs no handlers on it, keeps no global state, submits to its queue
    /// only within calls, and keeps to its limits. `info` is the adapter's, from `adapter.get_info()`.
    #[cfg(feature = "gpu")]
    #[must_use]
    pub fn from_wgpu(device: wgpu::Device, queue: wgpu::Queue, info: wgpu::AdapterInfo) -> Self {
        Self::on(crate::gpu::Context::shared(device, queue, info), "the application gave it")
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

    /// This device with limits at most these: to see what a smaller device would do.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = Limits {
            max_groups: self.limits.max_groups.min(limits.max_groups),
            max_binding_bytes: self.limits.max_binding_bytes.min(limits.max_binding_bytes),
            max_iterations: self.limits.max_iterations.min(limits.max_iterations),
            tiling: self.limits.tiling,
            lanes: self.limits.lanes.min(limits.lanes).max(1),
            persistent_up_to: self.limits.persistent_up_to.min(limits.persistent_up_to),
        };
        self
    }

    /// This device with the other shaders for its matrix kernels than it would choose: to test and measure both.
    #[must_use]
    pub const fn with_tiling(mut self, tiling: Tiling) -> Self {
        self.limits.tiling = tiling;
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
            Place::Cpu(threads) => Engine::cpu(cpu::Engine::new(*threads)),
            #[cfg(feature = "gpu")]
            Place::Gpu(context) => Engine::gpu(crate::gpu::Engine::new(Arc::clone(context), self.limits)),
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
