//! Learning-rate schedules: the factor on the optimiser's learning rate, as a pure function of the step.

use std::f64::consts::PI;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::problems::Problems;

/// Where in a run a step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// Mini-batches done before it, from 0, over all epochs.
    pub step: u64,
    /// Mini-batches an epoch has.
    pub steps_per_epoch: u64,
    /// Mini-batches that the whole run is to have: the epochs of [`Trainer::epochs`](crate::Trainer::epochs), or the steps of
    /// [`Trainer::max_steps`](crate::Trainer::max_steps) where those are fewer.
    pub steps: u64,
}

/// A length of time in a run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Span {
    /// So many mini-batches.
    Steps(u64),
    /// So many epochs; fractions are allowed.
    Epochs(f64),
    /// This share of the whole run, above 0.
    Run(f64),
}

impl Span {
    /// In steps, of a run like this one, and at least 1.
    fn steps(self, at: &Moment) -> f64 {
        #[allow(clippy::cast_precision_loss, reason = "counts of steps are far below 2^53")]
        let steps = match self {
            Self::Steps(steps) => steps as f64,
            Self::Epochs(epochs) => epochs * at.steps_per_epoch as f64,
            Self::Run(share) => share * at.steps as f64,
        };
        steps.max(1.0)
    }

    fn check(self) -> Result<()> {
        let good = match self {
            Self::Steps(steps) => steps > 0,
            Self::Epochs(length) | Self::Run(length) => length.is_finite() && length > 0.0,
        };
        refuse(!good, "span of the schedule", &format!("{self:?}"), "finite and above 0")
    }
}

/// The learning rate over time: a factor on the optimiser's `eta`, as a pure function of the step.
///
/// `t` is the step, counted from 0; `eta_t = eta * factor(t)`. The factors of an epoch are worked out on the host in `f64` and
/// uploaded once, before its first step. After the run's planned end a factor stays as it was at that end.
///
/// ```
/// use wgrad::{Cost, Moment, Schedule, Sgd, Span, Trainer};
/// // The usual one for Adam: up over the first 5 % of the run, then down along half a cosine.
/// let schedule = Schedule::cosine(Span::Run(1.0)).warm_up(Span::Run(0.05));
/// let at = |step| schedule.factor(Moment { step, steps_per_epoch: 100, steps: 1000 });
/// assert_eq!(at(0), 1.0 / 50.0);
/// assert_eq!(at(49), 1.0);
/// assert!(at(999) < 1e-5);
/// let trainer = Trainer::new(Cost::Quadratic, Sgd::new(3.0)).schedule(schedule);
/// ```
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Schedule(Kind);

/// A factor of a closure.
type Custom = Arc<dyn Fn(Moment) -> f64 + Send + Sync>;

#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
enum Kind {
    Constant,
    Step {
        every: Span,
        by: f64,
    },
    Exponential {
        every: Span,
        by: f64,
    },
    Cosine {
        period: Span,
        growth: f64,
        least: f64,
    },
    OneCycle {
        rise: f64,
        start: f64,
        end: f64,
    },
    WarmUp {
        over: Span,
        then: Box<Schedule>,
    },
    Then {
        first: Box<Schedule>,
        over: Span,
        then: Box<Schedule>,
    },
    /// A function, which no file can hold: `None` where it has to be given again.
    Custom(#[serde(skip)] Option<Custom>),
}

impl fmt::Debug for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Constant => write!(f, "Constant"),
            Kind::Step { every, by } => write!(f, "Step {{ every: {every:?}, by: {by} }}"),
            Kind::Exponential { every, by } => write!(f, "Exponential {{ every: {every:?}, by: {by} }}"),
            Kind::Cosine { period, growth, least } => {
                write!(f, "Cosine {{ period: {period:?}, growth: {growth}, least: {least} }}")
            }
            Kind::OneCycle { rise, start, end } => {
                write!(f, "OneCycle {{ rise: {rise}, start: {start}, end: {end} }}")
            }
            Kind::WarmUp { over, then } => write!(f, "WarmUp {{ over: {over:?}, then: {then:?} }}"),
            Kind::Then { first, over, then } => {
                write!(f, "Then {{ first: {first:?}, over: {over:?}, then: {then:?} }}")
            }
            Kind::Custom(_) => write!(f, "Custom"),
        }
    }
}

impl Default for Schedule {
    fn default() -> Self {
        Self::constant()
    }
}

impl Schedule {
    /// `factor(t) = 1`.
    #[must_use]
    pub const fn constant() -> Self {
        Self(Kind::Constant)
    }

