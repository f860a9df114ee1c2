//! A plan with its buffers on an engine: what a network calls, and what training and evaluation loop over.

use std::future::Future;
use std::ops::ControlFlow;
use std::time::Duration;

use crate::backend::{Engine, Prepared, Slot, buffer, slots};
use crate::error::{Error, Result};
use crate::feed::{Feed, Words};
use crate::kernel::Element;
use crate::plan::{BufferId, BufferSpec, Place, Plan, PlanKind, Request, Role};
use crate::stream::{self, Piece, Stream};

/// How long one submission should keep the device busy: long enough to hide the host, short enough for every watchdog.
const TARGET: Duration = Duration::from_millis(100);

/// Steps of the longest submission: recording more would cost memory for nothing.
pub(crate) const MOST_STEPS: usize = 4096;

/// The buffers of a network that its plans share.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shared {
    pub(crate) parameters: Slot,
    /// What the optimiser remembers.
    pub(crate) state: Slot,
}

/// A prepared plan, and which of its buffers are its own.
#[derive(Debug)]
pub(crate) struct Session {
    prepared: Prepared,
    owned: Vec<Slot>,
}

impl Shared {
    const fn of(self, role: Role) -> Option<Slot> {
        match role {
            Role::Parameters => Some(self.parameters),
            Role::State => Some(self.state),
            _ => None,
        }
    }
}

impl Session {
    /// Builds the plan and allocates its buffers, but for the shared ones.
    pub(crate) fn open(engine: &mut Engine, kind: PlanKind, request: &Request<'_>, shared: Shared) -> Result<Self> {
        Self::with_plan(engine, Plan::new(kind, request)?, Some(shared))
    }

    /// Allocates the buffers of a plan, but for the shared ones where they are given.
    pub(crate) fn with_plan(engine: &mut Engine, plan: Plan, shared: Option<Shared>) -> Result<Self> {
        Self::given(engine, plan, |spec| shared.and_then(|shared| shared.of(spec.role)))
    }

    /// The same plan as another session's, on the same buffers but for the data.
    pub(crate) fn beside(engine: &mut Engine, first: &Self) -> Result<Self> {
        let Prepared { plan, slots, .. } = &first.prepared;
        let mut slots = slots.iter();
        Self::given(engine, plan.clone(), |spec| {
            let slot = slots.next().copied();
            slot.filter(|_| !matches!(spec.role, Role::Inputs | Role::Targets))
        })
    }

    /// Allocates the buffers of a plan, but for those that are given; it is asked for each in turn.
    fn given(engine: &mut Engine, plan: Plan, given: impl FnMut(&BufferSpec) -> Option<Slot>) -> Result<Self> {
        let mut owned = Vec::with_capacity(plan.buffers.len());
        let prepared = Self::prepare(engine, plan, given, &mut owned);
        if prepared.is_err() {
            owned.drain(..).for_each(|slot| engine.release(slot));
        }
        Ok(Self { prepared: prepared?, owned })
    }

    /// Notes in `owned` what it has allocated, also where it fails.
    fn prepare(
        engine: &mut Engine,
        plan: Plan,
        given: impl FnMut(&BufferSpec) -> Option<Slot>,
        owned: &mut Vec<Slot>,
    ) -> Result<Prepared> {
        let slots = slots(&plan, given, |spec| {
            let slot = engine.alloc(spec)?;
            owned.push(slot);
            if !spec.head.is_empty() {
                engine.write(slot, 0, &spec.head)?;
            }
            Ok(slot)
        })?;
        engine.prepare(plan, slots)
    }

    /// Asks for all of a buffer of the plan.
    pub(crate) fn read_buffer(
        &self,
        engine: &mut Engine,
        BufferId(id): BufferId,
    ) -> impl Future<Output = Result<Vec<u32>>> + use<> {
        engine.read(self.prepared.slots[id], 0, self.prepared.plan.buffers[id].len)
    }

    /// Gives the buffers back; the session is of no use afterwards.
    pub(crate) fn close(&mut self, engine: &mut Engine) {
        self.owned.drain(..).for_each(|slot| engine.release(slot));
    }

    pub(crate) fn rows(&self) -> usize {
        self.prepared.plan.rows
    }

    pub(crate) const fn plan(&self) -> &Plan {
        &self.prepared.plan
    }

    /// The slot, offset and length of what the role says, where the plan has it.
    fn find(&self, role: Role, network: usize) -> Option<(Slot, usize, usize)> {
        let Place { buffer, offset, len } = self.prepared.plan.place(role, network)?;
        Some((self.prepared.slots[buffer.0], offset, len))
    }

    pub(crate) fn write(&self, engine: &mut Engine, role: Role, words: &[u32]) -> Result<()> {
        self.write_of(engine, role, 0, words)
    }

    /// As [`write`](Self::write), from this element on.
    pub(crate) fn write_at(&self, engine: &mut Engine, role: Role, at: usize, words: &[u32]) -> Result<()> {
        match self.find(role, 0) {
            Some((slot, offset, _)) => engine.write(slot, offset + at, words),
            None => Ok(()),
        }
    }

    /// As [`write`](Self::write), what belongs to one network of a population.
    pub(crate) fn write_of(&self, engine: &mut Engine, role: Role, network: usize, words: &[u32]) -> Result<()> {
        match self.find(role, network) {
            Some((slot, offset, _)) => engine.write(slot, offset, words),
            None => Ok(()),
        }
    }

