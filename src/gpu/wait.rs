//! Waiting for the GPU without blocking, and the one place where a blocking form may block.
//!
//! A native device makes progress only while somebody polls it. A blocking form polls on the calling thread; an async form
//! has a thread do it for as long as something is awaited. In a browser the event loop does.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_intrusive::channel::shared::{OneshotReceiver, oneshot_channel};

use super::context::Context;
use crate::error::{Error, Result};
use crate::session::Stopwatch;

/// A submission lasts a tenth of a second or so; a device that finishes none for this long is hung.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a wait looks again and again before it lies down between two looks, and for how long then at most.
const EAGER: Duration = Duration::from_micros(200);
const NAP: Duration = Duration::from_micros(500);

/// A buffer on its way to the host.
pub(crate) struct Readback {
    context: Arc<Context>,
    staging: wgpu::Buffer,
    answer: Answer<Result<(), wgpu::BufferAsyncError>>,
}

impl Readback {
    pub(super) fn new(context: Arc<Context>, staging: wgpu::Buffer) -> Result<Self> {
        let (answer, reply) = Answer::new();
        context.scope("mapping a readback", 0, || {
            staging.slice(..).map_async(wgpu::MapMode::Read, reply);
        })?;
        Ok(Self { context, staging, answer })
    }

    /// The words, once they are there.
    pub(crate) async fn words(self) -> Result<Vec<u32>> {
        let mapped = self.answer.get(&self.context, "a readback").await?;
        let failed = |message: String| Error::Gpu { during: "a readback".to_owned(), message };
        mapped.map_err(|error| self.context.healthy().err().unwrap_or_else(|| failed(error.to_string())))?;
        let view = self.staging.slice(..).get_mapped_range().map_err(|error| failed(error.to_string()))?;
        Ok(bytemuck::pod_collect_to_vec(&view))
    }
}

/// Ready when everything submitted so far is done; says how long after this call that was.
pub(super) fn submitted_work(context: Arc<Context>) -> impl Future<Output = Result<Duration>> {
    let (answer, reply) = Answer::new();
    let watch = Stopwatch::start();
    context.queue.on_submitted_work_done(move || reply(watch.elapsed()));
    async move {
        let took = answer.get(&context, "submitted work").await?;
        context.healthy()?;
        Ok(took)
    }
}

/// What a callback of wgpu will say.
struct Answer<T: 'static> {
    receiver: OneshotReceiver<T>,
    there: Arc<AtomicBool>,
}

impl<T: Send + 'static> Answer<T> {
    /// The answer, and the callback that gives it.
    fn new() -> (Self, impl FnOnce(T) + Send + 'static) {
        let (sender, receiver) = oneshot_channel();
        let there = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&there);
        let reply = move |value| {
            // The receiver may be gone if the future was dropped; then nobody wants the answer.
            let _ = sender.send(value);
            flag.store(true, Ordering::Release);
        };
        (Self { receiver, there }, reply)
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
            return poll_until(context, &self.there, what);
        }
        // After a failed poll the answer may never come.
        poll(context)?;
        if self.there.load(Ordering::Acquire) {
            return Ok(());
        }
        let (sender, receiver) = oneshot_channel();
        let (context, there) = (Arc::clone(context), Arc::clone(&self.there));
        let spawned = std::thread::Builder::new().name("wgrad poll".to_owned()).spawn(move || {
            let _ = sender.send(poll_until(&context, &there, what));
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
/// that is waited for.
///
/// It looks and naps, in place of wgpu's own wait: that one holds a lock which other threads need to drop a buffer, and which
/// then stalls their submissions; and where its time runs out just as another thread's submission finds the queue empty,
/// wgpu-core 30 panics and loses the callbacks.
#[cfg(not(target_arch = "wasm32"))]
fn poll_until(context: &Context, there: &AtomicBool, what: &'static str) -> Result<()> {
    let start = Instant::now();
    let (mut finished, mut news) = (context.finished(), start);
    let mut nap = Duration::from_micros(20);
    loop {
        poll(context)?;
        if there.load(Ordering::Acquire) {
            return Ok(());
        }
        context.healthy()?;
        if context.finished() != finished {
            (finished, news) = (context.finished(), Instant::now());
        }
        let waited = start.elapsed();
        if news.elapsed() > PATIENCE {
            return Err(Error::Timeout { what, seconds: PATIENCE.as_secs() });
        }
        if waited < EAGER {
            std::thread::yield_now();
        } else {
            std::thread::sleep(nap);
            nap = (nap * 2).min(NAP);
        }
    }
}

/// Polls the device once. wgpu 30 panics here when the driver loses the device.
#[cfg(not(target_arch = "wasm32"))]
fn poll(context: &Context) -> Result<()> {
    let polled = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| context.device.poll(wgpu::PollType::Poll)));
    match polled {
        Ok(Ok(_) | Err(wgpu::PollError::Timeout)) => Ok(()),
        Ok(Err(error)) => Err(Error::Gpu { during: "a wait".to_owned(), message: error.to_string() }),
        Err(_) => Err(context.healthy().err().unwrap_or_else(|| Error::DeviceLost {
            reason: "the driver failed while it was asked for news".to_owned(),
        })),
    }
}
