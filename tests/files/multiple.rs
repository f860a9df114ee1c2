//! What a file may cost: each reader's bound, as SECURITY.md states it, against files that were made to cost more.

use wgrad::data::{TableReader, read_idx_from};
use wgrad::{Device, History, Network, Trainer, Weights};

use crate::make::{Folder, gzip, idx};
use crate::memory::peak;

/// A file by what is in it, its bytes, what counts as its size, and the reader.
type Hostile = (String, Vec<u8>, usize, fn(&[u8]));

fn csv(bytes: &[u8]) {
    let _ = TableReader::new().read_from(bytes, "t");
}

fn array(bytes: &[u8]) {
    let _ = read_idx_from(bytes, "t");
}

fn checkpoint(bytes: &[u8]) {
    let _ = Network::from_bytes(bytes, &Device::cpu());
    let _ = Trainer::from_bytes(bytes, &Device::cpu());
}

fn weights(bytes: &[u8]) {
    let _ = Weights::from_bytes(bytes);
}

#[cfg(feature = "onnx")]
fn onnx(bytes: &[u8]) {
    let _ = Network::from_onnx(bytes, &Device::cpu());
}

fn history(bytes: &[u8]) {
    let folder = Folder::new();
    let path = folder.put("history", bytes);
    let _ = (History::read_csv(&path).is_ok(), History::read_json(&path).is_ok());
}

/// The largest of `bytes` over the file's size, less what every file may cost.
fn worst(files: Vec<Hostile>, times: usize, fixed: usize) {
    for (what, bytes, size, read) in files {
        let ((), held) = peak(|| read(&bytes));
        let ratio = held.saturating_sub(fixed) as f64 / size as f64;
        println!("{what}: {held} bytes for {size}, {ratio:.1} times as much beyond {} MiB", fixed >> 20);
        assert!(held <= fixed + times * size, "{what}: {held} bytes for a file of {size}");
    }
}

/// A safetensors file with this header, and nothing behind it.
fn safetensors(header: &str) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes()].concat()
}

const N: usize = 200_000;

/// Rows of these texts after a header; `{}` is the row's number.
fn rows(header: &str, row: &str) -> Vec<u8> {
    let rows = (0..N).map(|i| row.replace("{}", &i.to_string()) + "\n");
    std::iter::once(format!("{header}\n")).chain(rows).collect::<String>().into_bytes()
}

#[test]
fn tables_cost_at_most_32_times_their_bytes_and_8_mebibytes() {
    let texts = [
        ("short numbers", rows("a", "1")),
        ("short texts", rows("a", "x")),
        ("different texts", rows("a", "t{}")),
        ("empty fields", rows("a,b", ",")),
        ("many empty fields", rows("a,b,c,d,e,f,g,h", ",,,,,,,")),
        ("dates", rows("a", "2024-01-01")),
        ("quotes", rows("a", "\"\"\"\"")),
        ("empty lines", vec![b'\n'; 2 * N]),
        ("commas alone", vec![b','; 16_383]),
        ("one line", vec![b'x'; 2 * N]),
        ("commas in two rows", [vec![b','; 16_383], vec![b'\n'], vec![b','; 16_383]].concat()),
    ];
    let plain = texts.iter().map(|(what, bytes)| ((*what).to_owned(), bytes.clone(), bytes.len(), csv as fn(&[u8])));
    let packed =
        texts.iter().map(|(what, bytes)| (format!("{what}, packed"), gzip(bytes), bytes.len(), csv as fn(&[u8])));
    worst(plain.chain(packed).collect(), 32, 8 << 20);
}

#[test]
fn arrays_cost_at_most_4_times_their_bytes_and_a_mebibyte() {
    let mut files: Vec<Hostile> = Vec::new();
    for kind in [8, 0x0d] {
        for dims in [&[u32::MAX][..], &[u32::MAX; 8], &[1 << 31, 1], &[N as u32], &[N as u32, 4], &[1; 255]] {
            for len in [0, 1, N, 4 * N] {
                let file = idx(kind, dims, &vec![7; len]);
                files.push((format!("{} dimensions, {len} bytes", dims.len()), file.clone(), file.len(), array));
                files.push((format!("{} dimensions, packed", dims.len()), gzip(&file), file.len(), array));
            }
        }
    }
    worst(files, 4, 1 << 20);
}

