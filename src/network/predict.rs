//! Predictions: few rows on the host, whatever device the network is on; many rows through the device in parts.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::Network;
use super::state::{Key, Moments, State};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::plan::{Goal, Role};
use crate::session;

/// Rows that go through a device at a time, at most.
const PART: usize = 1024;

/// Rows, and rows times parameters, up to which the host answers for a GPU: in the time of a round trip to one.
const HOST_ROWS: usize = 16;
const HOST_WORK: usize = 1 << 20;

/// What the host needs to answer for a network on a GPU.
#[derive(Debug, Default)]
pub(super) struct Host(Mutex<Option<State>>);

impl Host {
    fn lock(&self) -> MutexGuard<'_, Option<State>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Network {
    /// The outputs `a_L` for rows of inputs: `x` row-major (rows, inputs) gives (rows, outputs).
    ///
    /// At most 16 rows of a network that is not too large (rows times parameters up to 2^20) are answered by the CPU, in
    /// microseconds, also where the network is on a GPU: a copy of the parameters is kept, and read again after the network was
    /// trained on. More rows go through the device, 1,024 at a time. What CPU and GPU say of a row differs by rounding;
    /// [`predict_on_device`](Self::predict_on_device_async) always asks the device.
    ///
    /// # Errors
    /// [`Error::Shape`] if `x` is not whole rows; [`Error::NotFinite`]; what the device reports.
    pub async fn predict_async(&self, x: &[f32]) -> Result<Vec<f32>> {
        let mut outputs = self.room_for(x)?;
        self.predict_into_async(x, &mut outputs).await?;
        Ok(outputs)
    }

    /// As [`predict_async`](Self::predict_async), into numbers that the caller has: (rows, outputs). For few rows this allocates
    /// nothing once there was a call with as many.
    ///
    /// ```
    /// # #[cfg(feature = "blocking")] {
    /// use wgrad::{Activation, Device, Network};
    /// let net = Network::new(3).dense(8, Activation::Tanh).dense(2, Activation::Identity).build(&Device::auto()?)?;
    /// let mut action = [0.0; 2];
    /// for frame in 0..3_u8 {
    ///     net.predict_into(&[f32::from(frame), 0.0, 1.0], &mut action)?;
    /// }
    /// assert_eq!(action.to_vec(), net.predict(&[2.0, 0.0, 1.0])?);
    /// # }
    /// # Ok::<(), wgrad::Error>(())
    /// ```
    ///
    /// # Errors
    /// As there; [`Error::Shape`] for another number of outputs.
    pub async fn predict_into_async(&self, x: &[f32], outputs: &mut [f32]) -> Result<()> {
        if let Some(done) = self.predict_now(x, outputs) {
            return done;
        }
        if self.is_for_host(x.len() / self.inputs()) {
            self.copy_to_host().await?;
            return self.on_host(x, outputs).unwrap_or(Ok(()));
        }
        self.through_device(x, outputs).await
    }

    /// As [`predict_async`](Self::predict_async), always on the device that the network is on.
    ///
    /// # Errors
    /// As there.
    pub async fn predict_on_device_async(&self, x: &[f32]) -> Result<Vec<f32>> {
        let mut outputs = self.room_for(x)?;
        self.through_device(x, &mut outputs).await?;
        Ok(outputs)
    }

    /// Zeros in the place of the outputs for these rows, which are checked.
    pub(super) fn room_for(&self, x: &[f32]) -> Result<Vec<f32>> {
        let rows = self.rows("predict: x", x, self.inputs())?;
        Ok(vec![0.0; rows * self.outputs()])
    }

    /// The predictions, where nothing has to be waited for: on the CPU, and on the host where its copy is that of today. `None` where
    /// there is.
    pub(super) fn predict_now(&self, x: &[f32], outputs: &mut [f32]) -> Option<Result<()>> {
        match self.check_rows(x, outputs) {
            Err(error) => Some(Err(error)),
            Ok(_) if self.device.kind() == "cpu" => Some(forward(self, &mut self.lock(), x, outputs)),
            Ok(rows) if self.is_for_host(rows) => {
                let version = self.lock().version;
                match &mut *self.host.lock() {
                    Some(state) if state.version == version => Some(forward(self, state, x, outputs)),
                    _ => None,
                }
            }
            Ok(_) => None,
        }
    }

