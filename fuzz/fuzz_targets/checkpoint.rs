//! Any bytes as a network, a run and plain weights: first as they are, then under a digest that fits them, so that what lies behind
//! it is reached. What is accepted must survive the way to bytes and back, and a run must start or say why not.

#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use wgrad::{Activation, Dataset, Device, Error, Network, Trainer, Weights};

fuzz_target!(|bytes: &[u8]| {
    read(bytes);
    if let Some(bytes) = sealed(bytes) {
        read(&bytes);
    }
});

/// With the digest that belongs to it.
fn sealed(bytes: &[u8]) -> Option<Vec<u8>> {
    const MARK: &[u8] = br#""wgrad":"{\"crc32\":\""#;
    let at = bytes.windows(MARK.len()).position(|window| window == MARK)? + MARK.len();
    let mut bytes = bytes.to_vec();
    bytes.get_mut(at..at + 8)?.copy_from_slice(b"00000000");
    let digest = format!("{:08x}", crc32fast::hash(&bytes));
    bytes[at..at + 8].copy_from_slice(digest.as_bytes());
    Some(bytes)
}

fn read(bytes: &[u8]) {
    let device = Device::cpu_with_threads(1);
    match Network::from_bytes(bytes, &device) {
        Ok(net) => again(&net),
        Err(error) => typed(&error),
    }
    match Weights::from_bytes(bytes) {
        Ok(weights) => {
            let activations = vec![Activation::Tanh; weights.sizes().len() - 1];
            again(&weights.network(&activations, &device).expect("layers that fit on one another"));
        }
        Err(error) => typed(&error),
    }
    match Trainer::from_bytes(bytes, &device) {
        Ok((mut net, trainer)) => {
            // The data that the seeds were trained on.
            let x = (0..23_u8).map(|i| f32::from(i % 7)).collect();
            let labels = (0..23).map(|i| i % 2).collect();
            let data = Dataset::with_labels(x, 1, labels, 2).expect("data");
            if let Ok(mut run) = trainer.start(&mut net, &data) {
                let _ = run.step_for(Duration::ZERO);
                let _ = run.to_bytes();
            }
        }
        Err(error) => typed(&error),
    }
}

/// What was accepted can be asked, saved and read again.
fn again(net: &Network) {
    let bytes = net.to_bytes().expect("bytes of a network that was read");
    let again = Network::from_bytes(&bytes, net.device()).expect("a network that was saved");
    assert_eq!(again.layers(), net.layers());
    assert_eq!(again.to_bytes().expect("bytes"), bytes);
    net.predict(&vec![0.5; net.inputs()]).expect("outputs");
}

fn typed(error: &Error) {
    assert!(matches!(error, Error::File { problem, .. } if !problem.is_empty()), "{error:?}");
}