#[test]
fn models_cost_at_most_32_times_their_bytes() {
    let many = |item: &str, between: &str| vec![item; N].join(between);
    let headers = [
        ("empty keys", format!("{{{}}}", many(r#""":"""#, ","))),
        ("empty tensors", format!("{{{}}}", many(r#""":{}"#, ","))),
        ("brackets", many("[", "")),
        ("braces", many(r#"{"":"#, "")),
        ("dimensions", format!(r#"{{"a":{{"dtype":"F32","shape":[{}],"data_offsets":[0,0]}}}}"#, many("0", ","))),
        ("metadata", format!(r#"{{"__metadata__":{{{}}}}}"#, many(r#""a":"""#, ","))),
        (
            "network",
            format!(r#"{{"__metadata__":{{"wgrad":"{{\"crc32\":\"00000000\",{}}}"}}}}"#, many(r#"\"\":0"#, ",")),
        ),
        ("escapes", format!(r#"{{"__metadata__":{{"wgrad":"{}"}}}}"#, many(r"\n", ""))),
        (
            "different tensors",
            format!(
                "{{{}}}",
                (0..N / 4)
                    .map(|i| format!(r#""{i}":{{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}"#))
                    .collect::<Vec<_>>()
                    .join(",")
            ),
        ),
    ];
    let mut files: Vec<Hostile> = Vec::new();
    for (what, header) in headers {
        let file = safetensors(&header);
        files.push((format!("{what}, a checkpoint"), file.clone(), file.len(), checkpoint));
        files.push((format!("{what}, weights"), file.clone(), file.len(), weights));
    }
    for length in [u64::MAX, 99_999_999, 1 << 40] {
        let file = length.to_le_bytes().to_vec();
        files.push((format!("a header of {length} bytes"), file.clone(), 1 << 10, checkpoint));
        files.push((format!("a header of {length} bytes"), file, 1 << 10, weights));
    }
    worst(files, 32, 1 << 16);
}

/// Beside the network itself, which is as large as its numbers in the file.
#[cfg(feature = "onnx")]
#[test]
fn onnx_models_cost_at_most_3_times_their_bytes_and_16_mebibytes() {
    let within = |field: u8, content: &[u8]| {
        let mut message = vec![field << 3 | 2];
        let mut len = content.len();
        while len >= 0x80 {
            message.push((len & 0x7f) as u8 | 0x80);
            len >>= 7;
        }
        message.push(len as u8);
        [&message[..], content].concat()
    };
    let mut files: Vec<Hostile> = Vec::new();
    for (what, part) in [
        ("nodes", within(1, &[])),
        ("tensors", within(5, &[])),
        ("inputs", within(11, &[])),
        ("outputs", within(12, &[])),
        ("names of a node's inputs", within(1, &[0x0a, 0].repeat(N))),
        ("attributes of a node", within(1, &within(5, &[]).repeat(N))),
        ("dimensions of a tensor", within(5, &within(1, &[1; N]))),
        ("whole numbers of a tensor", within(5, &within(7, &[1; N]))),
        ("nodes with inputs", within(1, &[0x0a, 0].repeat(16))),
        ("nodes with attributes", within(1, &within(5, &within(5, &[0x08, 1].repeat(8))).repeat(16))),
    ] {
        // As many as are taken, and more than are.
        for count in [(2 * N / part.len()).clamp(1, 4000), (2 * N / part.len()).max(1)] {
            let file = within(7, &part.repeat(count));
            files.push((format!("{count} {what}"), file.clone(), file.len(), onnx));
        }
    }
    let sets = within(8, &[0x10, 18]).repeat(N);
    files.push(("operator sets".to_owned(), sets.clone(), sets.len(), onnx));
    worst(files, 3, 16 << 20);
}

#[test]
fn histories_cost_at_most_32_times_their_bytes() {
    let head = "epoch,steps,eta,train_cost,train_accuracy,seconds";
    let epoch = r#"{"epoch":1,"steps":1,"eta":1,"train_cost":1,"train_accuracy":1,"seconds":1,"steps_per_second":1}"#;
    let files = [
        ("short rows", rows(head, "1,1,1,1,1,1")),
        ("empty lines", [head.as_bytes(), &vec![b'\n'; 2 * N]].concat()),
        ("commas", vec![b','; 2 * N]),
        ("commas in every row", [vec![b','; 999], vec![b'\n'], vec![b','; 999].repeat(100)].concat()),
        ("epochs", format!(r#"{{"epochs":[{}]}}"#, vec![epoch; N / 10].join(",")).into_bytes()),
        ("brackets", vec![b'['; N]),
        ("unknown keys", format!("{{{}}}", vec![r#""a":0"#; N].join(",")).into_bytes()),
    ];
    worst(
        files.map(|(what, bytes)| (what.to_owned(), bytes.clone(), bytes.len(), history as fn(&[u8]))).into(),
        32,
        1 << 16,
    );
}

/// What is bounded by nothing is found out: a reader that takes a hundred times what it is given.
#[test]
#[should_panic(expected = "bytes for a file of 100000")]
fn a_reader_without_a_bound_is_caught() {
    let careless: fn(&[u8]) = |bytes| drop(std::hint::black_box(vec![0_u64; 100 * bytes.len() / 8]));
    worst(vec![("a careless reader".to_owned(), vec![0; 100_000], 100_000, careless)], 32, 1 << 16);
}
