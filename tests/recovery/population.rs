//! Populations whose device is lost: all networks go on on another one, each to the same bits. `src/train/faults` loses it at every
//! operation in between.

use std::time::Duration;

use wgrad::{Activation, Adam, Cost, Device, Error, History, Network, Optimizer, Population, Recovery, Sgd};

use super::app::{App, EPOCHS, data, timeless};
use super::common;
use super::common::nets::bits;

/// Three members, trained at once, or one after another where their optimisers are not of one kind.
fn population(device: &Device, alike: bool) -> Population {
    let mut population = Population::new(device, Cost::BinaryCrossEntropy).batch_size(4).epochs(EPOCHS);
    for seed in 0..3_u8 {
        let net = Network::new(5).dense(7, Activation::Tanh).dense(3, Activation::Sigmoid).seed(seed.into());
        let optimizer: Optimizer =
            if alike || seed != 1 { Adam::new(0.01 + 0.01 * f32::from(seed)).into() } else { Sgd::new(0.1).into() };
        population.add(net, optimizer, seed.into()).expect("a member");
    }
    population
}

fn states(population: &Population) -> Vec<Vec<u32>> {
    population.networks().iter().map(|net| bits(&net.parameters().expect("parameters"))).collect()
}

fn histories(members: Vec<wgrad::Result<History>>) -> Vec<History> {
    members.into_iter().map(|member| timeless(member.expect("no divergence"))).collect()
}

#[test]
fn a_population_goes_on_after_a_loss_with_the_same_bits() {
    for like in common::adapters() {
        let app = App::new(&like);
        for alike in [true, false] {
            let mut whole = population(&app.device(), alike);
            let mut want = Vec::new();
            for _ in 0..2 {
                let report = whole.fit(&data(1)).expect("a run");
                assert_eq!((report.recovered, report.at_once), (0, if alike { 3 } else { 1 }));
                want.push((states(&whole), histories(report.members)));
            }
            // Before the first run, before the second, and before both.
            for lost in [[true, false], [false, true], [true, true]] {
                let mut population = population(&app.device(), alike).recovery(app.recovery());
                for (is_lost, want) in lost.into_iter().zip(&want) {
                    if is_lost {
                        app.destroy();
                    }
                    let report = population.fit(&data(1)).expect("a run that goes on");
                    assert_eq!(report.recovered, usize::from(is_lost), "{like}, alike {alike}");
                    let end = (states(&population), histories(report.members));
                    assert!(end == *want, "{like}, alike {alike}, lost {lost:?}: other bits");
                }
            }
            // At moments that nobody chose.
            let mut losses = 0;
            for delay in 0..6 {
                let mut population = population(&app.device(), alike).recovery(app.recovery());
                let report = std::thread::scope(|scope| {
                    scope.spawn(|| {
                        std::thread::sleep(Duration::from_millis(5 * delay));
                        app.destroy();
                    });
                    population.fit(&data(1)).expect("a run that goes on")
                });
                losses += report.recovered;
                let Ok(_) = population.networks()[0].parameters() else { continue };
                assert!((states(&population), histories(report.members)) == want[0], "{like}, after {delay}");
            }
            println!("{like}, alike {alike}: {losses} losses on the way, and 4 before, each to the same bits");
        }
    }
}

#[test]
fn a_population_without_another_device_has_what_was_kept() {
    for like in common::adapters() {
        let app = App::new(&like);
        let begun = states(&population(&Device::cpu(), true));
        let mut whole = population(&app.device(), true);
        whole.fit(&data(1)).expect("a run");

        let mut plain = population(&app.device(), true).recovery(Recovery::none());
        app.destroy();
        let error = plain.fit(&data(1)).expect_err("a loss");
        assert!(matches!(error, Error::DeviceLost { .. }), "{like}: {error:?}");

        for alike in [true, false] {
            let mut gone = population(&app.device(), alike);
            app.destroy();
            let error = gone.fit(&data(1)).expect_err("no device");
            println!("{like}: {error}");
            assert!(
                matches!(error, Error::NotRecovered { epoch: 1, retries: 0, saved: None, .. }),
                "{like}: {error:?}"
            );
            assert!(states(&gone) == begun, "{like}: other parameters than the host knew");
            assert!(gone.networks().iter().all(|net| net.device().kind() == "cpu"), "{like}");
        }

        let mut on = population(&app.device(), true).recovery(Recovery::default().allow_cpu(true));
        app.destroy();
        let report = on.fit(&data(1)).expect("a run that goes on");
        assert_eq!((report.recovered, histories(report.members).len()), (1, 3), "{like}");
        for (on, whole) in states(&on).iter().zip(&states(&whole)) {
            for (&a, &b) in on.iter().zip(whole) {
                let off = (f32::from_bits(a) - f32::from_bits(b)).abs();
                assert!(off <= 1e-4, "{like}: {off} off the run on the GPU");
            }
        }
    }
}
