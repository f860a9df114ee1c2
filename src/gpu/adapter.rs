//! Which adapters there are, and which one is meant.

use wgpu::{AdapterInfo, Backend, Backends, DeviceType};

use super::fault::{self, Op};
use crate::error::{Error, Result};

/// The adapters of this machine, in the order in which wgpu lists them.
pub(crate) struct Adapters {
    list: Vec<wgpu::Adapter>,
}

impl Adapters {
    /// Looks for adapters on Vulkan, Metal, DX12 and WebGPU. OpenGL shows the same hardware through an older interface, and
    /// looking for it opens display connections: it is left to those who name it.
    pub(crate) async fn find() -> Self {
        Self::on(Backends::PRIMARY).await
    }

    /// As [`find`](Self::find), with OpenGL.
    pub(crate) async fn find_all() -> Self {
        Self::on(Backends::all()).await
    }

    /// The adapters among which a name is looked for: OpenGL's only where the name asks for them, or nothing else fits.
    pub(crate) async fn find_for(wanted: &str) -> Self {
        let primary = Self::find().await;
        let gl = matches!(split(wanted), (Some(Backend::Gl), _)) || primary.named(wanted).is_err();
        if gl { Self::find_all().await } else { primary }
    }

    async fn on(backends: Backends) -> Self {
        let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
        // No indirect dispatch is used here, and its validation would cut buffers to 32-bit sizes.
        descriptor.backends = backends;
        descriptor.flags =
            (wgpu::InstanceFlags::from_build_config() & !wgpu::InstanceFlags::VALIDATION_INDIRECT_CALL).with_env();
        // Only a test, or a measurement of the host, has a device of the backend that does nothing.
        descriptor.backend_options.noop.enable |= backends == Backends::NOOP;
        let instance = wgpu::Instance::new(descriptor);
        fault::made(&instance);
        let list = instance.enumerate_adapters(backends).await;
        Self { list: if fault::strikes(Op::Adapter, None) { Vec::new() } else { list } }
    }

    /// The adapters among which one that was there before is looked for.
    pub(crate) async fn find_again(info: &AdapterInfo) -> Self {
        Self::on(info.backend.into()).await
    }

    /// The adapter that gave a device before.
    ///
    /// # Errors
    /// [`Error::NoAdapter`] lists what there is.
    pub(crate) fn same(&self, info: &AdapterInfo) -> Result<&wgpu::Adapter> {
        let is_same = |adapter: &&wgpu::Adapter| adapter.get_info() == *info;
        self.list.iter().find(is_same).ok_or_else(|| self.none(&format!("{}, once more", describe(info))))
    }

    pub(crate) fn infos(&self) -> impl Iterator<Item = (AdapterInfo, &wgpu::Adapter)> {
        self.list.iter().map(|adapter| (adapter.get_info(), adapter))
    }

    /// The best adapter that is real hardware, by [`hardware_rank`]; the first of equals.
    pub(crate) fn hardware(&self) -> Option<&wgpu::Adapter> {
        self.list
            .iter()
            .filter_map(|adapter| hardware_rank(&adapter.get_info()).map(|rank| (rank, adapter)))
            .min_by_key(|&(rank, _)| rank)
            .map(|(_, adapter)| adapter)
    }

    /// The best adapter whose name contains this word, in any case; `gl:word` looks on one backend alone. Vulkan, Metal and
    /// DX12 win over GL where both fit.
    ///
    /// # Errors
    /// [`Error::NoAdapter`] lists what there is.
    pub(crate) fn named(&self, wanted: &str) -> Result<&wgpu::Adapter> {
        let (backend, part) = split(wanted);
        self.list
            .iter()
            .map(|adapter| (adapter.get_info(), adapter))
            .filter(|(info, _)| backend.is_none_or(|backend| info.backend == backend))
            .filter(|(info, _)| {
                let name = format!("{} {} {}", info.name, info.driver, info.driver_info).to_lowercase();
                name.contains(&part.to_lowercase())
            })
            .min_by_key(|(info, _)| (info.backend == Backend::Gl, hardware_rank(info).unwrap_or(u8::MAX)))
            .map(|(_, adapter)| adapter)
            .ok_or_else(|| self.none(wanted))
    }

    /// The error that says what was wanted and what there is.
    pub(crate) fn none(&self, wanted: &str) -> Error {
        let found: Vec<_> = self.infos().map(|(info, _)| describe(&info)).collect();
        let found = if found.is_empty() {
            "none; is a driver for Vulkan, Metal or DX12 installed? (on Linux, `vulkaninfo --summary` tells); OpenGL has to be named, \
             as gl:NAME, and 'cpu' is the CPU backend, which needs no driver"
                .to_owned()
        } else {
            let found = found.join(", ");
            format!("{found}; name one to use it, such as \"{}\", or 'cpu' for the CPU backend", self.example())
        };
        Error::NoAdapter { wanted: wanted.to_owned(), found }
    }

