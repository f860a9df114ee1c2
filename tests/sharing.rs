//! A device that belongs to an application: its own work, handlers and error scopes go on as if wgrad were not there.

#![cfg(all(feature = "gpu", feature = "blocking"))]
#![allow(clippy::print_stdout, reason = "the adapters and what was counted on them are the result of these tests")]

mod common;

use std::sync::atomic::Ordering;

use common::app::App;
use common::nets::{Arch, bits};
use pollster::block_on;
use wgrad::plan::PlanKind;
use wgrad::{Activation, Cost, Dataset, Device, Error, Network, Sgd, Trainer, wgpu};

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
            let is_told = match &result {
                // A step was taken since the host last knew the parameters, so that no other device can go on from there.
                Err(Error::ParametersLost { source }) => what == "fit" && matches!(**source, Error::DeviceLost { .. }),
                result => matches!(result, Err(Error::Gpu { .. } | Error::DeviceLost { .. })),
            };
            assert!(is_told, "{like}, {what}: {result:?}");
        }
        let _ = app.device.poll(wgpu::PollType::Poll);
        assert_eq!(app.losses.load(Ordering::SeqCst), 1, "{like}: the application's own callback");
    }
}

/// A device that was asked for with the least of limits has four storage buffers a stage, where a kernel of the fused plan takes eight:
/// the textbook plan takes four. With three there is no plan.
#[test]
fn a_device_with_few_storage_buffers_gets_the_textbook_plan_or_an_error_that_names_the_limit() {
    for like in common::adapters() {
        let app = |buffers: u32| {
            App::new(&like, |adapter| wgpu::Limits {
                max_storage_buffers_per_shader_stage: buffers
                    .min(adapter.limits().max_storage_buffers_per_shader_stage),
                ..adapter.limits()
            })
        };
        let (x, y) = arch().data(8, 2);
        for (buffers, kind) in [(8, PlanKind::Fused), (7, PlanKind::Textbook), (4, PlanKind::Textbook)] {
            let app = app(buffers);
            let mut net = arch().build(&app.wgrad(), PlanKind::Fused, 1);
            assert_eq!(net.plan(8).0, kind, "{like}: {buffers} buffers");
            let before = net.parameters().expect("parameters");
            net.update_mini_batch(&x, &y, arch().cost, Sgd::new(0.1)).expect("a step");
            assert_ne!(net.parameters().expect("parameters"), before);
            assert_eq!(app.errors(), Vec::<String>::new(), "{like}");
        }
        let app = app(3);
        let mut net = arch().build(&app.wgrad(), PlanKind::Fused, 1);
        let refused = net.update_mini_batch(&x, &y, arch().cost, Sgd::new(0.1));
        let limit = "max_storage_buffers_per_shader_stage";
        let named = |error: &Error| matches!(error, Error::Limit { limit: l, need: 4, have: 3, .. } if *l == limit);
        assert!(refused.as_ref().is_err_and(named), "{like}: {refused:?}");
        // What needs no more works.
        assert_eq!(net.predict(&x).expect("outputs").len(), y.len());
        assert_eq!(app.errors(), Vec::<String>::new(), "{like}");
    }
}
