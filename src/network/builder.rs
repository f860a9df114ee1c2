//! The description of a network, and what `build` makes of it.

use std::collections::VecDeque;
use std::sync::Mutex;

use rand::Rng;

use super::Network;
use super::moving::Known;
use super::state::{Moments, State};
use crate::cpu;
use crate::error::{Error, Result};
use crate::layer::layout;
use crate::plan::PlanKind;
use crate::problems::Problems;
use crate::random::generator;
use crate::session;
use crate::{Activation, Device, Init};

/// What [`Network::new`] starts: a description that [`build`](Self::build) turns into a network.
#[derive(Debug, Clone)]
#[must_use = "call .build(&device) to get the network"]
pub struct NetworkBuilder {
    pub(super) inputs: usize,
    pub(super) dense: Vec<(usize, Activation)>,
    pub(super) init: Init,
    pub(super) seed: u64,
    pub(super) plan: Option<PlanKind>,
    /// Layers, counted from 1, that start in another way.
    pub(super) layer_inits: Vec<(usize, Init)>,
    /// Layers, counted from 1, and rates.
    pub(super) dropout: Vec<(usize, f32)>,
}

impl NetworkBuilder {
    /// Adds a dense layer of `width` neurons, `a = f(a_below w^T + b)` (equation 2). [`Activation::Softmax`] can only be last.
    pub fn dense(mut self, width: usize, activation: Activation) -> Self {
        self.dense.push((width, activation));
        self
    }

    /// Drops this share of the last added layer's activations in each training step, in \[0, 1\), and multiplies the others by
    /// `1 / (1 - rate)` (Srivastava et al. 2014). Which ones follows from [`seed`](Self::seed), the count of steps, the layer, the
    /// row and the column: the same on every device. Not for the last layer. Nothing is dropped in predictions, evaluations and
    /// [`gradients`](Network::gradients_async); the training cost that is reported is that of what is left.
    pub fn dropout(mut self, rate: f32) -> Self {
        self.dropout.push((self.dense.len(), rate));
        self
    }

    /// How the parameters start; [`Init::ScaledNormal`] unless set.
    pub const fn init(mut self, init: Init) -> Self {
        self.init = init;
        self
    }

    /// How the parameters of the last added layer start, whatever [`init`](Self::init) says of the others.
    ///
    /// ```
    /// use wgrad::{Activation, Device, Init, Network};
    /// let net = Network::new(3)
    ///     .dense(5, Activation::Relu)
    ///     .dense(2, Activation::Identity)
    ///     .layer_init(Init::Constant(0.0))
    ///     .init(Init::He)
    ///     .build(&Device::cpu())?;
    /// assert_eq!(net.predict(&[1.0, 2.0, 3.0])?, [0.0, 0.0]);
    /// # Ok::<(), wgrad::Error>(())
    /// ```
    pub fn layer_init(mut self, init: Init) -> Self {
        self.layer_inits.push((self.dense.len(), init));
        self
    }

    /// The seed of the initialisation and of dropout; 0 unless set.
    pub const fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Forces a kind of plan, in place of the choice that [`Network::plan`] reports. What the forced kind cannot do (see
    /// [`PlanKind`]) is still done by the fused plan.
    pub const fn plan(mut self, kind: PlanKind) -> Self {
        self.plan = Some(kind);
        self
    }

    /// Makes the network on a device, with its parameters drawn.
    ///
    /// # Errors
    /// [`Error::Architecture`] for layers that cannot be, [`Error::InvalidOption`] for rates and initialisations,
    /// [`Error::Several`] for more than one of these; [`Error::Limit`] or [`Error::OutOfMemory`] if the device cannot hold
    /// the parameters; what the device reports.
    pub fn build(self, device: &Device) -> Result<Network> {
        let mut problems = Problems::default();
        problems.see(layout(self.inputs, &self.dense));
        let mut inits = vec![self.init; self.dense.len()];
        problems.see(self.init.check());
        for &(l, init) in &self.layer_inits {
            match l.checked_sub(1) {
                Some(at) => inits[at] = init,
                None => {
                    let problem = "layer_init goes after .dense(..) of the layer that it is for".to_owned();
                    problems.see::<()>(Err(Error::Architecture { problem }));
                }
            }
            problems.see(init.check());
        }
        let mut rates = vec![0.0; self.dense.len()];
        for &(l, rate) in &self.dropout {
            if l == 0 || l == self.dense.len() {
                let problem = format!("dropout of layer {l}; it goes after .dense(..) of a layer that is not the last");
                problems.see::<()>(Err(Error::Architecture { problem }));
            } else {
                rates[l - 1] = rate;
            }
            if !(0.0..1.0).contains(&rate) {
                let (value, want) = (rate.to_string(), "at least 0 and below 1");
                problems.see::<()>(Err(Error::InvalidOption { option: "dropout", value, want }));
            }
        }
        problems.end()?;
        let (layers, len) = layout(self.inputs, &self.dense)?;
        let dropout_seed = session::low(generator(self.seed, u64::MAX).next_u64());
        let mut engine = device.engine();
        let parameters = session::parameters(&mut engine, len)?;
        cpu::room_for("the parameters, as they are drawn", len)?;
        engine.write_f32(parameters, 0, &Init::draw_each(&inits, &layers, len, self.seed))?;
        let moments = Moments::new(&mut engine)?;
        let state = State { engine, parameters, moments, sessions: VecDeque::new(), version: 0 };
        let known = if device.kind() == "cpu" { Known::Nothing } else { Known::Drawn { inits, seed: self.seed } };
        Ok(Network {
            device: device.clone(),
            layers,
            len,
            forced: self.plan,
            preparation: None,
            rates,
            dropout_seed,
            state: Mutex::new(state),
            host: super::predict::Host::default(),
            known,
        })
    }
}