    /// `factor(t) = by^floor(t / every)`: multiplied by `by`, above 0, at the end of each `every`.
    #[must_use]
    pub const fn step(every: Span, by: f64) -> Self {
        Self(Kind::Step { every, by })
    }

    /// `factor(t) = by^(t / every)`: multiplied by `by`, above 0, over each `every`, a little at each step.
    #[must_use]
    pub const fn exponential(every: Span, by: f64) -> Self {
        Self(Kind::Exponential { every, by })
    }

    /// `factor(t) = (1 + cos(pi t / period)) / 2`: from 1 down to 0 along half a cosine, and then again from 1 (I. Loshchilov and
    /// F. Hutter, *SGDR: Stochastic Gradient Descent with Warm Restarts*, 2017, equation 5). A period of the whole run has
    /// no restart.
    #[must_use]
    pub const fn cosine(period: Span) -> Self {
        Self::cosine_restarts(period, 1.0, 0.0)
    }

    /// As [`cosine`](Self::cosine), where each period is `growth` times as long as the one before (at least 1), and the factor goes
    /// down to `least`, 0 to 1: `factor = least + (1 - least) (1 + cos(pi t_i / T_i)) / 2`, `t_i` steps after the last restart.
    #[must_use]
    pub const fn cosine_restarts(period: Span, growth: f64, least: f64) -> Self {
        Self(Kind::Cosine { period, growth, least })
    }

    /// One cycle over the whole run: up from 1/25 to 1 along half a cosine for 30 % of it, then down to 1/250,000 (L. N. Smith,
    /// *A disciplined approach to neural network hyper-parameters*, 2018; the numbers are those of `OneCycleLR` in PyTorch). The
    /// optimiser's `eta` is the highest rate.
    #[must_use]
    pub const fn one_cycle() -> Self {
        Self::one_cycle_with(0.3, 1.0 / 25.0, 1.0 / 250_000.0)
    }

    /// As [`one_cycle`](Self::one_cycle): up for the share `rise` of the run, 0 to 1, from the factor `start`, and down to `end`,
    /// both at least 0.
    #[must_use]
    pub const fn one_cycle_with(rise: f64, start: f64, end: f64) -> Self {
        Self(Kind::OneCycle { rise, start, end })
    }

    /// Any function of the step; it must be finite and not below 0.
    ///
    /// ```
    /// use wgrad::{Moment, Schedule};
    /// let schedule = Schedule::custom(|at| 1.0 / (1.0 + 0.01 * at.step as f64));
    /// assert_eq!(schedule.factor(Moment { step: 100, steps_per_epoch: 10, steps: 1000 }), 0.5);
    /// ```
    #[must_use]
    pub fn custom(factor: impl Fn(Moment) -> f64 + Send + Sync + 'static) -> Self {
        Self(Kind::Custom(Some(Arc::new(factor))))
    }

    /// This schedule after a linear warm-up: over `n` steps, `factor(t) = (t + 1) / n` of what this one starts with; its own time
    /// starts after them.
    #[must_use]
    pub fn warm_up(self, over: Span) -> Self {
        Self(Kind::WarmUp { over, then: Box::new(self) })
    }

    /// This schedule for a time, then another, whose own time starts there.
    #[must_use]
    pub fn then(self, over: Span, next: Self) -> Self {
        Self(Kind::Then { first: Box::new(self), over, then: Box::new(next) })
    }

    /// The factor on the learning rate for the step at this moment.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "counts of steps are far below 2^53")]
    pub fn factor(&self, at: Moment) -> f64 {
        let at = Moment { step: at.step.min(at.steps.saturating_sub(1)), ..at };
        let t = at.step as f64;
        match &self.0 {
            Kind::Constant => 1.0,
            Kind::Step { every, by } => libm::pow(*by, (t / every.steps(&at)).floor()),
            Kind::Exponential { every, by } => libm::pow(*by, t / every.steps(&at)),
            Kind::Cosine { period, growth, least } => {
                let (t, period) = since_restart(t, period.steps(&at), *growth);
                half_cosine(1.0, *least, t / period)
            }
            Kind::OneCycle { rise, start, end } => {
                // The last step of the rise, and that of the run; as in PyTorch both may lie between two steps.
                let top = (rise * at.steps as f64 - 1.0).max(0.0);
                let last = at.steps as f64 - 1.0;
                if t < top {
                    half_cosine(*start, 1.0, t / top)
                } else if t > top {
                    half_cosine(1.0, *end, (t - top) / (last - top))
                } else {
                    1.0
                }
            }
            Kind::WarmUp { over, then } => {
                let n = whole(over.steps(&at));
                match at.step < n {
                    true => (t + 1.0) / n as f64 * then.factor(later(at, n, 0)),
                    false => then.factor(later(at, n, at.step - n)),
                }
            }
            Kind::Then { first, over, then } => {
                let n = whole(over.steps(&at));
                match at.step < n {
                    true => first.factor(Moment { steps: n.min(at.steps), ..at }),
                    false => then.factor(later(at, n, at.step - n)),
                }
            }
            Kind::Custom(Some(factor)) => factor(at),
            // `check` refuses it.
            Kind::Custom(None) => f64::NAN,
        }
    }

