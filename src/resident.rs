//! A data set on a device, and the walk through it: what training and evaluation loop over.

use std::future::Future;
use std::ops::ControlFlow;
use std::time::Duration;

use crate::backend::Engine;
use crate::error::{Error, Result};
use crate::feed::{Feed, Words};
use crate::plan::{Plan, PlanKind, Request, Role};
use crate::scores::Scores;
use crate::session::{Session, Shared, low};
use crate::stopwatch::{Stopwatch, TARGET};
use crate::stream::{self, Piece, Stream};

/// Steps of the longest submission: recording more would cost memory for nothing.
pub(crate) const MOST_STEPS: usize = 4096;

/// A data set on the device, or on its way to it, with the plan that walks through it.
#[derive(Debug)]
pub(crate) struct Resident {
    session: Session,
    /// How its rows come, where they are not all there.
    stream: Option<Stream>,
    len: usize,
    steps: usize,
    /// Steps a submission; adapted to how long they take.
    chunk: usize,
}

impl Resident {
    /// Prepares the plan and uploads the data, or has them streamed where they are more than the device may hold of them, or has
    /// memory for. `request.source` and `request.emphasis` are what `feed` says.
    pub(crate) fn open(
        engine: &mut Engine,
        kind: PlanKind,
        request: &Request<'_>,
        shared: Shared,
        feed: &Feed,
    ) -> Result<Self> {
        let Feed { source, emphasis, .. } = *feed;
        let mut request = Request { source, emphasis, ..*request };
        // What the device had no memory for.
        let mut full = None;
        if feed.fits(&request.limits) {
            match Session::open(engine, kind, &request, shared).and_then(|session| Self::upload(engine, session, feed))
            {
                Err(error @ Error::OutOfMemory { .. }) => {
                    full = Some(error);
                    request.limits.max_data_bytes = feed.bytes(feed.len()).saturating_sub(1);
                }
                opened => return opened,
            }
        }
        loop {
            if full.is_some() {
                engine.reclaim()?;
            }
            let held = match (stream::held(feed, &request), full) {
                // Less than that cannot be.
                (Err(_), Some(error)) => return Err(error),
                (held, _) => held?,
            };
            let some = Request { held: Some(held), ..request };
            match Session::open(engine, kind, &some, shared)
                .and_then(|session| Self::with_stream(engine, session, feed))
            {
                Err(error @ Error::OutOfMemory { .. }) => {
                    full = Some(error);
                    // It was twice as much.
                    request.limits.max_data_bytes = feed.bytes(held);
                }
                opened => return opened,
            }
        }
    }

    /// As [`open`](Self::open), for a plan that trains a population; its parameters are its own.
    pub(crate) fn open_population(engine: &mut Engine, plan: Plan, feed: &Feed) -> Result<Self> {
        let session = Session::with_plan(engine, plan, None)?;
        Self::upload(engine, session, feed)
    }

    fn upload(engine: &mut Engine, session: Session, feed: &Feed) -> Result<Self> {
        let Words { inputs, targets, weights } = feed.all();
        let written = session
            .write(engine, Role::Inputs, &inputs)
            .and_then(|()| session.write(engine, Role::Targets, &targets))
            .and_then(|()| session.write_at(engine, Role::Targets, targets.len(), &weights));
        Self::of(engine, session, feed, written.map(|()| None))
    }

    fn with_stream(engine: &mut Engine, session: Session, feed: &Feed) -> Result<Self> {
        let stream = Stream::open(engine, &session, feed);
        Self::of(engine, session, feed, stream.map(Some))
    }

    /// With what brought the data, or the error of doing so, after which the session is closed.
    fn of(engine: &mut Engine, mut session: Session, feed: &Feed, stream: Result<Option<Stream>>) -> Result<Self> {
        match stream {
            Ok(stream) => {
                let (len, steps) = (feed.len(), feed.len().div_ceil(session.rows()));
                Ok(Self { session, stream, len, steps, chunk: 1 })
            }
            Err(error) => {
                session.close(engine);
                Err(error)
            }
        }
    }

    /// Whether the rows of a walk are sent while it goes on, and the device holds but some at a time.
    pub(crate) const fn is_streamed(&self) -> bool {
        self.stream.is_some()
    }