    fn example(&self) -> String {
        self.list.first().map_or_else(String::new, |adapter| {
            let info = adapter.get_info();
            let word = info.name.split([' ', '(']).next().unwrap_or_default().to_owned();
            format!("{}:{word}", info.backend)
        })
    }
}

/// `vulkan:llvmpipe` into its backend and the part of a name; without a known backend in front, all of it is the name.
fn split(wanted: &str) -> (Option<Backend>, &str) {
    let Some((front, part)) = wanted.split_once(':') else { return (None, wanted) };
    let backend = match front.to_lowercase().as_str() {
        "vulkan" | "vk" => Backend::Vulkan,
        "metal" | "mtl" => Backend::Metal,
        "dx12" | "d3d12" => Backend::Dx12,
        "gl" | "gles" | "opengl" => Backend::Gl,
        "webgpu" => Backend::BrowserWebGpu,
        _ => return (None, wanted),
    };
    (Some(backend), part)
}

/// Name, backend and kind in a few words.
pub(crate) fn describe(info: &AdapterInfo) -> String {
    let kind = match info.device_type {
        _ if is_software(info) => "software",
        DeviceType::DiscreteGpu => "discrete GPU",
        DeviceType::IntegratedGpu => "integrated GPU",
        DeviceType::VirtualGpu => "virtual GPU",
        _ => "unknown kind",
    };
    // A browser may keep the name to itself.
    let name = if info.name.is_empty() { "unnamed adapter" } else { &info.name };
    format!("{name} ({}, {kind})", info.backend)
}

/// Whether the adapter computes on the CPU. Drivers say so by their type, but for OpenGL the name has to tell.
pub(crate) fn is_software(info: &AdapterInfo) -> bool {
    let name = info.name.to_lowercase();
    info.device_type == DeviceType::Cpu
        || ["llvmpipe", "softpipe", "swiftshader", "basic render"].iter().any(|word| name.contains(word))
}

/// Discrete before integrated before virtual; `None` for software and for what does not say what it is.
fn hardware_rank(info: &AdapterInfo) -> Option<u8> {
    if is_software(info) || info.backend == Backend::Noop {
        return None;
    }
    // A GL adapter is the same hardware seen through an older interface: only if nothing else shows it.
    let gl = u8::from(info.backend == Backend::Gl) * 4;
    match info.device_type {
        DeviceType::DiscreteGpu => Some(gl),
        DeviceType::IntegratedGpu => Some(1 + gl),
        DeviceType::VirtualGpu => Some(2 + gl),
        DeviceType::Other if info.backend == Backend::BrowserWebGpu => Some(3),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(name: &str, device_type: DeviceType, backend: Backend) -> AdapterInfo {
        AdapterInfo { name: name.to_owned(), ..AdapterInfo::new(device_type, backend) }
    }

    #[test]
    fn hardware_comes_in_the_stated_order_and_software_never() {
        let discrete = info("A", DeviceType::DiscreteGpu, Backend::Vulkan);
        let integrated = info("B", DeviceType::IntegratedGpu, Backend::Vulkan);
        let gl = info("A", DeviceType::DiscreteGpu, Backend::Gl);
        assert!(hardware_rank(&discrete) < hardware_rank(&integrated));
        assert!(hardware_rank(&integrated) < hardware_rank(&gl));
        for software in [
            info("llvmpipe (LLVM 15)", DeviceType::Cpu, Backend::Vulkan),
            info("llvmpipe (LLVM 15)", DeviceType::Other, Backend::Gl),
            info("SwiftShader Device", DeviceType::Cpu, Backend::Vulkan),
            info("Microsoft Basic Render Driver", DeviceType::Cpu, Backend::Dx12),
            info("", DeviceType::DiscreteGpu, Backend::Noop),
        ] {
            assert_eq!(hardware_rank(&software), None, "{software:?}");
        }
    }

    #[test]
    fn a_backend_in_front_of_a_name_is_taken_off() {
        assert_eq!(split("gl:llvmpipe"), (Some(Backend::Gl), "llvmpipe"));
        assert_eq!(split("Vulkan:Radeon"), (Some(Backend::Vulkan), "Radeon"));
        assert_eq!(split("llvmpipe"), (None, "llvmpipe"));
        assert_eq!(split("card: fast"), (None, "card: fast"));
    }
}
