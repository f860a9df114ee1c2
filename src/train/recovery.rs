//! What becomes of a run whose device fails: its state is kept on the host, and goes on from there on another device.

use std::future::Future;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use super::rescue::Rescue;
use super::state::{Identity, Rest};
use super::{Event, Trainer};
use crate::data::Dataset;
use crate::error::{Error, Result};
use crate::network::Network;
use crate::{Checkpoints, Device};

#[cfg(not(target_arch = "wasm32"))]
pub(super) type Asked = Pin<Box<dyn Future<Output = Result<Device>> + Send>>;
#[cfg(target_arch = "wasm32")]
pub(super) type Asked = Pin<Box<dyn Future<Output = Result<Device>>>>;
#[cfg(not(target_arch = "wasm32"))]
type Ask = Arc<dyn Fn() -> Asked + Send + Sync>;
#[cfg(target_arch = "wasm32")]
type Ask = Arc<dyn Fn() -> Asked>;

/// What [`Trainer::fit_async`] does when its GPU fails: reset by its driver, unplugged, silent for a minute, or with an error that
/// nobody expected. A run in slices ([`Training::step_for`](crate::Training::step_for)) and a [`Population`](crate::Population) do the same.
///
/// The state of the run is kept in the host's memory: when it starts, and from then on whenever [`every`](Self::every) has gone by,
/// at the end of an epoch or within it. When the device fails, another one of the same adapter is asked for, the network is put on
/// it (the `&mut Network` of the caller has it then), the data are uploaded again, and the run goes on from the kept state: **it ends
/// with the same bits as if nothing had happened**, since the same adapter, with the same driver, limits and plans, repeats every step.
/// [`Event::Recovered`] says so; events of what is done once more come once more.
///
/// Three tries in a row without progress are the end, unless set otherwise. Then the run goes on on the CPU where that is
/// [allowed](Self::allow_cpu): with the same state, but the roundings of the CPU backend, so not with the same bits. Else it ends with
/// [`Error::NotRecovered`], and nothing is lost that was kept: the network is on the CPU backend with the parameters and the optimiser's
/// memory of the kept state, and where [checkpoints](Trainer::checkpoints) are on, that state is written there.
///
/// A device that is lost before the run starts costs nothing, as long as the host knows what was on it: parameters that were drawn, loaded, or
/// given ([`Network::set_parameters`], up to 2^24 numbers), and not trained on since. Else the error is [`Error::ParametersLost`].
///
/// A device of the application (`Device::from_wgpu`) can only be replaced by the application, with [`device_from`](Self::device_from).
/// What is not a fault of the device, such as a lack of memory or a cost that diverges, is an error as ever. The CPU backend does not
/// fail, and nothing is kept for it.
///
/// ```
/// # #[cfg(feature = "blocking")] {
/// use std::{ops::ControlFlow, time::Duration};
/// use wgrad::{Activation, Cost, Device, Event, Network, Recovery, Sgd, Trainer, data};
/// let (train, test) = data::synthetic_digits(600, 1)?.split_at(500)?;
/// let mut net = Network::new(784).dense(10, Activation::Sigmoid).build(&Device::auto()?)?;
/// let mut trainer = Trainer::new(Cost::Quadratic, Sgd::new(3.0))
///     .epochs(2)
///     .recovery(Recovery::default().every(Duration::from_secs(2)).allow_cpu(true))
///     .on_event(|event| {
///         if let Event::Recovered { error, device, epoch, step } = event {
///             println!("{error}; going on in epoch {epoch} after step {step}, on {device}");
///         }
///         ControlFlow::Continue(())
///     });
/// trainer.fit(&mut net, &train, Some(&test))?;
/// # }
/// # Ok::<(), wgrad::Error>(())
/// ```
#[derive(Clone)]
#[must_use = "give it to Trainer::recovery"]
pub struct Recovery {
    is_on: bool,
    pub(super) retries: u32,
    pub(crate) every: Duration,
    pub(super) pause: Duration,
    pub(super) cpu: bool,
    ask: Option<Ask>,
}

