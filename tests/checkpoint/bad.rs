//! Files that are no checkpoints, or not whole ones: each is an error that names the file and the reason.

use std::path::Path;

use wgrad::plan::PlanKind;
use wgrad::{Activation, Adam, Checkpoints, Cost, Device, Error, Network, Trainer, Weights};

use crate::make::{BATCH, ROWS, data, forged, header, net};

/// A network alone, as small as can be.
fn network() -> Vec<u8> {
    let net = Network::new(2).dense(2, Activation::Tanh).dense(1, Activation::Sigmoid).build(&Device::cpu());
    net.expect("a net").to_bytes().expect("bytes")
}

/// A run in the middle of an epoch, with all that a run can have.
fn run() -> Vec<u8> {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("run.st");
    let mut net = net(&Device::cpu(), PlanKind::Fused, 0.2);
    let trainer = crate::make::trainer(Adam::new(0.01).into()).max_steps(8).checkpoints(Checkpoints::new(&file));
    { trainer }.fit(&mut net, &data(ROWS, 1), Some(&data(13, 2))).expect("a run");
    std::fs::read(&file).expect("bytes")
}

/// Why a network cannot be read from these bytes, and a run neither.
fn refused(bytes: &[u8], what: &str) -> String {
    let device = Device::cpu();
    let of_network = Network::from_bytes(bytes, &device).map(drop).expect_err(what);
    let of_run = Trainer::from_bytes(bytes, &device).map(drop).expect_err(what);
    for error in [&of_network, &of_run] {
        assert!(matches!(error, Error::File { .. }), "{what}: {error:?}");
    }
    of_network.to_string()
}

#[test]
fn files_cut_off_at_every_length_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("cut off.st");
    for whole in [network(), run()] {
        for len in 0..whole.len() {
            std::fs::write(&file, &whole[..len]).expect("a file");
            for error in [
                Network::load(&file, &Device::cpu()).map(drop).expect_err("cut off"),
                Trainer::resume(&file, &Device::cpu()).map(drop).expect_err("cut off"),
                Weights::read(&file).map(drop).expect_err("cut off"),
            ] {
                let says = if len < 8 { "fewer than 8" } else { "cut off" };
                assert!(
                    matches!(&error, Error::File { path, problem } if *path == file && problem.contains(says)),
                    "{len}: {error:?}"
                );
            }
        }
        for extra in [1, 8, 1000] {
            let mut longer = whole.clone();
            longer.resize(whole.len() + extra, 0);
            refused(&longer, "longer than it says");
        }
        println!("{} lengths, each refused by three readers", whole.len());
    }
}

#[test]
fn every_flipped_bit_is_found() {
    for whole in [network(), run()] {
        let mut damaged = 0;
        for at in 0..whole.len() {
            for bit in 0..8 {
                let mut bytes = whole.clone();
                bytes[at] ^= 1 << bit;
                let error = refused(&bytes, &format!("bit {bit} of byte {at}"));
                damaged += usize::from(error.contains("it is damaged: its digest says"));
            }
        }
        println!("{} bits, each found, {damaged} of them by the digest", 8 * whole.len());
        assert!(damaged * 4 > 8 * whole.len(), "much of the file is under the digest alone: {damaged}");
    }
}

/// Every two neighbouring bytes exchanged, and stretches of zeros: what a bad disk or cable does.
#[test]
fn other_damage_is_found() {
    let whole = run();
    for at in 0..whole.len() - 16 {
        let mut swapped = whole.clone();
        swapped.swap(at, at + 1);
        let mut zeroed = whole.clone();
        zeroed[at..at + 16].fill(0);
        for bytes in [swapped, zeroed] {
            if bytes != whole {
                refused(&bytes, &format!("damage at {at}"));
            }
        }
    }
}

