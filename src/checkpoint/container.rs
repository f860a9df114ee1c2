//! The bytes of a checkpoint: a safetensors file whose metadata has one key, with a digest over every byte of the file.
//!
//! `__metadata__` is `{"wgrad": "<JSON>"}`, and the JSON `{"crc32":"<8 hex digits>","version":1,"crate":"...","network":{...}}`. The
//! digest is the CRC-32 of the whole file with zeros in the place of its own eight digits. It is there for accidents: every
//! change of up to 32 neighbouring bits is found for certain, others but for one in 2^32. It is no signature.

use std::collections::{BTreeMap, HashSet};

use safetensors::tensor::{TensorView, View};
use safetensors::{Dtype, SafeTensorError, SafeTensors};
use serde::de::{DeserializeOwned, MapAccess, Visitor};
use serde::{Deserialize, Serialize};

use crate::error::brief;

/// The version of what a checkpoint holds. It rises whenever something is stored that an earlier reader must not pass over.
pub(crate) const VERSION: u32 = 1;

/// The longest header that safetensors allows.
pub(super) const MOST_HEADER: u64 = 100_000_000;

/// Dimensions that a tensor has at most.
const MOST_DIMENSIONS: usize = 8;

/// What stands in the header before the digits of the digest.
const MARK: &[u8] = br#""wgrad":"{\"crc32\":\""#;
const DIGITS: usize = 8;

/// What the metadata say.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Metadata<T> {
    crc32: String,
    version: u32,
    #[serde(rename = "crate")]
    written_by: String,
    network: T,
}

/// As much of it as every version has.
#[derive(Deserialize)]
struct Stamp {
    version: u64,
    #[serde(rename = "crate")]
    written_by: String,
}

/// Collects tensors, and makes a file of them.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    tensors: Vec<(String, Tensor)>,
}

#[derive(Debug)]
struct Tensor {
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl View for &Tensor {
    fn dtype(&self) -> Dtype {
        self.dtype
    }
    fn shape(&self) -> &[usize] {
        &self.shape
    }
    fn data(&self) -> std::borrow::Cow<'_, [u8]> {
        (&self.bytes).into()
    }
    fn data_len(&self) -> usize {
        self.bytes.len()
    }
}

impl Writer {
    /// Adds numbers; `shape` says as many as there are.
    pub(crate) fn numbers(&mut self, name: String, shape: Vec<usize>, numbers: &[f32]) {
        let bytes = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        self.tensors.push((name, Tensor { dtype: Dtype::F32, shape, bytes }));
    }

    /// Adds a text.
    pub(crate) fn text(&mut self, name: &str, text: String) {
        let bytes = text.into_bytes();
        self.tensors.push((name.to_owned(), Tensor { dtype: Dtype::U8, shape: vec![bytes.len()], bytes }));
    }

    /// The file, or why there can be none.
    pub(crate) fn finish(self, network: &impl Serialize) -> Result<Vec<u8>, String> {
        let (crc32, written_by) = ("0".repeat(DIGITS), env!("CARGO_PKG_VERSION").to_owned());
        let metadata = Metadata { crc32, version: VERSION, written_by, network };
        let metadata = serde_json::to_string(&metadata).map_err(|error| error.to_string())?;
        let metadata = std::iter::once(("wgrad".to_owned(), metadata)).collect();
        let tensors = self.tensors.iter().map(|(name, tensor)| (name.as_str(), tensor));
        let mut bytes = safetensors::serialize(tensors, Some(metadata)).map_err(|error| error.to_string())?;
        let header = header_of(&bytes)?;
        if header.len() as u64 > MOST_HEADER {
            return Err(format!("its header has {} bytes, where the format allows {MOST_HEADER}", header.len()));
        }
        let at = 8 + digest_place(header).ok_or("its digest has no place in the header")?;
        let digest = digest(&bytes, at);
        bytes[at..at + DIGITS].copy_from_slice(digest.as_bytes());
        Ok(bytes)
    }
}

/// The header of a file, which follows eight bytes that say how long it is.
fn header_of(bytes: &[u8]) -> Result<&[u8], String> {
    let Some((length, rest)) = bytes.split_first_chunk() else {
        return Err(format!("it has {} bytes, and no safetensors file has fewer than 8", bytes.len()));
    };
    check_header_length(u64::from_le_bytes(*length), bytes.len() as u64)?;
    let length = usize::try_from(u64::from_le_bytes(*length)).map_err(|error| error.to_string())?;
    rest.get(..length).ok_or_else(|| "its header is cut off".to_owned())
}

