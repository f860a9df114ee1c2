//! The WGSL export: valid by naga, and run in an application's shader on every adapter.

use naga::valid::{Capabilities, ValidationFlags, Validator};
use pollster::block_on;
use wgrad::export::{Weights, Wgsl, WgslFunction};
use wgrad::{Activation, Device, Error, Network, wgpu};

use crate::bound::{Worst, compare};
use crate::cases::{ROWS, cases};
use crate::common::adapters;

fn validate(source: &str) {
    let module = naga::front::wgsl::parse_str(source)
        .unwrap_or_else(|error| panic!("{}\n{source}", error.emit_to_string(source)));
    let checked = Validator::new(ValidationFlags::all(), Capabilities::empty()).validate(&module);
    checked.unwrap_or_else(|error| panic!("{}\n{source}", error.emit_to_string(source)));
}

/// An application's shader around the function: one invocation a row.
fn shader(function: &WgslFunction, name: &str, [inputs, outputs]: [usize; 2]) -> String {
    format!(
        "{}
@group(0) @binding(0) var<storage, read> rows: array<f32>;
@group(0) @binding(1) var<storage, read_write> answers: array<f32>;
@compute @workgroup_size(1)
fn app(@builtin(global_invocation_id) id: vec3<u32>) {{
    var x: array<f32, {inputs}>;
    for (var i = 0u; i < {inputs}u; i++) {{ x[i] = rows[id.x * {inputs}u + i]; }}
    var y = {name}(x);
    for (var j = 0u; j < {outputs}u; j++) {{ answers[id.x * {outputs}u + j] = y[j]; }}
}}
",
        function.source
    )
}

/// A wgpu device of the application, on the adapter that this wgrad device is on.
fn open(like: &Device) -> (wgpu::Device, wgpu::Queue) {
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
    let named = |info: &wgpu::AdapterInfo| like.adapter().starts_with(&format!("{} ({}, ", info.name, info.backend));
    let adapters = block_on(instance.enumerate_adapters(wgpu::Backends::all()));
    let adapter = adapters.into_iter().find(|adapter| named(&adapter.get_info())).expect("the adapter again");
    block_on(adapter.request_device(&wgpu::DeviceDescriptor::default())).expect("a device for the application")
}

fn buffer(device: &wgpu::Device, size: usize, usage: wgpu::BufferUsages) -> wgpu::Buffer {
    device.create_buffer(&wgpu::BufferDescriptor { label: None, size: size as u64, usage, mapped_at_creation: false })
}

/// What the function returns for the rows, and how long compiling and running it took, in milliseconds.
fn run(
    (device, queue): &(wgpu::Device, wgpu::Queue),
    net: &Network,
    function: &WgslFunction,
    name: &str,
    x: &[f32],
) -> (Vec<f32>, [f64; 2]) {
    let source = shader(function, name, [net.inputs(), net.outputs()]);
    validate(&source);
    let start = std::time::Instant::now();
    let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
        label: None,
        source: wgpu::ShaderSource::Wgsl(source.into()),
    });
    let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: None,
        layout: None,
        module: &module,
        entry_point: Some("app"),
        compilation_options: wgpu::PipelineCompilationOptions::default(),
        cache: None,
    });
    let compiled = start.elapsed().as_secs_f64() * 1e3;
    let rows = x.len() / net.inputs();
    let bytes = |numbers: &[f32]| numbers.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<_>>();
    let storage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::COPY_SRC;
    let given = buffer(device, x.len() * 4, storage);
    queue.write_buffer(&given, 0, &bytes(x));
    let size = rows * net.outputs() * 4;
    let answers = buffer(device, size, storage);
    queue.write_buffer(&answers, 0, &vec![0xff; size]);
    let back = buffer(device, size, wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST);
    let group = |index, entries: &[(u32, &wgpu::Buffer)]| {
        let entries: Vec<_> = entries
            .iter()
            .map(|&(binding, buffer)| wgpu::BindGroupEntry { binding, resource: buffer.as_entire_binding() })
            .collect();
        let layout = pipeline.get_bind_group_layout(index);
        device.create_bind_group(&wgpu::BindGroupDescriptor { label: None, layout: &layout, entries: &entries })
    };
    let own = group(0, &[(0, &given), (1, &answers)]);
    let weights = function.binding.map(|[index, binding]| {
        let weights = buffer(device, function.bytes().len(), storage);
        queue.write_buffer(&weights, 0, &function.bytes());
        (index, group(index, &[(binding, &weights)]))
    });
    let start = std::time::Instant::now();
    let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
    {
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        pass.set_pipeline(&pipeline);
        pass.set_bind_group(0, &own, &[]);
        if let Some((index, weights)) = &weights {
            pass.set_bind_group(*index, weights, &[]);
        }
        pass.dispatch_workgroups(u32::try_from(rows).unwrap(), 1, 1);
    }
    encoder.copy_buffer_to_buffer(&answers, 0, &back, 0, size as u64);
    queue.submit([encoder.finish()]);
    back.map_async(wgpu::MapMode::Read, .., |mapped| mapped.expect("mapped"));
    device.poll(wgpu::PollType::wait_indefinitely()).expect("a poll");
    let ran = start.elapsed().as_secs_f64() * 1e3;
    let bytes = back.get_mapped_range(..).expect("a range").to_vec();
    (bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect(), [compiled, ran])
}

const STORAGE: Weights = Weights::Storage { group: 1, binding: 3 };

