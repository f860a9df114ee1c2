//! The fused plan: every step is one layer of a phase.

use super::{BufferId, Builder, Goal, Role};
use crate::Activation;
use crate::error::Result;
use crate::kernel::{Element, Kernel};

pub(super) fn record(plan: &mut Builder<'_>) -> Result<()> {
    let layers = plan.request.layers;
    let count = layers.len();
    let (parameters, control) = (plan.parameters, plan.control);
    let y = plan.inputs()?;

    // Feedforward (equation 2).
    let mut a = vec![plan.x];
    let mut z = vec![plan.x]; // the input has none; its place keeps the numbering
    for (l, layer) in (1..).zip(layers) {
        let z_l = plan.between(format!("z_{l}"), layer.outputs);
        let len = plan.request.rows.saturating_mul(layer.outputs);
        let role = if l == count { Role::Output } else { Role::Between };
        let a_l = plan.buffer(format!("a_{l}"), len, Element::F32, role);
        let label = format!("layer {l}: forward");
        plan.push(Kernel::DenseForward, plan.params(layer), &[a[l - 1], parameters, z_l, a_l], label)?;
        if layer.activation == Activation::Softmax {
            plan.softmax(layer, z_l, a_l, format!("layer {l}: softmax"))?;
        }
        z.push(z_l);
        a.push(a_l);
    }
    let Some(y) = y else { return Ok(()) };

    let scores = plan.scores();
    if !matches!(plan.request.goal, Goal::Gradients | Goal::Train) {
        plan.score(y, a[count], z[count], scores)?;
        plan.measure(y, a[count])?;
        return plan.tally(scores);
    }

    // Output error, cost and right answers in one (BP1).
    let last = &layers[count - 1];
    let [row_cost, row_right, ..] = scores;
    let mut delta = plan.between(format!("delta_{count}"), last.outputs);
    let label = format!("layer {count}: output error");
    let bindings = [control, y, a[count], z[count], delta, row_cost, row_right];
    plan.push(Kernel::OutputError, plan.params(last), &bindings, label)?;

    let end = if plan.request.goal == Goal::Train {
        End::Update { hyper: plan.hyper() }
    } else {
        let gradients = plan.buffer("gradients".to_owned(), last.biases().end, Element::F32, Role::Gradients);
        End::Gradients { gradients }
    };
    for l in (1..=count).rev() {
        let layer = &layers[l - 1];
        // delta_{l-1} needs the old w_l: the error goes back before the weights move.
        let below = if l > 1 {
            let delta_below = plan.between(format!("delta_{}", l - 1), layer.inputs);
            let mut params = plan.params(layer);
            params.activation = layers[l - 2].activation.code();
            let bindings = [delta, parameters, z[l - 1], a[l - 1], delta_below];
            plan.push(Kernel::DenseBackward, params, &bindings, format!("layer {}: error", l - 1))?;
            Some(delta_below)
        } else {
            None
        };
        let params = plan.params(layer);
        match end {
            End::Update { hyper } => {
                let bindings = [delta, a[l - 1], hyper, control, parameters];
                plan.push(Kernel::DenseUpdate, params, &bindings, format!("layer {l}: gradient and update"))?;
            }
            End::Gradients { gradients } => {
                let bindings = [delta, a[l - 1], gradients];
                plan.push(Kernel::DenseGradient, params, &bindings, format!("layer {l}: gradient"))?;
            }
        }
        delta = below.unwrap_or(delta);
    }
    plan.tally(scores)
}

/// What happens to a layer's gradient.
#[derive(Clone, Copy)]
enum End {
    Update { hyper: BufferId },
    Gradients { gradients: BufferId },
}