/// Whether a file of `len` bytes can have a header of `length` bytes.
pub(super) fn check_header_length(length: u64, len: u64) -> Result<(), String> {
    if length > MOST_HEADER {
        return Err(format!(
            "no safetensors file: by its first 8 bytes its header would have {length}, where {MOST_HEADER} is the most"
        ));
    }
    if length > len.saturating_sub(8) {
        return Err(format!(
            "no safetensors file, or one that is cut off: it ends within its header of {length} bytes"
        ));
    }
    if length < 2 {
        return Err(format!("no safetensors file: by its first 8 bytes its header would have {length}"));
    }
    Ok(())
}

/// Where the digits of the digest are in a header, if there is one such place.
fn digest_place(header: &[u8]) -> Option<usize> {
    let mut places = header.windows(MARK.len()).enumerate().filter(|(_, window)| *window == MARK);
    let at = places.next()?.0 + MARK.len();
    (places.next().is_none() && at + DIGITS <= header.len()).then_some(at)
}

/// The digest of a file whose digest stands at `at`.
fn digest(bytes: &[u8], at: usize) -> String {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&bytes[..at]);
    hasher.update(&[b'0'; DIGITS]);
    hasher.update(&bytes[at + DIGITS..]);
    format!("{:08x}", hasher.finalize())
}

/// The tensors of a file, each to be taken once.
#[derive(Debug)]
pub(crate) struct Tensors<'a> {
    left: BTreeMap<String, TensorView<'a>>,
}

/// The header as JSON, with keys that may come twice, which safetensors itself takes the last of.
#[derive(Debug, Default)]
struct Header {
    metadata: Vec<(String, String)>,
    tensors: Vec<String>,
    /// Where the last tensor ends, counted from the end of the header.
    end: u64,
}

/// One tensor in it; read for its form alone.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "safetensors reads them once more, and checks them")]
struct Info {
    dtype: String,
    shape: Shape,
    data_offsets: (u64, u64),
}

/// Few dimensions: a list of a million would take far more memory than its text.
struct Shape;

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Count;
        impl<'de> Visitor<'de> for Count {
            type Value = Shape;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "a list of at most {MOST_DIMENSIONS} dimensions")
            }
            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut list: A) -> Result<Shape, A::Error> {
                let mut count = 0;
                while list.next_element::<u64>()?.is_some() {
                    count += 1;
                    if count > MOST_DIMENSIONS {
                        return Err(serde::de::Error::invalid_length(count, &self));
                    }
                }
                Ok(Shape)
            }
        }
        deserializer.deserialize_seq(Count)
    }
}

/// Pairs of a JSON object, in their order.
struct Pairs<V>(Vec<(String, V)>);

impl<'de, V: Deserialize<'de>> Deserialize<'de> for Pairs<V> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct All<V>(std::marker::PhantomData<V>);
        impl<'de, V: Deserialize<'de>> Visitor<'de> for All<V> {
            type Value = Pairs<V>;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs<V>, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(All(std::marker::PhantomData))
    }
}

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct All;
        impl<'de> Visitor<'de> for All {
            type Value = Header;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object of tensors")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header, A::Error> {
                let mut header = Header::default();
                let mut described = false;
                while let Some(name) = map.next_key::<String>()? {
                    if name != "__metadata__" {
                        header.end = header.end.max(map.next_value::<Info>()?.data_offsets.1);
                        header.tensors.push(name);
                    } else if described {
                        return Err(serde::de::Error::custom("it has '__metadata__' twice"));
                    } else {
                        described = true;
                        header.metadata = map.next_value::<Pairs<String>>()?.0;
                    }
                }
                Ok(header)
            }
        }
        deserializer.deserialize_map(All)
    }
}

/// The first name that comes twice.
fn twice<'a>(names: impl Iterator<Item = &'a String>) -> Option<&'a String> {
    let mut seen = HashSet::new();
    names.into_iter().find(|name| !seen.insert(name.as_str()))
}

impl<'a> Tensors<'a> {
    /// The tensors of any safetensors file, and its header, or what is wrong with it.
    fn open(bytes: &'a [u8]) -> Result<(Self, Header), String> {
        let raw = header_of(bytes)?;
        if raw.first() != Some(&b'{') {
            return Err("no safetensors file: its header does not begin with '{'".to_owned());
        }
        let header: Header = serde_json::from_slice(raw)
            .map_err(|error| format!("its header cannot be read: {}", brief_error(&error)))?;
        if let Some(name) = twice(header.tensors.iter()) {
            return Err(format!("it has the tensor '{}' twice", brief(name)));
        }
        if let Some(key) = twice(header.metadata.iter().map(|(key, _)| key)) {
            return Err(format!("its metadata have the key '{}' twice", brief(key)));
        }
        let follow = (bytes.len() - 8 - raw.len()) as u64;
        let tensors = SafeTensors::deserialize(bytes).map_err(|error| match (error, header.end) {
            (SafeTensorError::MetadataIncompleteBuffer, end) if follow < end => {
                format!("it is cut off: its header tells of {end} bytes of tensors, and {follow} follow it")
            }
            (SafeTensorError::MetadataIncompleteBuffer, end) => {
                format!("its header tells of {end} bytes of tensors, and {follow} follow it: there is something else at its end")
            }
            (error, _) => format!("no safetensors file: {error}"),
        })?;
        let mut left = BTreeMap::new();
        for name in &header.tensors {
            left.insert(name.clone(), tensors.tensor(name).map_err(|error| error.to_string())?);
        }
        Ok((Self { left }, header))
    }