#[test]
fn the_function_computes_what_predict_does() {
    for adapter in adapters() {
        let device = open(&adapter);
        let mut worst = Worst::default();
        let mut count = 0;
        for (case, weights) in cases()
            .into_iter()
            .flat_map(|case| [(case, Weights::Constants)])
            .chain(cases().into_iter().map(|case| (case, STORAGE)))
        {
            let name = if weights == STORAGE { "brain" } else { case.name.as_str() };
            let function = case.net.to_wgsl(&Wgsl::new(name).weights(weights)).unwrap();
            validate(&function.source);
            assert_eq!(function.binding, (weights == STORAGE).then_some([1, 3]));
            assert_eq!(function.bytes().len(), if weights == STORAGE { 4 * case.net.parameter_count() } else { 0 });
            let (got, _) = run(&device, &case.net, &function, name, &case.x);
            assert_eq!(got.len(), ROWS * case.net.outputs());
            worst.merge(
                compare(&case.net, &case.x, &got)
                    .unwrap_or_else(|problem| panic!("{}: {problem}\n{}", case.name, function.source)),
            );
            count += 1;
        }
        println!(
            "WGSL export on {adapter}: {count} functions, {} outputs, largest difference from predict {:.2e}, {:.3} of the bound",
            worst.values, worst.difference, worst.ratio
        );
        assert!(count > 160 && worst.ratio > 0.0);
    }
}

#[test]
fn small_networks_have_constants_and_others_a_buffer() {
    let net = |inputs, wide| Network::new(inputs).dense(wide, Activation::Relu).build(&Device::cpu()).unwrap();
    let small = net(15, 32).to_wgsl(&Wgsl::default()).unwrap();
    assert!(
        small.binding.is_none()
            && small.parameters.is_empty()
            && small.source.contains("fn net(x: array<f32, 15>) -> array<f32, 32>")
    );
    let (large, arena) = (net(16, 32), net(16, 32).parameters().unwrap());
    let function = large.to_wgsl(&Wgsl::default()).unwrap();
    assert_eq!(function.binding, Some([0, 0]));
    assert_eq!(function.parameters, arena);
    assert!(function.source.contains("@group(0) @binding(0) var<storage, read> net_parameters: array<f32>;"));

    // As many constants as can be asked for, and more.
    let constants = Wgsl::new("net").weights(Weights::Constants);
    validate(&net(63, 64).to_wgsl(&constants).unwrap().source);
    let error = net(64, 64).to_wgsl(&constants).unwrap_err();
    assert!(matches!(error, Error::Export { format: "WGSL", .. }));
    assert!(error.to_string().contains("4160 parameters") && error.to_string().contains("Weights::Storage"), "{error}");
}

#[test]
fn what_has_no_room_is_refused() {
    let net = |inputs| Network::new(inputs).dense(40, Activation::Relu).build(&Device::cpu()).unwrap();
    validate(&net(2000).to_wgsl(&Wgsl::default()).unwrap().source);
    let error = net(2001).to_wgsl(&Wgsl::default()).unwrap_err();
    assert!(
        matches!(error, Error::Export { format: "WGSL", .. }) && error.to_string().contains("8192 bytes"),
        "{error}"
    );
}

/// Any name that is taken is valid, and those that are not would be wrong by naga, or hide something.
#[test]
fn names_are_identifiers_that_collide_with_nothing() {
    let net =
        Network::new(2).dense(3, Activation::GeluTanh).dense(2, Activation::Softmax).build(&Device::cpu()).unwrap();
    for name in ["x", "z", "i", "j", "m", "sum", "a0", "a1", "f_tanh", "e", "t", "_n", "Net", "net_w1"] {
        for weights in [Weights::Constants, STORAGE] {
            let function = net.to_wgsl(&Wgsl::new(name).weights(weights)).unwrap();
            validate(&function.source);
            // And beside what an application declares.
            validate(&format!("{}\nfn app() -> f32 {{ return {name}(array(1.0, 2.0))[1]; }}\n", function.source));
        }
    }
    let words = naga::keywords::wgsl::RESERVED.iter().chain(naga::keywords::wgsl::BUILTIN_IDENTIFIERS);
    for name in words.copied().chain(["", "_", "__net", "1net", "a-b", "a b", "é", "vec2f", "mat4x4f"]) {
        let error = net.to_wgsl(&Wgsl::new(name)).unwrap_err();
        assert!(matches!(error, Error::InvalidOption { .. }), "{name}: {error}");
    }
}

/// How long constants and a buffer take: `cargo test --release --test export -- --ignored --nocapture constants`.
#[test]
#[ignore = "a measurement"]
fn constants_take_so_long() {
    for adapter in adapters() {
        let device = open(&adapter);
        for wide in [8, 16, 22, 32, 45, 60] {
            let net = Network::new(wide)
                .dense(wide, Activation::Tanh)
                .dense(2, Activation::Identity)
                .build(&Device::cpu())
                .unwrap();
            let x = crate::common::nets::Numbers(1).many(4096 * wide);
            for weights in [Weights::Constants, STORAGE] {
                let function = net.to_wgsl(&Wgsl::new("net").weights(weights)).unwrap();
                let times: Vec<_> = (0..3).map(|_| run(&device, &net, &function, "net", &x).1).collect();
                let best = |at: usize| times.iter().map(|time| time[at]).fold(f64::MAX, f64::min);
                println!(
                    "{adapter}: {} parameters, {weights:?}: compiled in {:.1} ms, 4096 rows in {:.2} ms",
                    net.parameter_count(),
                    best(0),
                    best(1)
                );
            }
        }
    }
}
