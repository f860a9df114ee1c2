//! How long a step of training takes, for a few networks by each plan.

use std::time::Duration;

use wgrad::plan::PlanKind;
use wgrad::{Activation, Cost, Dataset, Device, Network, Result, Sgd, Trainer};

use crate::common::Random;

/// Widths of the input and of the layers, and rows a mini-batch.
const NETS: [(&[usize], usize); 3] = [(&[2, 16, 16, 1], 16), (&[784, 30, 10], 10), (&[256, 512, 10], 128)];
/// Repeats, of which the median is taken, and how long all of them may take.
const REPEATS: usize = 5;
const MOST: Duration = Duration::from_millis(400);

/// A step of a network.
pub struct Timing {
    pub sizes: String,
    pub batch: usize,
    /// The plan that it was, which is the fused one where no other can be.
    pub plan: PlanKind,
    /// Whether the device would take this plan by itself.
    pub chosen: bool,
    /// Microseconds a step: the median, the shortest and the longest of the repeats.
    pub us: [f64; 3],
}

/// Every network by every plan.
pub fn all(device: &Device) -> Result<Vec<Timing>> {
    let mut timings = Vec::new();
    for (widths, batch) in NETS {
        for kind in PlanKind::ALL {
            timings.push(one(device, widths, batch, kind)?);
        }
    }
    Ok(timings)
}

fn one(device: &Device, widths: &[usize], batch: usize, kind: PlanKind) -> Result<Timing> {
    let build = |start: wgrad::NetworkBuilder| {
        widths[1..].iter().fold(start.seed(1), |net, &width| net.dense(width, Activation::Sigmoid)).build(device)
    };
    let mut net = build(Network::new(widths[0]).plan(kind))?;
    let chosen = build(Network::new(widths[0]))?.plan(batch).0 == kind;
    let (inputs, outputs, rows) = (widths[0], widths[widths.len() - 1], 64 * batch);
    let mut random = Random::new(1);
    let mut numbers = |columns: usize| (0..rows * columns).map(|_| random.uniform()).collect::<Vec<f32>>();
    let data = Dataset::new(numbers(inputs), inputs, numbers(outputs), outputs)?;
    // The first run compiles and warms up; the epochs of a run are its repeats, without the first.
    let trainer = |epochs| Trainer::new(Cost::Quadratic, Sgd::new(0.1)).batch_size(batch).epochs(epochs);
    trainer(1).fit(&mut net, &data, None)?;
    let history = trainer(REPEATS + 1).max_time(MOST).fit(&mut net, &data, None)?;
    #[allow(clippy::cast_precision_loss, reason = "a few steps")]
    let mut us: Vec<f64> = history.epochs.iter().map(|epoch| epoch.seconds * 1e6 / epoch.steps as f64).collect();
    if us.len() > 1 {
        us.remove(0);
    }
    us.sort_by(f64::total_cmp);
    let at = |i: usize| us.get(i).copied().unwrap_or(f64::NAN);
    let sizes = widths.iter().map(ToString::to_string).collect::<Vec<_>>().join("-");
    let plan = net.plan(batch).0;
    Ok(Timing { sizes, batch, plan, chosen, us: [at(us.len() / 2), at(0), at(us.len().saturating_sub(1))] })
}