    /// The tensors of any safetensors file.
    pub(super) fn plain(bytes: &'a [u8]) -> Result<Self, String> {
        Self::open(bytes).map(|(tensors, _)| tensors)
    }

    /// The tensors of a checkpoint, what it says of the network, and the version of this crate that wrote it.
    pub(crate) fn checkpoint<T: DeserializeOwned>(bytes: &'a [u8]) -> Result<(Self, T, String), String> {
        let (tensors, header) = Self::open(bytes)?;
        let [(key, metadata)] = header.metadata.as_slice() else {
            return Err("no checkpoint of wgrad: its metadata are others; Weights::read takes plain tensors".to_owned());
        };
        if key != "wgrad" {
            return Err(format!("no checkpoint of wgrad: its metadata have the key '{}' in its place", brief(key)));
        }
        let unreadable = |error: serde_json::Error| format!("its metadata cannot be read: {}", brief_error(&error));
        let stamp: Stamp = serde_json::from_str(metadata).map_err(unreadable)?;
        if stamp.version > u64::from(VERSION) {
            let (version, by) = (stamp.version, brief(&stamp.written_by));
            return Err(format!("it has format version {version}, by wgrad {by}; this one reads up to {VERSION}"));
        }
        if stamp.version == 0 {
            return Err("it has format version 0, which never was".to_owned());
        }
        let at = 8 + digest_place(header_of(bytes)?).ok_or("its digest is missing")?;
        let (want, got) = (&bytes[at..at + DIGITS], digest(bytes, at));
        if want != got.as_bytes() {
            let want = String::from_utf8_lossy(want);
            return Err(format!("it is damaged: its digest says {}, its bytes have {got}", brief(&want)));
        }
        let Metadata { network, written_by, .. } = serde_json::from_str(metadata).map_err(unreadable)?;
        Ok((tensors, network, written_by))
    }

    /// Name and shape of those not taken yet.
    pub(super) fn names(&self) -> impl Iterator<Item = (&str, &[usize])> {
        self.left.iter().map(|(name, view)| (name.as_str(), view.shape()))
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.left.contains_key(name)
    }

    /// Takes a tensor, or says that there is none.
    pub(super) fn take(&mut self, name: &str) -> Result<TensorView<'a>, String> {
        self.left.remove(name).ok_or_else(|| format!("it has no tensor '{}'", brief(name)))
    }

    /// Takes the numbers of a tensor of this shape.
    pub(crate) fn numbers(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>, String> {
        let view = self.take(name)?;
        if view.shape() != shape {
            return Err(format!("its tensor '{}' is {:?}, where {shape:?} belongs", brief(name), view.shape()));
        }
        if view.dtype() != Dtype::F32 {
            return Err(format!("its tensor '{}' is {}, where F32 belongs", brief(name), view.dtype()));
        }
        let (words, _) = view.data().as_chunks();
        Ok(words.iter().map(|word| f32::from_le_bytes(*word)).collect())
    }

    /// Takes a text, and what its JSON means.
    pub(crate) fn json<T: DeserializeOwned>(&mut self, name: &str) -> Result<T, String> {
        let view = self.take(name)?;
        if view.dtype() != Dtype::U8 {
            return Err(format!("its tensor '{name}' is {}, where U8 belongs", view.dtype()));
        }
        serde_json::from_slice(view.data())
            .map_err(|error| format!("its tensor '{name}' cannot be read: {}", brief_error(&error)))
    }

    /// That nothing is left.
    pub(crate) fn finish(self) -> Result<(), String> {
        match self.left.first_key_value() {
            None => Ok(()),
            Some((name, _)) => Err(format!("it has a tensor '{}' that does not belong there", brief(name))),
        }
    }
}

/// A message about text from outside, at a length that can be borne.
pub(crate) fn brief_error(error: &serde_json::Error) -> String {
    const MOST: usize = 200;
    let text: String = error.to_string().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    match text.char_indices().nth(MOST) {
        Some((at, _)) => format!("{}...", &text[..at]),
        None => text,
    }
}