    /// Where rows are sent as they are needed, those of this step of the walk, as its buffers have them.
    pub(crate) fn words_of(&self, step: usize) -> impl Iterator<Item = Piece<'_>> {
        self.stream.iter().flat_map(move |stream| stream.words_of(&self.session, step))
    }

    /// Examples of the data set.
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    pub(crate) const fn session(&self) -> &Session {
        &self.session
    }

    /// Gives the data set's buffers back.
    pub(crate) fn close(&mut self, engine: &mut Engine) {
        if let Some(stream) = &mut self.stream {
            stream.close(engine);
        }
        self.session.close(engine);
    }

    pub(crate) const fn steps(&self) -> usize {
        self.steps
    }

    /// Back to the first step, with this order of the examples and these numbers of each step, by an optimiser that has taken so
    /// many steps.
    pub(crate) fn start(&mut self, engine: &mut Engine, order: &[u32], hyper: &[f32], taken: u64) -> Result<()> {
        self.start_of(engine, 0, order, hyper, taken)
    }

    /// As [`start`](Self::start), and on past the first `step` steps, which an earlier run did: it read these words of scores.
    pub(crate) fn start_at(
        &mut self,
        engine: &mut Engine,
        order: &[u32],
        hyper: &[f32],
        taken: u64,
        (step, scores): (usize, &[u32]),
    ) -> Result<()> {
        self.start(engine, order, hyper, taken)?;
        if let Some(stream) = &mut self.stream {
            stream.start(step, order);
        }
        let word = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let live = self.len.saturating_sub(step.saturating_mul(self.session.rows())).min(self.session.rows());
        self.session.write_control(engine, 0, [word(step), word(live), word(self.len), low(taken)])?;
        self.session.write(engine, Role::Scores, scores)
    }

    /// The words of the scores of the walk's first steps, as [`start_at`](Self::start_at) takes them.
    pub(crate) fn score_words(
        &self,
        engine: &mut Engine,
        steps: usize,
    ) -> impl Future<Output = Result<Vec<u32>>> + use<> {
        self.session.read(engine, Role::Scores, 2 * steps)
    }

    /// As [`start`](Self::start), one network of a population.
    pub(crate) fn start_of(
        &mut self,
        engine: &mut Engine,
        network: usize,
        order: &[u32],
        hyper: &[f32],
        taken: u64,
    ) -> Result<()> {
        let word = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let live = self.session.rows().min(self.len);
        self.session.write_control(engine, network, [0, word(live), word(self.len), low(taken)])?;
        match &mut self.stream {
            Some(stream) => stream.start(0, order),
            None => self.session.write_of(engine, Role::Order, network, order)?,
        }
        self.session.write_of(engine, Role::Hyper, network, bytemuck::cast_slice(hyper))
    }

    /// As [`start`](Self::start), for an evaluation: the order of the data set.
    pub(crate) fn start_in_order(&mut self, engine: &mut Engine) -> Result<()> {
        let order: Vec<u32> = (0..u32::try_from(self.len).unwrap_or(u32::MAX)).collect();
        self.start(engine, &order, &[], 0)
    }

    /// Submits the next steps of the walk, at most `left`, and says how many.
    pub(crate) fn submit(&mut self, engine: &mut Engine, left: usize) -> Result<usize> {
        let times = self.chunk.min(left);
        self.submit_just(engine, times)?;
        Ok(times)
    }

    /// Submits this many next steps of the walk.
    pub(crate) fn submit_just(&mut self, engine: &mut Engine, times: usize) -> Result<()> {
        match &mut self.stream {
            Some(stream) => stream.run(engine, &self.session, times),
            None => self.session.run(engine, times),
        }
    }

    /// Learns from how long a submission of `steps` steps took.
    pub(crate) fn adapt(&mut self, steps: usize, took: Duration) {
        let fits = TARGET.as_secs_f64() / took.as_secs_f64().max(1e-6);
        #[allow(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a rough size"
        )]
        let wanted = (steps as f64 * fits) as usize;
        // At most four times more at once: the first submissions also pay for warming up.
        self.chunk = wanted.clamp(1, (self.chunk * 4).min(MOST_STEPS));
    }

    /// Submits the next `most` steps of the walk, with two submissions in flight, or as many as there are before `is_up`, and at least
    /// one submission. Says whether it came so far: `Break` if the callback ended it before the last was done. Adds them to `counted`
    /// as they are submitted, so that they are counted too where this future is dropped on its way.
    pub(crate) async fn walk(
        &mut self,
        engine: &mut Engine,
        mut counted: impl FnMut(usize),
        most: usize,
        is_up: impl Fn() -> bool,
        mut progress: impl FnMut(usize) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>> {
        let mut submitted = 0;
        let mut done = 0;
        let mut in_flight = None;
        let mut watch = Stopwatch::start();
        while submitted < most && (submitted == 0 || !is_up()) {
            let count = self.submit(engine, most - submitted)?;
            submitted += count;
            counted(count);
            let earlier = in_flight.replace((count, engine.done()));
            if let Some((count, finished)) = earlier {
                finished.await?;
                self.adapt(count, watch.elapsed());
                watch = Stopwatch::start();
                done += count;
                if progress(done).is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// The scores of each network of a population, after the last step.
    pub(crate) fn scores_of_all(&self, engine: &mut Engine) -> impl Future<Output = Result<Vec<Scores>>> + use<> {
        let each = 2 * self.steps;
        let scores = self.session.read(engine, Role::Scores, each * self.session.plan().networks);
        let len = self.len;
        async move { Ok(scores.await?.chunks(each).map(|words| Scores::of(words, len)).collect()) }
    }

    /// The scores of the walk's first `steps` steps, after the last of them was submitted.
    pub(crate) fn scores(&self, engine: &mut Engine, steps: usize) -> impl Future<Output = Result<Scores>> + use<> {
        let scores = self.session.read(engine, Role::Scores, 2 * steps);
        let [counts, errors] = [Role::Counts, Role::StepErrors].map(|role| {
            let len = self.session.len_of(role);
            self.session.read(engine, role, len)
        });
        let len = self.len.min(steps.saturating_mul(self.session.rows()));
        async move {
            let mut scores = Scores::of(&scores.await?, len);
            scores.counts = counts.await?;
            scores.errors = errors.await?.into_iter().map(f32::from_bits).collect();
            Ok(scores)
        }
    }
}

/// The cost-only plan's batch: large, so that few dispatches do the work, but no larger than the data, and so small that the
/// limits allow it.
pub(crate) fn evaluation_rows(kind: PlanKind, request: &Request<'_>, feed: &Feed) -> usize {
    let mut rows = feed.len().clamp(1, 1000);
    // Data that are too much for the device are streamed.
    let planned = |rows| {
        let request = Request { rows, held: Some(rows), ..*request };
        let is_there = feed.fits(&request.limits);
        Plan::new(kind, &request).and_then(|_| if is_there { Ok(rows) } else { stream::held(feed, &request) })
    };
    while rows > 1 && matches!(planned(rows), Err(Error::Limit { .. })) {
        rows /= 2;
    }
    rows
}