    fn check_rows(&self, x: &[f32], outputs: &[f32]) -> Result<usize> {
        let rows = self.rows("predict: x", x, self.inputs())?;
        let want = rows * self.outputs();
        if outputs.len() == want {
            return Ok(rows);
        }
        let got = format!("{} numbers", outputs.len());
        Err(Error::shape("predict_into: outputs", format!("{want} numbers for {rows} rows"), got))
    }

    /// Whether so few rows of a network on a GPU are for the host.
    const fn is_for_host(&self, rows: usize) -> bool {
        rows <= HOST_ROWS && rows.saturating_mul(self.len) <= HOST_WORK
    }

    fn on_host(&self, x: &[f32], outputs: &mut [f32]) -> Option<Result<()>> {
        self.host.lock().as_mut().map(|state| forward(self, state, x, outputs))
    }

    /// Has the host's copy be that of today.
    async fn copy_to_host(&self) -> Result<()> {
        let (version, read) = {
            let mut state = self.lock();
            let parameters = state.parameters;
            (state.version, state.engine.read(parameters, 0, self.len))
        };
        let words = read.await?;
        let mut host = self.host.lock();
        if host.is_none() {
            let mut engine = Device::cpu_with_threads(1).engine();
            let parameters = session::parameters(&mut engine, self.len)?;
            let moments = Moments::new(&mut engine)?;
            *host = Some(State { engine, parameters, moments, sessions: VecDeque::new(), version });
        }
        if let Some(state) = &mut *host {
            state.engine.write(state.parameters, 0, &words)?;
            state.version = version;
        }
        Ok(())
    }

    /// Rows through the device, in parts; the next part is handed over before the answers of the last are waited for.
    async fn through_device(&self, x: &[f32], outputs: &mut [f32]) -> Result<()> {
        self.check_rows(x, outputs)?;
        let (inputs, columns) = (self.inputs(), self.outputs());
        let mut most = PART;
        let mut asked = VecDeque::new();
        let (mut left, mut at) = (x, 0);
        while !left.is_empty() || !asked.is_empty() {
            if !left.is_empty() && asked.len() < 2 {
                let live = most.min(left.len() / inputs);
                let (now, later) = left.split_at(live * inputs);
                match self.direct(Goal::Predict, None, now, &[], live, Role::Output, live * columns) {
                    // Wide rows: fewer of them at a time may fit.
                    Err(Error::Limit { .. }) if live > 1 => most = live / 2,
                    read => {
                        asked.push_back(read?);
                        left = later;
                    }
                }
                continue;
            }
            if let Some(read) = asked.pop_front() {
                let words: Vec<u32> = read.await?;
                for (out, word) in outputs[at..].iter_mut().zip(&words) {
                    *out = f32::from_bits(*word);
                }
                at += words.len();
            }
        }
        Ok(())
    }
}

/// Rows through an engine whose work is done when it was asked for, without allocating once there was a call with as many.
fn forward(net: &Network, state: &mut State, x: &[f32], outputs: &mut [f32]) -> Result<()> {
    let (inputs, columns) = (net.inputs(), net.outputs());
    let key = Key::new(Goal::Predict, None);
    let mut most = PART;
    let (mut x, mut outputs) = (x, outputs);
    while !x.is_empty() {
        let live = most.min(x.len() / inputs);
        let session = match state.ready(net, key, live) {
            // Wide rows: fewer of them at a time may fit.
            Err(Error::Limit { .. }) if live > 1 => {
                most = live / 2;
                continue;
            }
            session => session?,
        };
        let (now, later) = x.split_at(live * inputs);
        let (out, rest) = outputs.split_at_mut(live * columns);
        let done = session.step(&mut state.engine, now, &[], live, None, 0);
        let done = done.and_then(|()| session.copy(&state.engine, Role::Output, out));
        state.keep(key, session);
        done?;
        (x, outputs) = (later, rest);
    }
    Ok(())
}
