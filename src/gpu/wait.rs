//! Waiting for the GPU without blocking, and the one place where a blocking form may block.
//!
//! A native device makes progress only while somebody polls it. A blocking form polls on the calling thread; an async form
//! has a thread do it for as long as something is awaited. In a browser the event loop does.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_intrusive::channel::shared::{OneshotReceiver, oneshot_channel};

use super::context::Context;
use super::fault::{self, Op};
use crate::error::{Error, Result};
use crate::stopwatch::Stopwatch;

/// A submission lasts a tenth of a second or so; a device that finishes none for this long is hung.
const PATIENCE: Duration = Duration::from_secs(60);
/// The same for an answer of which a test says that it never comes.
const PATIENCE_IN_VAIN: Duration = Duration::from_millis(20);
/// How long a wait looks again and again before it lies down between two looks, and for how long then at most.
#[cfg(not(target_arch = "wasm32"))]
const EAGER: Duration = Duration::from_micros(200);
#[cfg(not(target_arch = "wasm32"))]
const NAP: Duration = Duration::from_micros(500);
/// The most that one look counts of the time since the look before: the clock goes on while a debugger or a suspended machine
/// holds the program, and the device with it, and that is no reason to give the device up.
#[cfg(not(target_arch = "wasm32"))]
const LOOK: Duration = Duration::from_secs(1);

/// A buffer on its way to the host.
pub(crate) struct Readback {
    context: Arc<Context>,
    staging: wgpu::Buffer,
    answer: Answer<Result<(), wgpu::BufferAsyncError>>,
}

impl Readback {
    pub(super) fn new(context: Arc<Context>, staging: wgpu::Buffer) -> Result<Self> {
        let (answer, reply) = Answer::new(&context);
        context.scope("mapping a readback", 0, || {
            if fault::strikes(Op::Mapping, Some(&context.device)) {
                staging.destroy();
            }
            staging.slice(..).map_async(wgpu::MapMode::Read, reply);
        })?;
        Ok(Self { context, staging, answer })
    }

    /// The words, once they are there.
    pub(crate) async fn words(self) -> Result<Vec<u32>> {
        let mapped = self.answer.get(&self.context, "a readback").await?;
        let failed = |message: String| self.context.why(Error::Gpu { during: "a readback".to_owned(), message });
        mapped.map_err(|error| failed(error.to_string()))?;
        if fault::strikes(Op::Readback, Some(&self.context.device)) {
            self.staging.unmap();
        }
        let view = self.staging.slice(..).get_mapped_range().map_err(|error| failed(error.to_string()))?;
        Ok(bytemuck::pod_collect_to_vec(&view))
    }
}

/// Ready when everything submitted so far is done; says how long after this call that was.
pub(super) fn submitted_work(context: Arc<Context>) -> impl Future<Output = Result<Duration>> {
    let (answer, reply) = Answer::new(&context);
    let watch = Stopwatch::start();
    context.queue.on_submitted_work_done(move || reply(watch.elapsed()));
    async move {
        let took = answer.get(&context, "submitted work").await?;
        context.healthy()?;
        Ok(took)
    }
}

/// Goes on after so long, where that can be waited for without an event loop of the browser's: there, at once.
pub(crate) async fn pause(time: Duration) {
    #[cfg(not(target_arch = "wasm32"))]
    {
        if crate::blocking::allowed() {
            return std::thread::sleep(time);
        }
        let (sender, receiver) = oneshot_channel();
        let sleep = move || {
            std::thread::sleep(time);
            let _ = sender.send(());
        };
        if std::thread::Builder::new().name("wgrad pause".to_owned()).spawn(sleep).is_ok() {
            let _ = receiver.receive().await;
        }
    }
    #[cfg(target_arch = "wasm32")]
    let _ = time;
}

/// What a callback of wgpu will say.
struct Answer<T: 'static> {
    receiver: OneshotReceiver<T>,
    #[cfg_attr(target_arch = "wasm32", allow(dead_code, reason = "there, nobody polls for it"))]
    there: Arc<AtomicBool>,
    #[cfg_attr(target_arch = "wasm32", allow(dead_code, reason = "there, the event loop waits"))]
    until: Until,
}

/// How long a wait lasts: while submissions that came before it are done, and for the patience after that.
#[derive(Clone, Copy)]
#[cfg_attr(target_arch = "wasm32", allow(dead_code, reason = "there, the event loop waits"))]
struct Until {
    submitted: u64,
    patience: Duration,
}