    /// How many schedules are one within another.
    pub(crate) fn pieces(&self) -> usize {
        match &self.0 {
            Kind::WarmUp { then, .. } => 1 + then.pieces(),
            Kind::Then { first, then, .. } => 1 + first.pieces().max(then.pieces()),
            _ => 1,
        }
    }

    /// Refuses numbers that cannot work.
    pub(crate) fn check(&self) -> Result<()> {
        let mut problems = Problems::default();
        match &self.0 {
            Kind::Constant | Kind::Custom(Some(_)) => {}
            Kind::Custom(None) => {
                let want = "given again with Trainer::schedule, since no file holds a function";
                problems.see(refuse(true, "schedule of the resumed run", "a function", want));
            }
            Kind::Step { every, by } | Kind::Exponential { every, by } => {
                problems.see(every.check());
                let (bad, what) = (!(*by > 0.0 && by.is_finite()), "factor of the schedule");
                problems.see(refuse(bad, what, &by.to_string(), "finite and above 0"));
            }
            Kind::Cosine { period, growth, least } => {
                problems.see(period.check());
                let (bad, what) = (!(*growth >= 1.0 && growth.is_finite()), "growth of the schedule's periods");
                problems.see(refuse(bad, what, &growth.to_string(), "finite and at least 1"));
                let (bad, what) = (!(0.0..=1.0).contains(least), "least factor of the schedule");
                problems.see(refuse(bad, what, &least.to_string(), "from 0 to 1"));
            }
            Kind::OneCycle { rise, start, end } => {
                let bad = !(0.0..=1.0).contains(rise);
                problems.see(refuse(bad, "rise of the one-cycle", &rise.to_string(), "from 0 to 1"));
                for (what, factor) in [("start of the one-cycle", start), ("end of the one-cycle", end)] {
                    let bad = !(*factor >= 0.0 && factor.is_finite());
                    problems.see(refuse(bad, what, &factor.to_string(), "finite, at least 0"));
                }
            }
            Kind::WarmUp { over, then } => {
                problems.see(over.check());
                problems.see(then.check());
            }
            Kind::Then { first, over, then } => {
                problems.see(over.check());
                problems.see(first.check());
                problems.see(then.check());
            }
        }
        problems.end()
    }
}

/// An error if it is `bad`.
fn refuse(bad: bool, option: &'static str, value: &str, want: &'static str) -> Result<()> {
    if bad { Err(Error::InvalidOption { option, value: value.to_owned(), want }) } else { Ok(()) }
}

/// From one factor to another along half a cosine; `share` from 0 to 1.
fn half_cosine(from: f64, to: f64, share: f64) -> f64 {
    // libm's, for the same bits on every machine.
    to + (from - to) * 0.5 * (1.0 + libm::cos(PI * share.clamp(0.0, 1.0)))
}

/// Steps since the last restart, and the length of the period that it began.
fn since_restart(mut t: f64, mut period: f64, growth: f64) -> (f64, f64) {
    if growth <= 1.0 {
        return (t % period, period);
    }
    // Each period is longer than the one before, so that there are few; but not where growth is next to nothing.
    const FEW: usize = 1000;
    for _ in 0..FEW {
        let Some(std::cmp::Ordering::Greater | std::cmp::Ordering::Equal) = t.partial_cmp(&period) else {
            return (t, period);
        };
        t -= period;
        period *= growth;
    }
    let n = (libm::log1p(t * (growth - 1.0) / period) / libm::log1p(growth - 1.0)).floor();
    let last = period * libm::pow(growth, n);
    let began = (last - period) / (growth - 1.0);
    ((t - began).max(0.0).min(last), last)
}

/// A moment of what starts after `n` steps.
const fn later(at: Moment, n: u64, step: u64) -> Moment {
    Moment { step, steps: at.steps.saturating_sub(n), steps_per_epoch: at.steps_per_epoch }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count of steps, at least 1")]
fn whole(steps: f64) -> u64 {
    steps.round() as u64
}
