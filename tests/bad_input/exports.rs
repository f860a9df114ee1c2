//! Networks as other things, and other things as networks; devices by name and with limits.

use wgrad::export::{Onnx, Weights as Places, Wgsl};
use wgrad::kernel::Tiling;
use wgrad::plan::Limits;
use wgrad::{Activation, Cost, Dataset, Device, Network, Sgd, Trainer, Weights};

use crate::{COUNTS, kind, refused};

fn net() -> Network {
    Network::new(2).dense(3, Activation::Tanh).dense(2, Activation::Softmax).build(&Device::cpu()).expect("a network")
}

#[test]
fn exports_of_any_settings() {
    let net = net();
    for version in [i64::MIN, -1, 0, 19, 20, 28, 29, i64::MAX] {
        let made = net.to_onnx(&Onnx::new().opset(version));
        assert_eq!(made.is_ok(), (20..=28).contains(&version), "opset {version}");
        assert!(made.is_ok() || made.is_err_and(|error| ["option", "export"].contains(&kind(&error))));
    }
    for name in ["", "fn", "a b", "\u{0}", "net\n}", &"n".repeat(100_000), "__x", "1"] {
        let made = net.to_wgsl(&Wgsl::new(name));
        assert!(made.is_ok() == name.starts_with("nn") && made.is_ok() | made.is_err_and(|e| kind(&e) == "option"));
    }
    for [group, binding] in [[0, 0], [3, 999], [0, u32::MAX], [u32::MAX, 0], [1 << 31, 1 << 31]] {
        let place = Places::Storage { group, binding };
        match net.to_wgsl(&Wgsl::new("net").weights(place)) {
            Ok(function) => {
                let parsed = naga::front::wgsl::parse_str(&function.source);
                assert!(parsed.is_ok(), "group {group}, binding {binding}: {:?}", parsed.err());
            }
            Err(error) => assert_eq!(kind(&error), "option", "{error}"),
        }
    }
}

#[test]
fn what_is_no_model() {
    let device = Device::cpu();
    for bytes in [&[][..], &[0], &[0x08], &[0xff; 64], b"<html>", &[0x3a, 0xff, 0xff, 0xff, 0xff, 0x0f]] {
        assert!(Network::from_onnx(bytes, &device).is_err_and(|error| kind(&error) == "file"), "{bytes:?}");
        refused(Network::from_bytes(bytes, &device), "file", "a network");
        refused(Trainer::from_bytes(bytes, &device), "file", "a run");
        refused(Weights::from_bytes(bytes), "file", "weights");
    }
    for path in ["", "no such file", "nul\0", "/"] {
        let results = [
            Network::read_onnx(path, &device).map(drop),
            Network::load(path, &device).map(drop),
            Trainer::resume(path, &device).map(drop),
            Weights::read(path).map(drop),
            Weights::read_converted(path).map(drop),
            net().save(if path == "no such file" { "no such folder/x" } else { path }),
        ];
        for (i, result) in results.into_iter().enumerate() {
            assert!(result.is_err_and(|error| ["io", "file"].contains(&kind(&error))), "{i}: '{path}'");
        }
    }
    let weights = Weights::from_bytes(&net().to_bytes().expect("bytes")).expect("weights");
    for activations in [vec![], vec![Activation::Tanh; 3], vec![Activation::Softmax; 2]] {
        let made = weights.network(&activations, &device);
        assert!(made.is_err_and(|error| ["shape", "architecture"].contains(&kind(&error))), "{activations:?}");
    }
    let mut other = Network::new(2).dense(2, Activation::Tanh).build(&device).expect("a network");
    let before = other.parameters().expect("parameters");
    assert!(weights.give(&mut other).is_err() && other.parameters().expect("parameters") == before);
}