impl std::fmt::Debug for Recovery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { is_on, retries, every, pause, cpu, ask } = self;
        f.debug_struct("Recovery")
            .field("is_on", is_on)
            .field("retries", retries)
            .field("every", every)
            .field("pause", pause)
            .field("cpu", cpu)
            .field("ask", &ask.is_some())
            .finish()
    }
}

/// Three tries, a second apart; the state is kept every ten seconds; never on the CPU.
impl Default for Recovery {
    fn default() -> Self {
        let (every, pause) = (Duration::from_secs(10), Duration::from_secs(1));
        Self { is_on: true, retries: 3, every, pause, cpu: false, ask: None }
    }
}

impl Recovery {
    /// Nothing is kept, and what the device fails with is the error. Parameters that were trained are lost with the device then.
    pub fn none() -> Self {
        Self { is_on: false, ..Self::default() }
    }

    /// How often in a row to try another device, without progress in between; 3 unless set. With 0 the state is kept all the same.
    pub const fn retries(mut self, retries: u32) -> Self {
        self.retries = retries;
        self
    }

    /// How much time may have to be trained again, at most; 10 s unless set, and 0 keeps the state after every submission. To keep it
    /// is to wait for the device and to read the parameters and what the optimiser remembers: with Adam 12 bytes a parameter.
    pub const fn every(mut self, time: Duration) -> Self {
        self.every = time;
        self
    }

    /// How long to wait before every try but the first; 1 s unless set. A driver that resets its adapter needs some.
    pub const fn pause(mut self, time: Duration) -> Self {
        self.pause = time;
        self
    }

    /// Whether to go on on the CPU where no device can be had.
    pub const fn allow_cpu(mut self, allow: bool) -> Self {
        self.cpu = allow;
        self
    }

