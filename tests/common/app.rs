//! A device that belongs to an application, with work of its own on it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use pollster::block_on;
use wgrad::{Device, wgpu};

/// Numbers in the application's buffer.
const COUNT: u32 = 1000;

/// A step of a linear congruential generator for each number: any that is lost, doubled or out of order shows.
const APP_SHADER: &str = "
@group(0) @binding(0) var<storage, read_write> numbers: array<u32>;
@compute @workgroup_size(64)
fn step(@builtin(global_invocation_id) id: vec3<u32>) {
    if (id.x < arrayLength(&numbers)) { numbers[id.x] = numbers[id.x] * 1664525u + 1013904223u + id.x; }
}";

/// An application with a device of its own.
pub struct App {
    pub device: wgpu::Device,
    pub queue: wgpu::Queue,
    pub info: wgpu::AdapterInfo,
    pub buffer: wgpu::Buffer,
    pub pipeline: wgpu::ComputePipeline,
    pub bind_group: wgpu::BindGroup,
    pub steps: u32,
    pub errors: Arc<Mutex<Vec<String>>>,
    pub losses: Arc<AtomicUsize>,
}

impl App {
    /// On the adapter that this wgrad device is on, with the limits that the application asks for.
    pub fn new(like: &Device, limits: impl Fn(&wgpu::Adapter) -> wgpu::Limits) -> Self {
        let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
        let named =
            |info: &wgpu::AdapterInfo| like.adapter().starts_with(&format!("{} ({}, ", info.name, info.backend));
        let adapters = block_on(instance.enumerate_adapters(wgpu::Backends::all()));
        let adapter = adapters.into_iter().find(|adapter| named(&adapter.get_info())).expect("the adapter again");
        let required_limits = limits(&adapter);
        let descriptor = wgpu::DeviceDescriptor { required_limits, ..Default::default() };
        let (device, queue) = block_on(adapter.request_device(&descriptor)).expect("a device for the application");
        let errors = Arc::new(Mutex::new(Vec::new()));
        let list = Arc::clone(&errors);
        device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| {
            list.lock().expect("the list of errors").push(error.to_string());
        }));
        let losses = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&losses);
        device.set_device_lost_callback(move |_, _| {
            counter.fetch_add(1, Ordering::SeqCst);
        });

        let buffer = device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("numbers of the application"),
            size: u64::from(COUNT) * 4,
            usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        let first: Vec<u8> = (0..COUNT).flat_map(u32::to_le_bytes).collect();
        queue.write_buffer(&buffer, 0, &first);
        let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
            label: None,
            source: wgpu::ShaderSource::Wgsl(APP_SHADER.into()),
        });
        let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: None,
            layout: None,
            module: &module,
            entry_point: Some("step"),
            compilation_options: wgpu::PipelineCompilationOptions::default(),
            cache: None,
        });
        let bind_group = device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: None,
            layout: &pipeline.get_bind_group_layout(0),
            entries: &[wgpu::BindGroupEntry { binding: 0, resource: buffer.as_entire_binding() }],
        });
        let info = adapter.get_info();
        Self { device, queue, info, buffer, pipeline, bind_group, steps: 0, errors, losses }
    }

    pub fn wgrad(&self) -> Device {
        Device::from_wgpu(self.device.clone(), self.queue.clone(), self.info.clone())
    }

    /// Records a step of the application, for it to submit when it likes.
    pub fn encode(&mut self) -> wgpu::CommandEncoder {
        let mut encoder = self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        pass.set_pipeline(&self.pipeline);
        pass.set_bind_group(0, &self.bind_group, &[]);
        pass.dispatch_workgroups(COUNT.div_ceil(64), 1, 1);
        drop(pass);
        self.steps += 1;
        encoder
    }

    /// Submits a step and waits for nothing.
    pub fn step(&mut self) {
        let encoder = self.encode();
        self.queue.submit([encoder.finish()]);
    }

    /// The buffer as it is now, and as it has to be.
    pub fn numbers(&self) -> [Vec<u32>; 2] {
        let size = self.buffer.size();
        let staging = self.device.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size,
            usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        let mut encoder = self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        encoder.copy_buffer_to_buffer(&self.buffer, 0, &staging, 0, Some(size));
        self.queue.submit([encoder.finish()]);
        staging.slice(..).map_async(wgpu::MapMode::Read, |result| result.expect("the application can read"));
        self.device.poll(wgpu::PollType::wait_indefinitely()).expect("the application can wait");
        let view = staging.slice(..).get_mapped_range().expect("mapped");
        let got = view.chunks_exact(4).map(|word| u32::from_le_bytes(word.try_into().expect("four bytes"))).collect();
        let step = |x: u32, id: u32| x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223).wrapping_add(id);
        let want = (0..COUNT).map(|id| (0..self.steps).fold(id, |x, _| step(x, id))).collect();
        [got, want]
    }

    pub fn errors(&self) -> Vec<String> {
        self.errors.lock().expect("the list of errors").clone()
    }

    /// Asks for a buffer that cannot be.
    pub fn make_a_mistake(&self) {
        let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::MAP_WRITE | wgpu::BufferUsages::STORAGE;
        let label = Some("mistake of the application");
        let _ =
            self.device.create_buffer(&wgpu::BufferDescriptor { label, size: 16, usage, mapped_at_creation: false });
    }
}
