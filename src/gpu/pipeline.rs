//! A kernel's compute pipeline, its layout taken from the kernel's row in the table.

use std::num::NonZeroU64;

use crate::kernel::{Access, Kernel, Params, SHADERS, Tiling};

/// Bytes of the uniform buffer, whole vectors of four as OpenGL wants them.
pub(crate) const UNIFORM_BYTES: u64 = (Params::FIELDS.len() * 4).next_multiple_of(16) as u64;

#[derive(Debug)]
pub(crate) struct Pipeline {
    pub(crate) pipeline: wgpu::ComputePipeline,
    pub(crate) layout: wgpu::BindGroupLayout,
}

impl Pipeline {
    pub(crate) fn new(
        device: &wgpu::Device,
        kernel: Kernel,
        tiling: Tiling,
        constants: &[(&'static str, u32)],
        checked: bool,
        other_text: Option<&str>,
    ) -> Self {
        let info = kernel.info();
        let shader = kernel.entry(tiling);
        let entry = |binding: u32, ty: wgpu::BufferBindingType, min: Option<NonZeroU64>| wgpu::BindGroupLayoutEntry {
            binding,
            visibility: wgpu::ShaderStages::COMPUTE,
            ty: wgpu::BindingType::Buffer { ty, has_dynamic_offset: false, min_binding_size: min },
            count: None,
        };
        let mut entries = vec![entry(0, wgpu::BufferBindingType::Uniform, NonZeroU64::new(UNIFORM_BYTES))];
        for (number, binding) in (1..).zip(info.bindings) {
            let read_only = binding.access == Access::In;
            entries.push(entry(number, wgpu::BufferBindingType::Storage { read_only }, None));
        }
        let constants: Vec<_> = constants.iter().map(|&(name, value)| (name, f64::from(value))).collect();
        let label = Some(shader.name);
        let layout = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label, entries: &entries });
        let pipeline_layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label,
            bind_group_layouts: &[Some(&layout)],
            immediate_size: 0,
        });
        let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label,
            layout: Some(&pipeline_layout),
            module: &module(device, shader.file, checked, other_text),
            entry_point: Some(shader.name),
            compilation_options: wgpu::PipelineCompilationOptions {
                constants: &constants,
                // Every kernel writes its workgroup memory before it reads it.
                zero_initialize_workgroup_memory: false,
            },
            cache: None,
        });
        Self { pipeline, layout }
    }
}

/// The shader module of a file, with or without wgpu's run-time checks; another text than the file's always has them.
#[allow(unsafe_code, reason = "the checks cost up to a third on some GPUs; the tests prove that no kernel needs them")]
fn module(device: &wgpu::Device, file: &'static str, checked: bool, other_text: Option<&str>) -> wgpu::ShaderModule {
    let own = || SHADERS.iter().find(|(name, _)| *name == file).map_or("", |(_, text)| text);
    let source = other_text.unwrap_or_else(own);
    let descriptor =
        wgpu::ShaderModuleDescriptor { label: Some(file), source: wgpu::ShaderSource::Wgsl(source.into()) };
    if checked || other_text.is_some() {
        return device.create_shader_module(descriptor);
    }
    // SAFETY: without the checks a shader must not index out of bounds and must end its loops. Every load and store in shaders/
    // is masked by the sizes in Params; the planner gives each buffer at least the length that those sizes imply; the order and
    // the step number, which index other buffers, are made by this crate alone, for the length of the data set. A plan or a
    // buffer that a caller can write (verify::DeviceRunner) keeps the checks. Loops run over those same sizes. The parity tests
    // run every kernel with guard words behind every buffer, and once more with the checks on.
    unsafe { device.create_shader_module_trusted(descriptor, wgpu::ShaderRuntimeChecks::unchecked()) }
}