/// A device with less of anything than it has computes, or says which limit it is that does not let it.
#[test]
fn devices_of_any_limits() {
    let data = Dataset::with_labels((0..20).map(|i| i as f32).collect(), 2, vec![0, 1, 0, 1, 1, 0, 0, 1, 1, 0], 2);
    let data = data.expect("data");
    let (mut trained, mut named) = (0, 0);
    for device in crate::common::devices() {
        let change: [fn(&mut Limits, u64); 8] = [
            |limits, n| limits.max_groups = u32::try_from(n).unwrap_or(u32::MAX),
            |limits, n| limits.max_storage_buffers = u32::try_from(n).unwrap_or(u32::MAX),
            |limits, n| limits.max_workgroup_bytes = u32::try_from(n).unwrap_or(u32::MAX),
            |limits, n| limits.max_binding_bytes = n,
            |limits, n| limits.max_data_bytes = n,
            |limits, n| limits.max_iterations = n,
            |limits, n| limits.lanes = u32::try_from(n).unwrap_or(u32::MAX),
            |limits, n| (limits.persistent_up_to, limits.output_layer_up_to) = (n, n),
        ];
        for change in change {
            for most in [0, 1, 7, u64::MAX] {
                let mut limits = Limits::HOST;
                change(&mut limits, most);
                let small = device.clone().with_limits(limits);
                let run = || {
                    let net = Network::new(2).dense(3, Activation::Tanh).dense(2, Activation::Sigmoid);
                    let mut net = net.build(&small)?;
                    Trainer::new(Cost::Quadratic, Sgd::new(0.1))
                        .epochs(1)
                        .fit(&mut net, &data, Some(&data))
                        .map(drop)?;
                    net.predict_on_device(&[1.0, 2.0]).map(drop)
                };
                match run() {
                    Ok(()) => trained += 1,
                    Err(error) => {
                        named += 1;
                        assert_eq!(kind(&error), "limit", "{device}, {limits:?}: {error}");
                    }
                }
            }
        }
        for bytes in [0, 1, u64::MAX] {
            let small = device.clone().with_data_memory(bytes);
            assert!(small.limits().max_data_bytes <= bytes);
        }
        let odd = device.clone().with_tiling(Tiling::Workgroup { busy: u32::MAX });
        let net = Network::new(2).dense(2, Activation::Sigmoid).build(&odd).expect("a network");
        assert_eq!(net.predict_on_device(&[1.0, 2.0]).expect("outputs").len(), 2, "{device}");
    }
    println!("{trained} runs under small limits, {named} refused by the name of the limit");
    assert!(trained > 10 && named > 4);
    for threads in COUNTS {
        assert_eq!(Device::cpu_with_threads(threads).kind(), "cpu");
    }
}

/// An adapter that cannot have such limits is no panic.
#[cfg(feature = "gpu")]
#[test]
fn devices_asked_for_with_any_limits() {
    use wgrad::wgpu::Limits as Asked;
    for device in crate::common::adapters() {
        let name = std::env::var("WGRAD_DEVICE").unwrap_or_default();
        if name.is_empty() {
            println!("SKIPPED: {device}: several adapters may be meant, WGRAD_DEVICE names one");
            continue;
        }
        let limits = [
            Asked { max_storage_buffer_binding_size: u64::MAX, ..Default::default() },
            Asked { max_bind_groups: 0, max_storage_buffers_per_shader_stage: 0, ..Default::default() },
            Asked { max_compute_workgroups_per_dimension: 0, ..Default::default() },
            Asked { max_buffer_size: 0, ..Default::default() },
        ];
        for limits in limits {
            match Device::named_with_limits(&name, &limits) {
                Err(error) => println!("{name}: {error}"),
                Ok(small) => {
                    let net = Network::new(2).dense(2, Activation::Sigmoid).build(&small);
                    let asked = net.and_then(|net| net.predict_on_device(&[1.0, 2.0]));
                    println!("{name}: {asked:?}");
                }
            }
        }
    }
}