    /// Writes step, live rows, examples and steps taken before this epoch; no gradients are there yet, so their step is this one.
    pub(crate) fn write_control(&self, engine: &mut Engine, network: usize, control: [u32; 4]) -> Result<()> {
        let [step, ..] = control;
        self.write_of(engine, Role::Control, network, &control)?;
        match self.find(Role::Control, network) {
            Some((slot, offset, len)) if len > control.len() => engine.write(slot, offset + control.len(), &[step]),
            _ => Ok(()),
        }
    }

    /// Writes live rows, and zeros in the rows after them: what an earlier call left there could overflow under today's
    /// parameters, and 0 times infinity is not 0.
    pub(crate) fn write_rows(&self, engine: &mut Engine, role: Role, numbers: &[f32]) -> Result<()> {
        let Some((slot, offset, len)) = self.find(role, 0) else { return Ok(()) };
        engine.write_f32(slot, offset, numbers)?;
        if numbers.len() < len {
            engine.zero(slot, offset + numbers.len(), len - numbers.len())?;
        }
        Ok(())
    }

    /// The first numbers of the buffer with this role, where the work is done when it was asked for.
    pub(crate) fn copy(&self, engine: &Engine, role: Role, out: &mut [f32]) -> Result<()> {
        match self.find(role, 0) {
            Some((slot, offset, _)) => engine.copy(slot, offset, out),
            None => Ok(()),
        }
    }

    /// Trains (or evaluates, or predicts) this many mini-batches, as one submission.
    pub(crate) fn run(&self, engine: &mut Engine, times: usize) -> Result<()> {
        let parts = self.prepared.plan.rounds.iter().scan(times, |left, round| {
            let times = *left / round.advances;
            *left %= round.advances;
            Some((round.steps.clone(), times))
        });
        engine.run(&self.prepared, parts)
    }

    /// The first `len` words of the buffer with this role; none where the plan has no such buffer.
    pub(crate) fn read(
        &self,
        engine: &mut Engine,
        role: Role,
        len: usize,
    ) -> impl Future<Output = Result<Vec<u32>>> + use<> {
        let read = self.find(role, 0).map(|(slot, offset, _)| engine.read(slot, offset, len));
        async move {
            match read {
                Some(read) => read.await,
                None => Ok(Vec::new()),
            }
        }
    }
}

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

/// The cost and the right answers of every step of a walk.
#[derive(Debug, Clone)]
pub(crate) struct Scores {
    /// Summed over the rows of the step.
    pub(crate) cost: Vec<f32>,
    pub(crate) right: Vec<u32>,
    /// Answers counted over all steps, and two sums of errors an output and step, where the plan's goal has them.
    pub(crate) counts: Vec<u32>,
    pub(crate) errors: Vec<f32>,
    /// Rows walked through.
    len: usize,
}

impl Scores {
    /// From the words of [`Role::Scores`], two a step.
    fn of(words: &[u32], len: usize) -> Self {
        let (pairs, _) = words.as_chunks::<2>();
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count, exact in an f32")]
        let right = pairs.iter().map(|pair| f32::from_bits(pair[1]) as u32).collect();
        Self {
            cost: pairs.iter().map(|pair| f32::from_bits(pair[0])).collect(),
            right,
            counts: Vec::new(),
            errors: Vec::new(),
            len,
        }
    }

    /// The mean over all rows.
    pub(crate) fn mean_cost(&self) -> f64 {
        #[allow(clippy::cast_precision_loss, reason = "a count of rows is far below 2^53")]
        let rows = self.len as f64;
        self.cost.iter().map(|&c| f64::from(c)).sum::<f64>() / rows
    }

    /// The share of right answers, 0 to 1.
    pub(crate) fn accuracy(&self) -> f64 {
        #[allow(clippy::cast_precision_loss, reason = "a count of rows is far below 2^53")]
        let rows = self.len as f64;
        self.right.iter().map(|&n| f64::from(n)).sum::<f64>() / rows
    }

    /// The first step whose cost is not finite.
    pub(crate) fn first_not_finite(&self) -> Option<(usize, f32)> {
        // By the bits: NaN and infinity are where the exponent is all ones.
        self.cost.iter().copied().enumerate().find(|(_, c)| c.to_bits() & 0x7f80_0000 == 0x7f80_0000)
    }
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
            let len = self.session.find(role, 0).map_or(0, |(_, _, len)| len);
            self.session.read(engine, role, len)
        });
        let len = self.len.min(steps.saturating_mul(self.session.rows()));
        async move {
            let scores = Scores::of(&scores.await?, len);
            let counts = counts.await?;
            let errors = errors.await?.into_iter().map(f32::from_bits).collect();
            Ok(Scores { counts, errors, ..scores })
        }
    }
}

/// What the kernels are told of a count of steps: random bits repeat after 2^32 of them.
#[allow(clippy::cast_possible_truncation, reason = "the low half")]
pub(crate) const fn low(steps: u64) -> u32 {
    steps as u32
}

/// Measures a submission: the clock of a browser is not at hand in the standard library there.
pub(crate) struct Stopwatch {
    #[cfg(not(target_arch = "wasm32"))]
    start: std::time::Instant,
}

impl Stopwatch {
    pub(crate) fn start() -> Self {
        Self {
            #[cfg(not(target_arch = "wasm32"))]
            start: std::time::Instant::now(),
        }
    }

    pub(crate) fn elapsed(&self) -> Duration {
        #[cfg(not(target_arch = "wasm32"))]
        return self.start.elapsed();
        #[cfg(target_arch = "wasm32")]
        TARGET
    }
}

/// The parameter arena.
pub(crate) fn parameters(engine: &mut Engine, len: usize) -> Result<Slot> {
    engine.alloc(&buffer("params", len, Element::F32))
}

/// The buffer of what an optimiser remembers.
pub(crate) fn state_spec(len: usize) -> BufferSpec {
    buffer("state", len, Element::F32)
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