impl<T: Send + 'static> Answer<T> {
    /// The answer, and the callback that gives it.
    fn new(context: &Context) -> (Self, impl FnOnce(T) + Send + 'static + use<T>) {
        let (sender, receiver) = oneshot_channel();
        let there = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&there);
        let is_mute = fault::strikes(Op::Answer, Some(&context.device));
        let patience = if is_mute { PATIENCE_IN_VAIN } else { PATIENCE };
        let until = Until { submitted: context.submitted(), patience };
        let reply = move |value| {
            if is_mute {
                return;
            }
            // The receiver may be gone if the future was dropped; then nobody wants the answer.
            let _ = sender.send(value);
            flag.store(true, Ordering::Release);
        };
        (Self { receiver, there, until }, reply)
    }

    /// Waits for the answer.
    async fn get(&self, context: &Arc<Context>, what: &'static str) -> Result<T> {
        #[cfg(not(target_arch = "wasm32"))]
        self.drive(context, what).await?;
        #[cfg(target_arch = "wasm32")]
        let _ = what;
        let lost = || Error::DeviceLost { reason: format!("no answer about {what}") };
        self.receiver.receive().await.ok_or_else(|| context.healthy().err().unwrap_or_else(lost))
    }

    /// Sees to it that the device is polled until the answer is there.
    #[cfg(not(target_arch = "wasm32"))]
    async fn drive(&self, context: &Arc<Context>, what: &'static str) -> Result<()> {
        if crate::blocking::allowed() {
            return poll_until(context, &self.there, what, self.until);
        }
        // After a failed poll the answer may never come.
        poll(context, fault::strikes(Op::Poll, Some(&context.device)))?;
        if self.there.load(Ordering::Acquire) {
            return Ok(());
        }
        let (sender, receiver) = oneshot_channel();
        let (context, there, until) = (Arc::clone(context), Arc::clone(&self.there), self.until);
        let spawned = std::thread::Builder::new().name("wgrad poll".to_owned()).spawn(move || {
            let _ = sender.send(poll_until(&context, &there, what, until));
        });
        match spawned {
            Ok(_) => receiver.receive().await.unwrap_or(Ok(())),
            Err(error) => {
                Err(Error::Gpu { during: format!("waiting for {what}"), message: format!("no thread: {error}") })
            }
        }
    }
}

/// Polls until the flag is set. Its patience starts anew with each submission that is done: many may be queued before the one
/// that is waited for. What was submitted later is no news of it.
///
/// It looks and naps, in place of wgpu's own wait: that one holds a lock which other threads need to drop a buffer, and which
/// then stalls their submissions; and where its time runs out just as another thread's submission finds the queue empty,
/// wgpu-core 30 panics and loses the callbacks.
#[cfg(not(target_arch = "wasm32"))]
fn poll_until(context: &Context, there: &AtomicBool, what: &'static str, until: Until) -> Result<()> {
    let Until { submitted, patience } = until;
    let start = std::time::Instant::now();
    let (mut finished, mut silence) = (context.finished_of(submitted), Silence::since(start));
    let mut nap = Duration::from_micros(20);
    let mut panics = fault::strikes(Op::Poll, Some(&context.device));
    loop {
        poll(context, std::mem::take(&mut panics))?;
        if there.load(Ordering::Acquire) {
            return Ok(());
        }
        context.healthy()?;
        let now = std::time::Instant::now();
        let done = context.finished_of(submitted);
        if done != finished {
            (finished, silence) = (done, Silence::since(now));
        }
        if silence.at(now) > patience {
            // wgpu waits without limit for a queue's work before it lets go of the queue: this one is never let go of.
            std::mem::forget(context.queue.clone());
            return Err(Error::Timeout { what, seconds: patience.as_secs() });
        }
        if now - start < EAGER {
            std::thread::yield_now();
        } else {
            std::thread::sleep(nap);
            nap = (nap * 2).min(NAP);
        }
    }
}

/// How long there has been no news, as far as somebody looked.
#[cfg(not(target_arch = "wasm32"))]
struct Silence {
    length: Duration,
    looked: std::time::Instant,
}

#[cfg(not(target_arch = "wasm32"))]
impl Silence {
    fn since(now: std::time::Instant) -> Self {
        Self { length: Duration::ZERO, looked: now }
    }

    /// Its length at this look, one of many.
    fn at(&mut self, now: std::time::Instant) -> Duration {
        self.length += now.saturating_duration_since(self.looked).min(LOOK);
        self.looked = now;
        self.length
    }
}

/// Polls the device once. wgpu 30 panics here when the driver loses the device; `panics` has a test do so.
#[cfg(not(target_arch = "wasm32"))]
fn poll(context: &Context, panics: bool) -> Result<()> {
    let polled = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        if panics {
            // Without the message on standard error.
            std::panic::resume_unwind(Box::new("injected by a test"));
        }
        context.device.poll(wgpu::PollType::Poll)
    }));
    match polled {
        Ok(Ok(_) | Err(wgpu::PollError::Timeout)) => Ok(()),
        Ok(Err(error)) => Err(Error::Gpu { during: "a wait".to_owned(), message: error.to_string() }),
        Err(_) => Err(context.healthy().err().unwrap_or_else(|| Error::DeviceLost {
            reason: "the driver failed while it was asked for news".to_owned(),
        })),
    }
}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn time_in_which_nobody_looked_tries_no_patience() {
        let start = Instant::now();
        let mut silence = Silence::since(start);
        let hour = Duration::from_secs(3600);
        assert!(silence.at(start + NAP) <= NAP);
        assert!(silence.at(start + hour) <= NAP + LOOK, "the machine slept");
        let looks = (1..).take_while(|i| silence.at(start + hour + NAP * *i) <= PATIENCE).count();
        let want = PATIENCE.as_micros() / NAP.as_micros();
        let range = want - 3 * LOOK.as_micros() / NAP.as_micros()..want;
        assert!(
            range.contains(&(looks as u128)),
            "a device that is watched and silent is given up: {looks} looks, {range:?}"
        );
    }
}
