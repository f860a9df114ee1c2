//! A data set that does not fit on the device: the rows of the mini-batches to come are sent while the device trains on earlier ones.
//!
//! The order of an epoch is known when it begins. So the host packs rows in that order, and the device finds mini-batch after
//! mini-batch lying in a row, in two buffers that take turns: while it is at work in one, the other is filled. Everything else is as
//! with resident data: the same kernels, the same sums in the same order, the same bits.

use std::borrow::Cow;
use std::ops::Range;

use crate::backend::Engine;
use crate::error::{Error, Result};
use crate::feed::{Feed, Words};
use crate::plan::{Limits, Request, Role};
use crate::session::Session;

/// Bytes that the data of one of the two buffers have at most, unless one mini-batch has more: what is sent at a time is far less,
/// and more would only take memory.
const HALF_BYTES: u64 = 32 << 20;

/// Where a streamed data set is.
#[derive(Debug)]
pub(crate) struct Stream {
    feed: Feed,
    /// The same plan on other buffers for the data.
    other: Session,
    /// Rows of a mini-batch.
    rows: usize,
    /// Mini-batches that each of the two holds.
    half: usize,
    /// After so many mini-batches rows begin with a whole word again: bytes come four a word.
    aligned: usize,
    /// Of the epoch.
    order: Vec<u32>,
    /// The mini-batch that is trained on next, and how many are on the device or on their way.
    next: usize,
    ready: usize,
}

/// Words of a buffer, from an element on.
pub(crate) type Piece<'a> = (Role, usize, Cow<'a, [u32]>);

/// How many rows of a data set that does not fit are on a device at a time: in each of two buffers as many whole mini-batches as the
/// limits and [`HALF_BYTES`] allow, at least one.
///
/// # Errors
/// [`Error::Limit`] if two mini-batches are more than the data of a set may be. What is over another limit, the plan refuses.
pub(crate) fn held(feed: &Feed, request: &Request<'_>) -> Result<usize> {
    let Limits { max_data_bytes, .. } = request.limits;
    let each = feed.words(request.rows).map(|words| 4 * words as u64);
    let both = feed.bytes(request.rows);
    if both.saturating_mul(2) > max_data_bytes {
        return Err(Error::Limit {
            what: format!("two mini-batches of {} rows of a data set that is streamed", request.rows),
            limit: "max_data_bytes",
            need: both.saturating_mul(2),
            have: max_data_bytes,
            advice: "use a smaller batch, or allow the data more memory (Device::with_data_memory)",
        });
    }
    let most = (max_data_bytes / 2).min(HALF_BYTES);
    let fit = |bytes: u64, most: u64| most.checked_div(bytes).unwrap_or(u64::MAX);
    let [inputs, targets] = each.map(|bytes| fit(bytes, request.limits.binding()));
    let steps = fit(both, most).min(inputs).min(targets).max(1);
    Ok(usize::try_from(steps).unwrap_or(usize::MAX).saturating_mul(request.rows))
}

impl Stream {
    /// A stream into the buffers of this session, and others beside them.
    pub(crate) fn open(engine: &mut Engine, first: &Session, feed: &Feed) -> Result<Self> {
        let (rows, held) = (first.rows(), first.plan().held);
        let positions: Vec<u32> = (0..u32::try_from(held).unwrap_or(u32::MAX)).cycle().take(feed.len()).collect();
        first.write(engine, Role::Order, &positions)?;
        let other = Session::beside(engine, first)?;
        let aligned = [1, 2, 4].into_iter().find(|&steps| {
            let [many, one] = [4 * steps, steps].map(|steps| feed.words(steps * rows)[0]);
            many == 4 * one
        });
        let aligned = aligned.unwrap_or(4);
        let half = (held / rows).max(1);
        Ok(Self { feed: feed.clone(), other, rows, half, aligned, order: Vec::new(), next: 0, ready: 0 })
    }

    pub(crate) fn close(&mut self, engine: &mut Engine) {
        self.other.close(engine);
    }

    /// On from this step of an epoch with this order.
    pub(crate) fn start(&mut self, step: usize, order: &[u32]) {
        self.order.clear();
        self.order.extend_from_slice(order);
        (self.next, self.ready) = (step, step);
    }

    /// Submits so many next steps, and sends more of the rows that follow.
    pub(crate) fn run(&mut self, engine: &mut Engine, first: &Session, mut times: usize) -> Result<()> {
        while times > 0 {
            let count = times.min(self.half - self.next % self.half);
            self.send(engine, first, self.next + count)?;
            self.half_of(first, self.next).run(engine, count)?;
            self.next += count;
            times -= count;
            // The device is at work now. No more than twice what it was given, so that no call takes much longer than others.
            self.send(engine, first, (self.ready + 2 * count).min(self.next + self.half))?;
        }
        Ok(())
    }

    /// The session with the rows of this step.
    const fn half_of<'a>(&'a self, first: &'a Session, step: usize) -> &'a Session {
        if (step / self.half).is_multiple_of(2) { first } else { &self.other }
    }

    /// The rows of this step of the epoch, as its session has them.
    pub(crate) fn words_of(&self, first: &Session, step: usize) -> impl Iterator<Item = Piece<'_>> {
        let at = step % self.half;
        let from = at / self.aligned * self.aligned;
        self.words(first.plan().held, step - at, from..(from + self.aligned).min(self.half))
    }

    /// The rows of these mini-batches of one buffer, which begins with the mini-batch `begin` of the epoch and holds so many rows.
    fn words(&self, held: usize, begin: usize, steps: Range<usize>) -> impl Iterator<Item = Piece<'_>> {
        let rows = (begin + steps.start) * self.rows..((begin + steps.end) * self.rows).min(self.order.len());
        let Words { inputs, targets, weights } = self.feed.rows(&self.order[rows]);
        let (row, width) = (steps.start * self.rows, self.feed.target_words());
        let pieces = [
            (Role::Inputs, self.feed.words(row)[0], inputs),
            (Role::Targets, row * width, targets),
            (Role::Targets, held * width + row, weights),
        ];
        pieces.into_iter().filter(|(_, _, words)| !words.is_empty())
    }

    /// Sees to it that the rows of all steps before `to` are on their way.
    fn send(&mut self, engine: &mut Engine, first: &Session, to: usize) -> Result<()> {
        let steps = self.order.len().div_ceil(self.rows);
        while self.ready < to.min(steps) {
            let at = self.ready % self.half;
            // Whole words: what is there already is sent again, or what comes next along with it.
            let from = at / self.aligned * self.aligned;
            let end = (at + to.min(steps) - self.ready).next_multiple_of(self.aligned).min(self.half);
            let begin = self.ready - at;
            let session = self.half_of(first, begin);
            for (role, at, words) in self.words(first.plan().held, begin, from..end) {
                session.write_at(engine, role, at, &words)?;
            }
            self.ready = begin + end;
        }
        Ok(())
    }
}