/// What a writer with a bug, or an enemy, could put under a right digest.
#[test]
fn a_right_digest_is_not_trusted() {
    let replace = |from: &'static str, to: &'static str| {
        move |header: &mut String, _: &mut Vec<u8>| {
            assert!(header.contains(from), "{from} in {header}");
            *header = header.replacen(from, to, 1);
        }
    };
    let (small, whole) = (network(), run());
    let nothing = |_: &mut String, _: &mut Vec<u8>| {};
    assert!(Network::from_bytes(&forged(&small, nothing), &Device::cpu()).is_ok(), "the forgery itself is no error");
    assert!(Trainer::from_bytes(&forged(&whole, nothing), &Device::cpu()).is_ok());
    println!("{}", header(&small));

    for (from, to, want) in [
        (r#""layers.0.weight""#, r#""layers.0.height""#, "no tensor 'layers.0.weight'"),
        (r#""layers.0.weight""#, r#""layers.1.weight""#, "tensor 'layers.1.weight' twice"),
        (
            r#""layers.0.weight":{"dtype":"F32","shape":[2,2]"#,
            r#""layers.0.weight":{"dtype":"F32","shape":[4,1]"#,
            "where [2, 2] belongs",
        ),
        (r#""dtype":"F32""#, r#""dtype":"I32""#, "is I32, where F32 belongs"),
        (r#""shape":[2]"#, r#""shape":[18446744073709551615,2]"#, ""),
        (r#""shape":[2]"#, r#""shape":[1,1,1,1,1,1,1,1,2]"#, "at most 8 dimensions"),
        (r#""data_offsets":[0,"#, r#""data_offsets":[4,"#, "no safetensors file"),
        (r#"\"version\":1"#, r#"\"version\":2"#, "format version 2"),
        (r#"\"version\":1"#, r#"\"version\":0"#, "format version 0"),
        (r#"\"version\":1"#, r#"\"version\":99999999999999999999999"#, "cannot be read"),
        (r#"\"inputs\":2"#, r#"\"inputs\":3"#, "belongs"),
        (r#"\"inputs\":2"#, r#"\"inputs\":2,\"inputs\":2"#, "duplicate field"),
        (r#"\"inputs\":2"#, r#"\"inputs\":2,\"colour\":2"#, "unknown field"),
        (r#"\"inputs\":2"#, r#"\"inputs\":1000000000"#, "belongs"),
        (r#"\"inputs\":2"#, r#"\"inputs\":4000000000"#, "too large"),
        (r#"\"inputs\":2"#, r#"\"inputs\":0"#, "no columns"),
        (r#"\"outputs\":2"#, r#"\"outputs\":18446744073709551615"#, "too large"),
        (r#"\"activation\":\"tanh\""#, r#"\"activation\":\"tank\""#, "tank"),
        (r#"\"dropout\":0.0"#, r#"\"dropout\":1.5"#, "dropout"),
        (r#"\"dropout\":0.0"#, r#"\"dropout\":1e999"#, "cannot be read"),
        (r#""wgrad":"#, r#""other":"#, "no checkpoint of wgrad"),
        (r#"{"__metadata__":{"wgrad""#, r#"{"__metadata__":{"a":"b","wgrad""#, "no checkpoint of wgrad"),
    ] {
        let error = refused(&forged(&small, replace(from, to)), to);
        assert!(error.contains(want), "{to}: {error}");
    }
    // A tensor more.
    let extra = forged(&small, |header, data| {
        let end = data.len();
        let tensor = format!(r#","layers.7.bias":{{"dtype":"F32","shape":[1],"data_offsets":[{end},{}]}}}}"#, end + 4);
        *header = format!("{}{tensor}", header.trim_end().strip_suffix('}').expect("an object"));
        data.extend([0; 4]);
    });
    let error = refused(&extra, "a tensor more");
    assert!(error.contains("'layers.7.bias' that does not belong"), "{error}");
    // Parameters that are no numbers.
    for value in [f32::NAN, f32::INFINITY] {
        let error = refused(&forged(&small, |_, data| data[..4].copy_from_slice(&value.to_le_bytes())), "NaN");
        assert!(error.contains("must be finite"), "{error}");
    }

    // The text of a run, which lies among the data, at the same length.
    let text = |from: &'static str, to: &'static str| {
        forged(&whole, move |_, data| {
            assert_eq!(from.len(), to.len());
            let at = data.windows(from.len()).position(|window| window == from.as_bytes());
            let at = at.unwrap_or_else(|| panic!("no {from} in {}", String::from_utf8_lossy(data)));
            data[at..at + to.len()].copy_from_slice(to.as_bytes());
        })
    };
    for (from, to, want) in [
        (r#""step":2"#, r#""step":3"#, "where [3, 2] belongs"),
        (r#""steps":8"#, r#""steps":1"#, "more steps of an epoch than steps"),
        (r#""optimizer_steps":8"#, r#""optimizer_steps":1"#, "more steps of an epoch than steps"),
        (r#""optimizer":"adam""#, r#""optimizer":"none""#, "another kind"),
        (r#""epochs":5"#, r#""epochz":5"#, "unknown field"),
        (r#""factor":1.0"#, r#""factor":9.0"#, "factor"),
        (r#"{"settings""#, r#"["settings""#, "cannot be read"),
    ] {
        let error = refused(&text(from, to), to);
        assert!(error.contains(want), "{to}: {error}");
    }
    // A count that hides until training starts.
    let bytes = text(r#""batch_size":4"#, r#""batch_size":0"#);
    let (mut net, mut trainer) = Trainer::from_bytes(&bytes, &Device::cpu()).expect("nothing wrong by itself");
    let error = trainer.fit(&mut net, &data(ROWS, 1), Some(&data(13, 2))).expect_err("no rows");
    assert!(matches!(error, Error::InvalidOption { .. }), "{error}");
}

#[test]
fn heads_of_absurd_sizes_are_refused_before_anything_is_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("absurd.st");
    for length in [0, 1, 8, 1 << 20, 99_999_999, 100_000_001, u64::MAX - 8, u64::MAX] {
        std::fs::write(&file, length.to_le_bytes()).expect("a file");
        let error = Network::load(&file, &Device::cpu()).map(drop).expect_err("absurd");
        assert!(error.to_string().contains("absurd.st") && error.to_string().contains("header"), "{error}");
        // As long as a terabyte, with nothing in it.
        let sparse = std::fs::OpenOptions::new().write(true).open(&file).expect("a file");
        if length < 1 << 20 && sparse.set_len(1 << 40).is_ok() {
            let error = Weights::read(&file).map(drop).expect_err("absurd");
            assert!(matches!(error, Error::File { .. }), "{error}");
        }
    }
}

#[test]
fn a_network_is_no_run_and_plain_weights_are_no_network() {
    let error = Trainer::from_bytes(&network(), &Device::cpu()).map(drop).expect_err("a network alone");
    assert!(error.to_string().contains("a network alone"), "{error}");
    let bytes = run();
    let net = Network::from_bytes(&bytes, &Device::cpu()).expect("the network of a run");
    assert_eq!(net.sizes(), [5, 7, 3]);
    assert_eq!(Weights::from_bytes(&bytes).expect("its weights").sizes(), [5, 7, 3]);
}

/// A network that has learned nothing but NaN is not saved, and the file before it stays.
#[test]
fn parameters_that_are_no_numbers_are_not_saved() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("run.st");
    let train = data(ROWS, 1);
    let mut net =
        Network::new(5).dense(7, Activation::Relu).dense(3, Activation::Identity).build(&Device::cpu()).expect("a net");
    let trainer = Trainer::new(Cost::Quadratic, wgrad::Sgd::new(1e3)).batch_size(BATCH).epochs(100);
    let checkpoints = Checkpoints::new(&file).every_steps(1);
    let error = { trainer }.checkpoints(checkpoints).fit(&mut net, &train, None).expect_err("it diverges");
    assert!(matches!(error, Error::Diverged { .. }), "{error}");
    assert!(Network::load(&file, &Device::cpu()).is_ok(), "the last good one is there");
    let before = std::fs::read(&file).expect("bytes");
    assert!(net.parameters().expect("parameters").iter().any(|w| !w.is_finite()), "not what this test is about");
    let error = net.save(&file).expect_err("no numbers");
    assert!(matches!(error, Error::NotFinite { .. }), "{error}");
    assert_eq!(std::fs::read(&file).expect("bytes"), before);
}

#[test]
fn weights_that_do_not_fit_are_refused() {
    let tensor = |name: &str, dtype: &str, shape: &str, at: usize, len: usize| {
        format!(r#""{name}":{{"dtype":"{dtype}","shape":{shape},"data_offsets":[{at},{}]}}"#, at + len)
    };
    let file = |tensors: &[String], data: usize| {
        let header = format!("{{{}}}", tensors.join(","));
        [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &vec![0; data]].concat()
    };
    let good = [tensor("0.weight", "F32", "[2,3]", 0, 24), tensor("0.bias", "F32", "[2]", 24, 8)];
    let weights = Weights::from_bytes(&file(&good, 32)).expect("weights");
    assert_eq!(weights.sizes(), [3, 2]);
    for (tensors, len, want) in [
        (vec![], 0, "no tensors"),
        (vec![good[0].clone()], 24, "no tensor '0.bias'"),
        (vec![tensor("0.bias", "F32", "[2]", 0, 8)], 8, "no tensor '0.weight'"),
        (vec![good[0].clone(), tensor("0.bias", "F32", "[1,2]", 24, 8)], 32, "where [2] belongs"),
        (vec![good[0].clone(), tensor("0.bias", "F32", "[3]", 24, 12)], 36, "where [2] belongs"),
        (vec![tensor("0.weight", "F32", "[6]", 0, 24), good[1].clone()], 32, "where (out, in) belongs"),
        (vec![tensor("0.weight", "F64", "[2,3]", 0, 48), tensor("0.bias", "F64", "[2]", 48, 16)], 64, "read_converted"),
        (vec![tensor("0.weight", "I64", "[2,3]", 0, 48), tensor("0.bias", "I64", "[2]", 48, 16)], 64, "F32 belongs"),
        (vec![good[0].clone(), good[1].clone(), good[1].clone()], 32, "twice"),
        (
            vec![good[0].clone(), good[1].clone(), tensor("1.running_mean", "F32", "[2]", 32, 8)],
            40,
            "neither weight nor bias",
        ),
        (
            vec![good[0].clone(), good[1].clone(), tensor("00.weight", "F32", "[2,2]", 32, 16)],
            48,
            "one by their number",
        ),
        (
            vec![
                good[0].clone(),
                good[1].clone(),
                tensor("1.weight", "F32", "[1,3]", 32, 12),
                tensor("1.bias", "F32", "[1]", 44, 4),
            ],
            48,
            "the layer below has 2 outputs",
        ),
        (vec![good[0].clone(), good[1].clone()], 36, "32 bytes of tensors, and 36 follow it: there is something else"),
        (
            vec![good[0].clone(), good[1].clone()],
            31,
            "it is cut off: its header tells of 32 bytes of tensors, and 31 follow",
        ),
        (vec![tensor("0.weight", "F32", "[0,3]", 0, 0), tensor("0.bias", "F32", "[0]", 0, 0)], 0, ""),
    ] {
        let error = Weights::from_bytes(&file(&tensors, len)).map(drop).expect_err(want);
        assert!(matches!(error, Error::File { .. }) && error.to_string().contains(want), "{want}: {error}");
    }
    let error = weights.network(&[], &Device::cpu()).map(drop).expect_err("no activation");
    assert!(matches!(error, Error::Shape { .. }), "{error}");
    let mut other = Network::new(3).dense(3, Activation::Tanh).build(&Device::cpu()).expect("a net");
    let error = weights.give(&mut other).expect_err("other layers");
    assert!(error.to_string().contains("[3, 2]") && error.to_string().contains("[3, 3]"), "{error}");
}

#[test]
fn what_is_no_file_is_said() {
    let folder = tempfile::tempdir().expect("a folder");
    let load = |path: &Path| Network::load(path, &Device::cpu()).map(drop).expect_err("no file");
    let error = load(folder.path());
    assert!(
        matches!(&error, Error::File { path, problem } if path == folder.path() && problem.contains("directory")),
        "{error}"
    );
    let error = load(&folder.path().join("none.st"));
    assert!(matches!(&error, Error::Io { path, .. } if path.ends_with("none.st")), "{error}");
    #[cfg(unix)]
    {
        let pipe = folder.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        if made.is_ok_and(|status| status.success()) {
            // To open it would wait for ever.
            assert!(load(&pipe).to_string().contains("no regular file"));
        }
        assert!(load(Path::new("/dev/null")).to_string().contains("no regular file"));
    }
}

/// Files that were written before are read: a format that changed without a new version number would be seen here, and what fuzzing
/// starts from would be refused at its first byte.
#[test]
fn seeds_of_the_fuzz_target_are_read() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/checkpoint");
    for name in ["seed-adam", "seed-momentum", "seed-rmsprop", "seed-run"] {
        let path = folder.join(name);
        let resumed = Trainer::resume(&path, &Device::cpu());
        assert!(resumed.is_ok(), "{name}: {:?}", resumed.err());
    }
    for name in ["seed-network", "seed-table", "seed-adam"] {
        let loaded = Network::load(folder.join(name), &Device::cpu());
        assert!(loaded.is_ok(), "{name}: {:?}", loaded.err());
    }
}

/// Writes what fuzzing starts from, where `WGRAD_CORPUS` names a folder: `fuzz/corpus/checkpoint`.
#[test]
fn corpus() {
    let Some(folder) = std::env::var_os("WGRAD_CORPUS") else { return };
    let folder = Path::new(&folder);
    #[allow(clippy::cast_precision_loss, reason = "small numbers")]
    let x = (0..23).map(|i| (i % 7) as f32).collect();
    let data = wgrad::Dataset::with_labels(x, 1, (0..23).map(|i| i % 2).collect(), 2).expect("data");
    for (name, optimizer, schedule) in [
        ("seed-adam", wgrad::Optimizer::from(Adam::new(0.01)), wgrad::Schedule::one_cycle()),
        ("seed-momentum", wgrad::Momentum::new(0.1).l1(0.1).into(), wgrad::Schedule::cosine(wgrad::Span::Run(1.0))),
        (
            "seed-rmsprop",
            wgrad::RmsProp::new(0.01).max_norm(1.0).into(),
            wgrad::Schedule::constant().warm_up(wgrad::Span::Epochs(0.5)),
        ),
    ] {
        let net = Network::new(1).dense(2, Activation::Relu).dropout(0.5).dense(2, Activation::Softmax);
        let mut net = net.build(&Device::cpu()).expect("a net");
        let trainer = Trainer::new(Cost::CategoricalCrossEntropy, optimizer)
            .schedule(schedule)
            .keep_best(wgrad::Metric::TrainCost);
        let trainer = trainer.plateau(wgrad::Plateau::new(2).metric(wgrad::Metric::TrainCost)).max_steps(5);
        { trainer }.checkpoints(Checkpoints::new(folder.join(name))).fit(&mut net, &data, None).expect("a run");
    }
    let preparation = wgrad::data::Table::new("t")
        .with_numbers("a", [1.0, 2.0, 3.0])
        .and_then(|table| table.with_texts("b", ["x", "y", "x"]));
    let preparation = wgrad::data::Preparation::new("b").fit(&preparation.expect("a table")).expect("a preparation");
    let mut net = Network::new(1).dense(2, Activation::Softmax).build(&Device::cpu()).expect("a net");
    net.set_preparation(preparation).expect("it fits");
    net.save(folder.join("seed-table")).expect("a file");
    std::fs::write(folder.join("seed-network"), network()).expect("a file");
    std::fs::write(folder.join("seed-run"), run()).expect("a file");
    for name in ["f32", "bf16"] {
        let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/torch_{name}.safetensors"));
        std::fs::copy(golden, folder.join(format!("seed-torch-{name}"))).expect("a copy");
    }
}