    /// Where another device comes from, in place of the same adapter: for applications that own their device.
    ///
    /// ```
    /// # #[cfg(feature = "gpu")] {
    /// use std::{future::Future, sync::Arc};
    /// use wgrad::{Device, Recovery, wgpu};
    ///
    /// /// What the application draws with.
    /// trait Renderer: Send + Sync + 'static {
    ///     fn device_again(&self) -> impl Future<Output = wgrad::Result<(wgpu::Device, wgpu::Queue, wgpu::AdapterInfo)>> + Send;
    /// }
    ///
    /// fn with_renderer(renderer: Arc<impl Renderer>) -> Recovery {
    ///     Recovery::default().device_from(move || {
    ///         let renderer = renderer.clone();
    ///         async move {
    ///             let (device, queue, info) = renderer.device_again().await?;
    ///             Ok(Device::from_wgpu(device, queue, info))
    ///         }
    ///     })
    /// }
    /// # }
    /// ```
    #[cfg(not(target_arch = "wasm32"))]
    pub fn device_from<F>(mut self, ask: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<Device>> + Send + 'static,
    {
        self.ask = Some(Arc::new(move || Box::pin(ask())));
        self
    }

    /// Where another device comes from, in place of the same adapter: for applications that own their device.
    #[cfg(target_arch = "wasm32")]
    pub fn device_from<F>(mut self, ask: impl Fn() -> F + 'static) -> Self
    where
        F: Future<Output = Result<Device>> + 'static,
    {
        self.ask = Some(Arc::new(move || Box::pin(ask())));
        self
    }

    /// Whether anything is kept of what is on this device.
    pub(crate) fn is_on(&self, device: &Device) -> bool {
        self.is_on && device.kind() != "cpu"
    }

    /// Whether such an error may be gone on another device.
    pub(crate) const fn helps(error: &Error) -> bool {
        matches!(error, Error::DeviceLost { .. } | Error::Timeout { .. } | Error::Gpu { .. })
    }

    /// Asks for a device to go on with; `None` where there is nobody to ask.
    pub(super) fn device(&self, old: &Device, error: &Error, is_first: bool) -> Option<Asked> {
        let old = old.clone();
        // A device that reported an error and is still there gets one more chance.
        if is_first && matches!(error, Error::Gpu { .. }) && old.answers() {
            return Some(Box::pin(std::future::ready(Ok(old))));
        }
        match &self.ask {
            Some(ask) => Some(ask()),
            None if old.is_own() => Some(Box::pin(async move { old.reopen_async().await })),
            None => None,
        }
    }

    /// Asks for one device after the other, as often as is allowed, until what was lost could be put on one; else says what the last
    /// try failed with. `tries` counts on.
    pub(crate) async fn put_on_another(
        &self,
        old: &Device,
        cause: &Error,
        tries: &mut u32,
        mut put: impl FnMut(&Device) -> Result<()>,
    ) -> Result<(), Option<Error>> {
        let mut last = None;
        while *tries < self.retries {
            let is_first = *tries == 0;
            #[cfg(feature = "gpu")]
            if !is_first {
                crate::gpu::pause(self.pause).await;
            }
            let Some(asked) = self.device(old, last.as_ref().unwrap_or(cause), is_first) else { break };
            *tries += 1;
            match asked.await.and_then(|device| put(&device)) {
                Ok(()) => return Ok(()),
                Err(error) => last = Some(error),
            }
        }
        Err(last)
    }

    pub(crate) const fn allows_cpu(&self) -> bool {
        self.cpu
    }

    /// The CPU backend, in the place of all devices that failed.
    pub(crate) fn no_device(&self) -> Device {
        Device::cpu_because(if self.cpu { "its GPU failed, and it was allowed" } else { "its GPU failed" }, 0)
    }
}

impl Trainer<'_> {
    /// What to do when a device fails; see [`Recovery`], whose default holds unless this is called.
    #[must_use]
    pub fn recovery(mut self, recovery: Recovery) -> Self {
        self.recovery = recovery;
        self
    }

    /// Puts the network, with the state that was kept, on another device, or says why that cannot be.
    pub(super) async fn recover(
        &mut self,
        cause: Error,
        net: &mut Network,
        [train, test]: [Option<&Dataset>; 2],
        rescue: &mut Rescue,
    ) -> Result<()> {
        let (old, mut tries) = (net.device().clone(), rescue.tries);
        let put = |device: &Device| net.move_to(device, rescue.net());
        let done = self.recovery.put_on_another(&old, &cause, &mut tries, put).await;
        rescue.tries = tries;
        let Err(last) = done else {
            self.tell_recovered(&cause, net, rescue);
            return Ok(());
        };
        rescue.is_on = false;
        net.move_to(&self.recovery.no_device(), rescue.net())?;
        if self.recovery.cpu {
            self.tell_recovered(&cause, net, rescue);
            return Ok(());
        }
        let of = [train, test].map(|data| data.map(Identity::of));
        let saved = self.checkpoints.as_ref().and_then(|to| self.save_last(to, net, rescue.rest.as_ref()?, of));
        Err(rescue.not_recovered(cause, last.as_ref(), saved))
    }

    fn tell_recovered(&mut self, error: &Error, net: &Network, rescue: &mut Rescue) {
        let place = rescue.rest.as_ref().map(|rest| rest.place).unwrap_or_default();
        let Some(tell) = self.callback.as_mut() else { return };
        let event = Event::Recovered { error, device: net.device(), epoch: place.epoch + 1, step: place.step };
        rescue.is_over |= tell(event) == ControlFlow::Break(());
    }

    /// Writes what was kept, and says where; a file that cannot be written leaves the one before it.
    fn save_last(&self, to: &Checkpoints, net: &Network, rest: &Rest, of: [Option<Identity>; 2]) -> Option<PathBuf> {
        let bytes = rest.snapshot(net, &self.settings, of).and_then(|snapshot| snapshot.to_bytes()).ok()?;
        to.save(&bytes).ok().map(|()| to.path().to_owned())
    }
}
