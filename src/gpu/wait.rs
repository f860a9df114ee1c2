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

/// A submission lasts a tenth of a second or so; a device that finishes none for this long is hung.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long one poll may hold wgpu's locks, which other threads need to free resources.
const SLICE: Duration = Duration::from_millis(20);

/// A buffer on its way to the host.
pub(crate) struct Readback {
    context: Arc<Context>,
    staging: wgpu::Buffer,
    answer: Answer<Result<(), wgpu::BufferAsyncError>>,
    submission: wgpu::SubmissionIndex,
}

impl Readback {
    pub(super) fn new(context: Arc<Context>, staging: wgpu::Buffer, submission: wgpu::SubmissionIndex) -> Result<Self> {
        let (answer, reply) = Answer::new();
        context.scope("mapping a readback", 0, || {
            staging.slice(..).map_async(wgpu::MapMode::Read, reply);
        })?;
        Ok(Self { context, staging, answer, submission })
    }

    /// The words, once they are there.
    pub(crate) async fn words(self) -> Result<Vec<u32>> {
        let mapped = self.answer.get(&self.context, Some(self.submission), "a readback").await?;
        let failed = |message: String| Error::Gpu { during: "a readback".to_owned(), message };
        mapped.map_err(|error| self.context.healthy().err().unwrap_or_else(|| failed(error.to_string())))?;
        let view = self.staging.slice(..).get_mapped_range().map_err(|error| failed(error.to_string()))?;
        Ok(bytemuck::pod_collect_to_vec(&view))
    }
}

/// Ready when everything submitted so far is done.
pub(super) fn submitted_work(
    context: Arc<Context>,
    last: Option<wgpu::SubmissionIndex>,
) -> impl Future<Output = Result<()>> {
    let (answer, reply) = Answer::new();
    context.queue.on_submitted_work_done(move || reply(()));
    async move {
        answer.get(&context, last, "submitted work").await?;
        context.healthy()
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

    /// Waits for the answer, which comes when `submission` is done.
    async fn get(
        &self,
        context: &Arc<Context>,
        submission: Option<wgpu::SubmissionIndex>,
        what: &'static str,
    ) -> Result<T> {
        #[cfg(not(target_arch = "wasm32"))]
        self.drive(context, submission, what).await?;
        #[cfg(target_arch = "wasm32")]
        let _ = (submission, what);
        let lost = || Error::DeviceLost { reason: format!("no answer about {what}") };
        self.receiver.receive().await.ok_or_else(|| context.healthy().err().unwrap_or_else(lost))
    }

    /// Sees to it that the device is polled until the answer is there.
    #[cfg(not(target_arch = "wasm32"))]
    async fn drive(
        &self,
        context: &Arc<Context>,
        submission: Option<wgpu::SubmissionIndex>,
        what: &'static str,
    ) -> Result<()> {
        if crate::blocking::allowed() {
            return poll_until(context, submission.as_ref(), &self.there, what);
        }
        // After a failed poll the answer may never come.
        poll(context, wgpu::PollType::Poll)?;
        if self.there.load(Ordering::Acquire) {
            return Ok(());
        }
        let (sender, receiver) = oneshot_channel();
        let (context, there) = (Arc::clone(context), Arc::clone(&self.there));
        let spawned = std::thread::Builder::new().name("wgrad poll".to_owned()).spawn(move || {
            let _ = sender.send(poll_until(&context, submission.as_ref(), &there, what));
        });
        match spawned {
            Ok(_) => receiver.receive().await.unwrap_or(Ok(())),
            Err(error) => {
                Err(Error::Gpu { during: format!("waiting for {what}"), message: format!("no thread: {error}") })
            }
        }
    }
}

/// Polls until the flag is set, in slices. Its patience starts anew with each submission that is done: many may be queued before
/// the one that is waited for.
#[cfg(not(target_arch = "wasm32"))]
fn poll_until(
    context: &Context,
    submission: Option<&wgpu::SubmissionIndex>,
    there: &AtomicBool,
    what: &'static str,
) -> Result<()> {
    let mut start = Instant::now();
    let mut finished = context.finished();
    while !there.load(Ordering::Acquire) {
        poll(context, wgpu::PollType::Wait { submission_index: submission.cloned(), timeout: Some(SLICE) })?;
        context.healthy()?;
        if context.finished() != finished {
            finished = context.finished();
            start = Instant::now();
        }
        if start.elapsed() > PATIENCE {
            return Err(Error::Timeout { what, seconds: PATIENCE.as_secs() });
        }
    }
    Ok(())
}

/// Polls the device. wgpu 30 panics here when the driver loses the device during the wait.
#[cfg(not(target_arch = "wasm32"))]
fn poll(context: &Context, how: wgpu::PollType) -> Result<()> {
    let polled = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| context.device.poll(how)));
    match polled {
        Ok(Ok(_) | Err(wgpu::PollError::Timeout)) => Ok(()),
        Ok(Err(error)) => Err(Error::Gpu { during: "a wait".to_owned(), message: error.to_string() }),
        Err(_) => Err(context.healthy().err().unwrap_or_else(|| Error::DeviceLost {
            reason: "the driver failed while its work was waited for".to_owned(),
        })),
    }
}
