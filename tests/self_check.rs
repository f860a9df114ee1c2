//! The self-check on every device: that it passes, what it covers, and that it can fail.

#![cfg(all(feature = "blocking", feature = "gpu"))]
#![allow(clippy::print_stdout, reason = "the adapters, the number of cases and the worst errors are the result")]

mod common;

use wgrad::kernel::{Kernel, SHADERS};
use wgrad::plan::PlanKind;
use wgrad::verify::{self, SelfCheck};
use wgrad::{Device, Error};

/// A second time nothing is left to compile, and it says the same.
#[test]
fn every_device_passes_twice() {
    for device in common::devices() {
        let [check, again] = [(); 2].map(|()| device.self_check().expect("the device runs every kernel"));
        println!("{check}\nand again: {:.2} s", again.seconds);
        check.result().unwrap_or_else(|error| panic!("{error}"));
        assert!(check.passed() && check.kernels.len() == Kernel::ALL.len() && check.plans.len() == PlanKind::ALL.len());
        for kernel in &check.kernels {
            let Some(limit) = &kernel.left_out else {
                assert!(kernel.cases >= 12, "{device}: {}", kernel.kernel.name());
                continue;
            };
            assert!(kernel.cases == 0 && common::has_less_than_webgpu(&device) && check.to_string().contains(limit));
            let needs = limit.split_once(" needs ").map_or(&**limit, |(_, needs)| needs);
            common::left_out(&format!("{device}: the self-check of {}", kernel.kernel.name()), needs);
        }
        assert!(check.kernels.iter().filter(|kernel| kernel.cases > 0).count() >= 15, "{device}");
        assert!(check.plans.iter().all(|plan| plan.steps > 0 && plan.trained == 12));

        let words = |check: &SelfCheck| serde_json::to_value((&check.kernels, &check.plans)).expect("numbers");
        assert_eq!(words(&check), words(&again));
        assert_eq!(check.driver.is_empty(), device.kind() == "cpu");
        let json = serde_json::to_value(&check).expect("numbers");
        assert_eq!(json["kernels"][0]["kernel"], "gather");
    }
}

/// A fault in a shader is found, and said with the kernel, the case, the element, and both numbers.
#[test]
fn a_fault_is_named() {
    let (_, text) = SHADERS.iter().find(|(name, _)| *name == "activation.wgsl").expect("the file");
    assert!(text.contains("case 1u: { return 1.0 - a * a; }"));
    let text = text.replace("case 1u: { return 1.0 - a * a; }", "case 1u: { return 1.001 - a * a; }");
    for device in common::adapters() {
        let check = pollster::block_on(verify::check_with_shader_async(&device, "activation.wgsl", &text));
        let check = check.expect("the device runs every kernel");
        assert!(check.checked && !check.passed() && check.to_string().contains("FAILED"));
        let failed: Vec<_> = check.kernels.iter().filter(|kernel| !kernel.passed()).map(|k| k.kernel).collect();
        assert_eq!(failed, [Kernel::ActivationPrime]);
        let message = check.result().expect_err("a fault").to_string();
        for word in
            ["kernel activation_prime: activation_prime ", " variant 1, buffer out: element ", ": got ", ", want "]
        {
            assert!(message.contains(word), "'{word}' in {message}");
        }
        println!("{message}");
    }
}

#[test]
fn only_shaders_that_there_are_have_another_text() {
    for device in common::adapters() {
        let refused = verify::with_shader(&device, "attention.wgsl", "");
        assert!(
            matches!(&refused, Err(Error::UnknownName { known, .. }) if known.contains("dense.wgsl")),
            "{refused:?}"
        );
        let broken = verify::with_shader(&device, "dropout.wgsl", "fn dropout() {").expect("a file that there is");
        let refused = broken.self_check();
        assert!(matches!(&refused, Err(Error::Gpu { during, .. }) if during.contains("dropout")), "{refused:?}");
    }
    let refused = verify::with_shader(&Device::cpu(), "dropout.wgsl", "");
    assert!(matches!(refused, Err(Error::InvalidOption { .. })), "{refused:?}");
}

/// Programs may wait for it on any thread.
#[test]
fn its_future_goes_to_other_threads() {
    fn assert_send<T: Send>(_: &T) {}
    let device = Device::cpu();
    let check = device.self_check_async();
    assert_send(&check);
    drop(check);
}
