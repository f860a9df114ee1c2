//! Devices that are lost before a run has kept anything: what the host knows of the parameters is enough, or the error says that they
//! are gone.

use std::ops::ControlFlow;

use wgrad::plan::PlanKind;
use wgrad::{Activation, Adam, Cost, Device, Error, Event, Network, Trainer};

use super::app::{App, data, net, timeless, trainer};
use super::common;
use super::common::nets::{Numbers, bits};

/// How a network and its trainer come about.
type Make = fn(&Device, PlanKind) -> (Network, Trainer<'static>);

/// What is done to a network on its device.
type Train = fn(&mut Network);

/// A step that leaves parameters and an optimiser's memory which only the device has.
fn step(net: &mut Network) {
    let (x, y) = ([0.5; 5], [0.0, 1.0, 0.0]);
    net.update_mini_batch(&x, &y, Cost::BinaryCrossEntropy, Adam::new(0.1)).expect("a step");
}

/// Other parameters than those that were drawn.
fn numbers(net: &Network) -> Vec<f32> {
    Numbers(9).many(net.parameter_count()).iter().map(|x| 0.3 * x).collect()
}

fn given(net: &mut Network) {
    let parameters = numbers(net);
    net.set_parameters(&parameters).expect("parameters");
}

fn built(device: &Device, kind: PlanKind) -> (Network, Trainer<'static>) {
    (net(device, kind), trainer())
}

/// A run of which eight steps are done.
fn resumed(device: &Device, kind: PlanKind) -> (Network, Trainer<'static>) {
    let mut net = net(&Device::cpu(), kind);
    let trainer = Trainer::new(Cost::BinaryCrossEntropy, Adam::new(0.01)).batch_size(4).seed(11).epochs(3);
    let mut run = trainer.start(&mut net, &data(1)).expect("a start");
    let mut done = 0;
    while done < 8 {
        done += run.step_for(std::time::Duration::ZERO).expect("a step").steps;
    }
    Trainer::from_bytes(&run.to_bytes().expect("bytes"), device).expect("the run")
}

#[test]
fn a_device_that_is_lost_before_the_run_costs_no_bit() {
    let ways: [(&str, Make); 6] = [
        ("built", built),
        ("given its parameters", |device, kind| {
            let (mut net, trainer) = built(device, kind);
            given(&mut net);
            (net, trainer)
        }),
        ("given its parameters once more, its optimiser having begun", |device, kind| {
            let (mut net, trainer) = built(device, kind);
            step(&mut net);
            net.reset_optimizer().expect("nothing remembered");
            given(&mut net);
            (net, trainer)
        }),
        ("loaded", |device, kind| {
            let bytes = net(&Device::cpu(), kind).to_bytes().expect("bytes");
            (Network::from_bytes(&bytes, device).expect("a net"), trainer())
        }),
        ("resumed", resumed),
        ("left by a run with its best parameters", |device, kind| {
            let (mut net, trainer) = built(device, kind);
            { trainer }.fit(&mut net, &data(1), Some(&data(2))).expect("a run");
            assert!(net.optimizer_steps() > 0);
            (net, self::trainer())
        }),
    ];
    for like in common::adapters() {
        let app = App::new(&like);
        let mut losses = 0;
        for kind in PlanKind::ALL {
            for (what, make) in ways {
                let (mut net, trainer) = make(&app.device(), kind);
                let history = { trainer }.fit(&mut net, &data(1), Some(&data(2))).expect("a run");
                let want = (bits(&net.parameters().expect("parameters")), timeless(history));

                let (mut net, trainer) = make(&app.device(), kind);
                let before = bits(&net.parameters().expect("parameters"));
                app.destroy();
                let known = bits(&net.parameters().expect("what the host knows"));
                assert!(known == before, "{like}, {kind}, {what}: other parameters without the device");
                let mut recovered = 0;
                let trainer = trainer.recovery(app.recovery()).on_event(|event| {
                    recovered += usize::from(matches!(event, Event::Recovered { epoch: 1 | 2, step: 0 | 2, .. }));
                    ControlFlow::Continue(())
                });
                let history = { trainer }.fit(&mut net, &data(1), Some(&data(2))).expect("a run that goes on");
                let end = (bits(&net.parameters().expect("parameters")), timeless(history));
                assert!(end == want && recovered == 1, "{like}, {kind}, {what}: {recovered} times, other bits");
                losses += recovered;
            }
        }
        println!("{like}: {losses} losses before a run, each to the same bits");
    }
}

#[test]
fn parameters_that_only_the_device_had_are_an_error_that_says_so() {
    let ways: [(&str, Train); 3] = [
        ("a step by hand", step),
        ("parameters are given, but what the optimiser remembers is on the device", |net| {
            step(net);
            given(net);
        }),
        ("a run", |net| {
            let mut trainer = Trainer::new(Cost::BinaryCrossEntropy, Adam::new(0.01)).epochs(1);
            trainer.fit(net, &data(1), None).expect("a run");
        }),
    ];
    for like in common::adapters() {
        let app = App::new(&like);
        let refused = |net: &mut Network, what: &str| {
            app.destroy();
            let error = trainer().recovery(app.recovery()).fit(net, &data(1), Some(&data(2)));
            let error = error.expect_err("they are gone");
            assert!(
                matches!(&error, Error::ParametersLost { source } if matches!(**source, Error::DeviceLost { .. })),
                "{like}, {what}: {error:?}"
            );
            error
        };
        for (what, with) in ways {
            let mut net = net(&app.device(), PlanKind::Fused);
            with(&mut net);
            println!("{like}, {what}: {}", refused(&mut net, what));
            assert!(net.parameters().is_err_and(|error| matches!(error, Error::DeviceLost { .. })), "{like}, {what}");
        }
        // More than the host keeps a copy of; drawn ones it makes again.
        let wide = Network::new(5).dense(2_000_000, Activation::Relu).dense(3, Activation::Sigmoid).seed(1);
        let mut net = wide.build(&app.device()).expect("a wide net");
        assert!(net.parameter_count() > 1 << 24);
        let drawn = net.parameters().expect("parameters");
        let other: Vec<_> = drawn.iter().map(|w| -w).collect();
        net.set_parameters(&other).expect("parameters");
        refused(&mut net, "too many to keep a copy");
    }
}
