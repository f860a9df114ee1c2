//! A device that belongs to an application: its own work, handlers and error scopes go on as if wgrad were not there.

#![cfg(all(feature = "gpu", feature = "blocking"))]
#![allow(clippy::print_stdout, reason = "the adapters and what was counted on them are the result of these tests")]

mod common;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use common::nets::{Arch, bits};
use pollster::block_on;
use wgrad::plan::PlanKind;
use wgrad::{Activation, Cost, Dataset, Device, Error, Network, Sgd, Trainer, wgpu};

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
struct App {
    device: wgpu::Device,
    queue: wgpu::Queue,
    info: wgpu::AdapterInfo,
    buffer: wgpu::Buffer,
    pipeline: wgpu::ComputePipeline,
    bind_group: wgpu::BindGroup,
    steps: u32,
    errors: Arc<Mutex<Vec<String>>>,
    losses: Arc<AtomicUsize>,
}

impl App {
    /// On the adapter that this wgrad device is on, with the limits that the application asks for.
    fn new(like: &Device, limits: impl Fn(&wgpu::Adapter) -> wgpu::Limits) -> Self {
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

    fn wgrad(&self) -> Device {
        Device::from_wgpu(self.device.clone(), self.queue.clone(), self.info.clone())
    }

    /// Records a step of the application, for it to submit when it likes.
    fn encode(&mut self) -> wgpu::CommandEncoder {
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
    fn step(&mut self) {
        let encoder = self.encode();
        self.queue.submit([encoder.finish()]);
    }

    /// The buffer as it is now, and as it has to be.
    fn numbers(&self) -> [Vec<u32>; 2] {
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

    fn errors(&self) -> Vec<String> {
        self.errors.lock().expect("the list of errors").clone()
    }

    /// Asks for a buffer that cannot be.
    fn make_a_mistake(&self) {
        let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::MAP_WRITE | wgpu::BufferUsages::STORAGE;
        let label = Some("mistake of the application");
        let _ =
            self.device.create_buffer(&wgpu::BufferDescriptor { label, size: 16, usage, mapped_at_creation: false });
    }
}

fn arch() -> Arch {
    Arch::new(12, &[(20, Activation::Tanh), (4, Activation::Softmax)], Cost::CategoricalCrossEntropy)
}

/// Rounds of training, with the application's work wherever it fits in; alone if there is none. The bits of the parameters
/// after each round.
fn rounds(device: &Device, kind: PlanKind, mut app: Option<&mut App>) -> Vec<u32> {
    let arch = arch();
    let mut net = arch.build(device, kind, 3);
    let (x, y) = arch.data(50, 4);
    let data = Dataset::new(x.clone(), 12, y.clone(), 4).expect("data");
    let mut seen = Vec::new();
    for round in 0..4 {
        if let Some(app) = app.as_deref_mut() {
            app.step();
        }
        net.update_mini_batch(&x, &y, arch.cost, Sgd::new(0.1)).expect("a step");
        let begun = app.as_deref_mut().map(|app| {
            app.step();
            // Recorded before wgrad trains, submitted after.
            app.encode()
        });
        let mut trainer = Trainer::new(arch.cost, Sgd::new(0.2)).batch_size(8).epochs(2).seed(round);
        trainer.fit(&mut net, &data, Some(&data)).expect("training");
        if let (Some(app), Some(begun)) = (app.as_deref_mut(), begun) {
            app.queue.submit([begun.finish()]);
            if round % 2 == 1 {
                let [got, want] = app.numbers();
                assert!(got == want, "round {round}");
            }
        }
        net.update_mini_batch(&x[..24], &y[..8], arch.cost, Sgd::new(0.1)).expect("a step");
        seen.extend(bits(&net.parameters().expect("parameters")));
    }
    seen
}

#[test]
fn the_application_and_wgrad_take_turns_on_one_queue() {
    for like in common::adapters() {
        for kind in PlanKind::ALL {
            let alone = rounds(&like, kind, None);
            let mut app = App::new(&like, wgpu::Adapter::limits);
            let device = app.wgrad();
            assert_eq!((device.adapter(), device.reason()), (like.adapter(), "the application gave it"));
            let together = rounds(&device, kind, Some(&mut app));
            assert!(alone == together, "{device}, {kind} plan: other parameters than alone");
            let [got, want] = app.numbers();
            assert!(got == want, "{device}, {kind} plan: the application's numbers");
            // The comparison can fail: one step less is another buffer.
            app.steps -= 1;
            let [got, want] = app.numbers();
            assert_eq!((app.steps, got != want), (11, true));
            assert_eq!((app.errors(), app.losses.load(Ordering::SeqCst)), (Vec::new(), 0), "{device}");
            println!("{device}, {kind} plan: 12 passes of the application among {} numbers of wgrad", together.len());
        }
    }
}

#[test]
fn errors_of_the_application_reach_its_own_handler() {
    for like in common::adapters() {
        let app = App::new(&like, wgpu::Adapter::limits);
        let mut net = arch().build(&app.wgrad(), PlanKind::Fused, 1);
        let (x, y) = arch().data(8, 2);
        let mut train = || net.update_mini_batch(&x, &y, arch().cost, Sgd::new(0.1)).and_then(|()| net.parameters());
        train().expect("a step");
        assert_eq!(app.errors(), Vec::<String>::new());
        app.make_a_mistake();
        let errors = app.errors();
        assert!(errors.len() == 1 && errors[0].contains("mistake of the application"), "{like}: {errors:?}");
        // It is no business of wgrad's, and does not stop it.
        train().expect("a step after a mistake of the application");
        assert_eq!(app.errors().len(), 1, "{like}");
    }
}

#[test]
fn errors_of_wgrad_reach_neither_handler_nor_scopes_of_the_application() {
    for like in common::adapters() {
        let app = App::new(&like, wgpu::Adapter::limits);
        let device = app.wgrad();
        let scope = app.device.push_error_scope(wgpu::ErrorFilter::Validation);
        let refused = Network::new(40_000).dense(40_000, Activation::Relu).build(&device);
        assert!(matches!(refused, Err(Error::Limit { .. } | Error::OutOfMemory { .. })), "{like}: {refused:?}");
        let mut net = arch().build(&device, PlanKind::Textbook, 1);
        let (x, y) = arch().data(8, 2);
        net.update_mini_batch(&x, &y, arch().cost, Sgd::new(0.1)).expect("a step");
        // The application's scope is still the innermost, and gets the application's error.
        app.make_a_mistake();
        net.update_mini_batch(&x, &y, arch().cost, Sgd::new(0.1)).expect("a step");
        let caught = block_on(scope.pop()).map(|error| error.to_string());
        let told = caught.as_ref().is_some_and(|error| error.contains("mistake of the application"));
        assert!(told, "{like}: {caught:?}");
        let scope = app.device.push_error_scope(wgpu::ErrorFilter::Validation);
        net.parameters().expect("parameters");
        assert!(block_on(scope.pop()).is_none(), "{like}");
        assert_eq!(app.errors(), Vec::<String>::new(), "{like}");
    }
}

/// The application may destroy its device: it is told, and wgrad's calls are errors.
#[test]
fn a_destroyed_device_is_an_error_and_the_application_is_told() {
    for like in common::adapters() {
        let app = App::new(&like, wgpu::Adapter::limits);
        let mut net = arch().build(&app.wgrad(), PlanKind::Fused, 1);
        let (x, y) = arch().data(8, 2);
        net.update_mini_batch(&x, &y, arch().cost, Sgd::new(0.1)).expect("a step");
        net.parameters().expect("parameters");
        assert_eq!(app.losses.load(Ordering::SeqCst), 0);
        app.device.destroy();
        // A step waits for nothing, so it need not know yet.
        let step = net.update_mini_batch(&x, &y, arch().cost, Sgd::new(0.1));
        println!("{like}: a step on a destroyed device: {step:?}");
        let data = Dataset::new(x.clone(), 12, y.clone(), 4).expect("data");
        let mut trainer = Trainer::new(arch().cost, Sgd::new(0.1)).epochs(1);
        for (what, result) in [
            ("parameters", net.parameters().map(|_| ())),
            ("predict", net.predict(&x).map(|_| ())),
            ("fit", trainer.fit(&mut net, &data, None).map(|_| ())),
            (
                "build",
                Network::new(2)
                    .dense(1, Activation::Relu)
                    .build(&app.wgrad())
                    .and_then(|net| net.parameters())
                    .map(|_| ()),
            ),
        ] {
            println!("{like}: {what} on a destroyed device: {result:?}");
            assert!(matches!(result, Err(Error::Gpu { .. } | Error::DeviceLost { .. })), "{like}, {what}: {result:?}");
        }
        let _ = app.device.poll(wgpu::PollType::Poll);
        assert_eq!(app.losses.load(Ordering::SeqCst), 1, "{like}: the application's own callback");
    }
}

/// A device that was asked for with the least of limits has four storage buffers a stage, where a kernel takes eight.
#[test]
fn a_device_with_too_low_limits_is_an_error_that_names_the_limit() {
    for like in common::adapters() {
        let app =
            App::new(&like, |adapter| wgpu::Limits { max_storage_buffers_per_shader_stage: 4, ..adapter.limits() });
        let mut net = arch().build(&app.wgrad(), PlanKind::Fused, 1);
        let (x, y) = arch().data(8, 2);
        let refused = net.update_mini_batch(&x, &y, arch().cost, Sgd::new(0.1));
        let limit = "max_storage_buffers_per_shader_stage";
        let named = |error: &Error| matches!(error, Error::Limit { limit: l, need: 8, have: 4, .. } if *l == limit);
        assert!(refused.as_ref().is_err_and(named), "{like}: {refused:?}");
        // What needs no more works.
        assert_eq!(net.predict(&x).expect("outputs").len(), y.len());
        assert_eq!(app.errors(), Vec::<String>::new(), "{like}");
    }
}
