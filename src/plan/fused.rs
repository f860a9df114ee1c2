//! The fused plan: every step is one layer of a phase.

use super::{BufferId, Builder, Goal, Role};
use crate::Activation;
use crate::error::Result;
use crate::kernel::{Element, Kernel, Params};

pub(super) fn record(plan: &mut Builder<'_>) -> Result<()> {
    let layers = plan.request.layers;
    let count = layers.len();
    let (parameters, control) = (plan.parameters, plan.control);
    let y = plan.inputs()?;

    // Feedforward (equation 2).
    let mut a = vec![plan.x];
    let mut given = vec![plan.x]; // what the next layer gets of them
    let mut z = vec![plan.x]; // the input has none; its place keeps the numbering
    for (l, layer) in (1..).zip(layers) {
        let z_l = plan.between(format!("z_{l}"), layer.outputs);
        let len = plan.request.rows.saturating_mul(layer.outputs);
        let role = if l == count { Role::Output } else { Role::Between };
        let a_l = plan.buffer(format!("a_{l}"), len, Element::F32, role);
        let label = format!("layer {l}: forward");
        plan.push(Kernel::DenseForward, plan.params(layer), &[given[l - 1], parameters, z_l, a_l], label)?;
        if layer.activation == Activation::Softmax {
            plan.softmax(layer, z_l, a_l, format!("layer {l}: softmax"))?;
        }
        z.push(z_l);
        a.push(a_l);
        given.push(plan.dropout(l, a_l, "dropped", "dropout")?);
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

    let train = plan.request.goal == Goal::Train;
    let numbers = if train { Some(plan.hyper()) } else { None };
    // A layer moves as soon as its gradient is there, unless the gradient has to be looked at as a whole, or does not come at once.
    let whole = Kernel::DenseUpdate.most_terms(plan.request.limits.max_iterations, plan.request.limits.tiling);
    let at_once = !plan.request.update.clip_norm && plan.rows <= whole;
    let end = match numbers {
        Some(numbers) if at_once => End::Update(numbers),
        _ => End::Gradients(plan.buffer("gradients".to_owned(), last.biases().end, Element::F32, Role::Gradients)),
    };
    for l in (1..=count).rev() {
        let layer = &layers[l - 1];
        // delta_{l-1} needs the old w_l: the error goes back before the weights move.
        let below = if l > 1 {
            // Where it is dropped, it is not the error yet.
            let drops = train && given[l - 1] != a[l - 1];
            let delta_below = plan.between(format!("{}_{}", if drops { "e" } else { "delta" }, l - 1), layer.inputs);
            let mut params = plan.params(layer);
            params.activation = layers[l - 2].activation.code();
            let bindings = [delta, parameters, z[l - 1], a[l - 1], delta_below];
            plan.push(Kernel::DenseBackward, params, &bindings, format!("layer {}: error", l - 1))?;
            Some(plan.dropout(l - 1, delta_below, "delta", "dropout of the error")?)
        } else {
            None
        };
        let params = plan.params(layer);
        match end {
            End::Update([hyper, state]) => {
                let (count, rule) = (plan.arena(), plan.request.update.rule.code());
                let params = Params { count: u32::try_from(count).unwrap_or(u32::MAX), rule, ..params };
                let bindings = [delta, given[l - 1], hyper, control, state, parameters];
                plan.push(Kernel::DenseUpdate, params, &bindings, format!("layer {l}: gradient and update"))?;
                plan.max_norm(l, layer, hyper)?;
            }
            End::Gradients(gradients) => {
                let bindings = [delta, given[l - 1], gradients];
                plan.push(Kernel::DenseGradient, params, &bindings, format!("layer {l}: gradient"))?;
            }
        }
        delta = below.unwrap_or(delta);
    }
    if let (Some(numbers), End::Gradients(gradients)) = (numbers, end) {
        plan.update(gradients, numbers)?;
    }
    plan.tally(scores)
}

/// What happens to a layer's gradient.
#[derive(Clone, Copy)]
enum End {
    /// It is used with these numbers and this state, and never written down.
    Update([BufferId; 2]),
    /// It is written down.
    Gradients(BufferId),
}
