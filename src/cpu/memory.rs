//! The buffers of the CPU backend, and how a kernel gets at several of them at once.

use crate::backend::Slot;
use crate::error::{Error, Result};
use crate::kernel::Element;
use crate::plan::BufferSpec;
use crate::real::Real;

/// Numbers that start on a cache line. A SIMD load that straddles two lines costs two, and most would: at 784 columns a product
/// takes half as long again.
#[derive(Debug)]
pub(crate) struct Aligned<T> {
    storage: Vec<T>,
    start: usize,
    len: usize,
}

/// Bytes of a cache line, and of the widest SIMD vector.
const LINE: usize = 64;

impl<T: Real> Aligned<T> {
    fn zeros(len: usize) -> Self {
        let storage = vec![T::ZERO; len + LINE / size_of::<T>()];
        let start = storage.as_ptr().align_offset(LINE).min(storage.len() - len);
        Self { storage, start, len }
    }
}

impl<T> Aligned<T> {
    pub(crate) const fn new() -> Self {
        Self { storage: Vec::new(), start: 0, len: 0 }
    }
}

impl Aligned<f32> {
    /// The first `len` numbers, whatever they are; there are more from now on if there were too few.
    pub(crate) fn at_least(&mut self, len: usize) -> &mut [f32] {
        if self.len < len {
            *self = Self::zeros(len);
        }
        &mut self[..len]
    }
}

impl<T> std::ops::Deref for Aligned<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        &self.storage[self.start..][..self.len]
    }
}

impl<T> std::ops::DerefMut for Aligned<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.storage[self.start..][..self.len]
    }
}

/// Elements below which nobody asks whether there is memory.
const FEW: usize = 1 << 20;

/// That the system gives so much memory, as far as it says beforehand: to ask for zeros, which cost nothing until they are written, ends
/// the process where it does not.
pub(crate) fn room_for(what: &str, len: usize) -> Result<()> {
    let mut probe: Vec<u32> = Vec::new();
    if len >= FEW && std::hint::black_box(&mut probe).try_reserve_exact(len).is_err() {
        let bytes = (len as u64).saturating_mul(4);
        return Err(Error::OutOfMemory { what: what.to_owned(), bytes });
    }
    // Else the compiler may see that nothing is done with it.
    std::hint::black_box(&probe);
    Ok(())
}

/// One buffer: numbers in the arithmetic of the backend, or raw words.
#[derive(Debug)]
pub(crate) enum Buffer<T> {
    Real(Aligned<T>),
    Word(Vec<u32>),
}

impl<T: Real> Buffer<T> {
    pub(crate) fn zeros(element: Element, len: usize) -> Self {
        match element {
            Element::F32 | Element::F32x4 => Self::Real(Aligned::zeros(len)),
            Element::U32 => Self::Word(vec![0; len]),
        }
    }
}

/// A buffer, or a part of one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bound {
    slot: usize,
    start: usize,
    end: usize,
}

impl Bound {
    /// All of the buffer in this slot.
    pub(crate) const fn whole(slot: usize) -> Self {
        Self { slot, start: 0, end: usize::MAX }
    }

    /// What a buffer of a plan is, where it lies in this slot.
    pub(crate) fn of(spec: &BufferSpec, Slot { buffer, start }: Slot) -> Self {
        match spec.part_of {
            Some(_) => Self { slot: buffer, start, end: start + spec.len },
            None => Self::whole(buffer),
        }
    }

    fn cut<'a, T>(&self, all: &'a [T]) -> &'a [T] {
        &all[self.start..self.end.min(all.len())]
    }

    fn cut_mut<'a, T>(&self, all: &'a mut [T]) -> &'a mut [T] {
        let end = self.end.min(all.len());
        &mut all[self.start..end]
    }
}

/// All buffers of one engine, by slot.
#[derive(Debug)]
pub(crate) struct Memory<T> {
    buffers: Vec<Buffer<T>>,
    /// Where a kernel keeps what it needs on its way; kept, so that a step allocates nothing.
    scratch: Aligned<T>,
}

impl<T: Real> Memory<T> {
    pub(crate) const fn new() -> Self {
        Self { buffers: Vec::new(), scratch: Aligned::new() }
    }

    /// The scratch, to be put back.
    pub(crate) fn take_scratch(&mut self) -> Aligned<T> {
        std::mem::replace(&mut self.scratch, Aligned::new())
    }

    pub(crate) fn put_scratch(&mut self, scratch: Aligned<T>) {
        self.scratch = scratch;
    }

    /// Adds a buffer of zeros and returns its slot.
    pub(crate) fn alloc(&mut self, element: Element, len: usize) -> usize {
        self.buffers.push(Buffer::zeros(element, len));
        self.buffers.len() - 1
    }

    pub(crate) fn buffer(&self, slot: usize) -> &Buffer<T> {
        &self.buffers[slot]
    }

    pub(crate) fn buffer_mut(&mut self, slot: usize) -> &mut Buffer<T> {
        &mut self.buffers[slot]
    }

    /// The numbers of a slot. A plan that binds words here is a bug of its builder, which its tests would see.
    pub(crate) fn real(&self, bound: Bound) -> &[T] {
        match &self.buffers[bound.slot] {
            Buffer::Real(v) => bound.cut(v),
            Buffer::Word(_) => unreachable!("{bound:?} holds words, a kernel wants numbers"),
        }
    }

    pub(crate) fn word(&self, bound: Bound) -> &[u32] {
        match &self.buffers[bound.slot] {
            Buffer::Word(v) => bound.cut(v),
            Buffer::Real(_) => unreachable!("{bound:?} holds numbers, a kernel wants words"),
        }
    }

    /// Runs `f` with the numbers of a view to write and all other buffers to read. The buffer is moved out and back, which
    /// costs three words and needs no proof that the slots differ.
    pub(crate) fn write<R>(&mut self, bound: Bound, f: impl FnOnce(&mut Self, &mut [T]) -> R) -> R {
        let mut taken = std::mem::replace(&mut self.buffers[bound.slot], Buffer::Word(Vec::new()));
        let result = match &mut taken {
            Buffer::Real(v) => f(self, bound.cut_mut(v)),
            Buffer::Word(_) => unreachable!("{bound:?} holds words, a kernel writes numbers"),
        };
        self.buffers[bound.slot] = taken;
        result
    }

    /// As [`write`](Self::write), for words.
    pub(crate) fn write_words<R>(&mut self, bound: Bound, f: impl FnOnce(&mut Self, &mut [u32]) -> R) -> R {
        let mut taken = std::mem::replace(&mut self.buffers[bound.slot], Buffer::Word(Vec::new()));
        let result = match &mut taken {
            Buffer::Word(v) => f(self, bound.cut_mut(v)),
            Buffer::Real(_) => unreachable!("{bound:?} holds numbers, a kernel writes words"),
        };
        self.buffers[bound.slot] = taken;
        result
    }
}
