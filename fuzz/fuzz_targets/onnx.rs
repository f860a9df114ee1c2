//! Any bytes as an ONNX model: a network that can be used, exported, and read again as the same, or an error that says why not.

#![no_main]

use libfuzzer_sys::fuzz_target;
use wgrad::export::Onnx;
use wgrad::{Device, Error, Network};

fuzz_target!(|model: &[u8]| {
    let net = match Network::from_onnx(model, &Device::cpu()) {
        Ok(net) => net,
        Err(Error::File { .. } | Error::Operator { .. } | Error::NotFinite { .. } | Error::Architecture { .. }) => {
            return;
        }
        Err(error) => panic!("{error:?}"),
    };
    assert!(net.parameter_count() <= model.len(), "{} parameters", net.parameter_count());
    let outputs = net.predict(&vec![0.5; net.inputs()]).expect("a prediction");
    assert_eq!(outputs.len(), net.outputs());
    let again = net.to_onnx(&Onnx::new()).expect("an export");
    let again = Network::from_onnx(&again, &Device::cpu()).expect("an import of the export");
    assert_eq!(again.layers(), net.layers());
    let bits =
        |net: &Network| net.parameters().expect("the parameters").into_iter().map(f32::to_bits).collect::<Vec<_>>();
    assert_eq!(bits(&again), bits(&net));
});
