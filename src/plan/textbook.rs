//! The textbook plan: every step is one symbol of the equations.

use super::{BufferId, Builder, Goal, Role};
use crate::error::Result;
use crate::kernel::{Element, Kernel};
use crate::{Activation, Cost};

pub(super) fn record(plan: &mut Builder<'_>) -> Result<()> {
    let layers = plan.request.layers;
    let count = layers.len();
    let goal = plan.request.goal;
    let parameters = plan.parameters;
    plan.open();
    let y = plan.inputs()?;

    // Feedforward: z_l = a_{l-1} w_l^T + b_l, a_l = f(z_l) (equation 2).
    let mut a = vec![plan.x];
    let mut given = vec![plan.x]; // what the next layer gets of them
    let mut z = Vec::with_capacity(count);
    for (l, layer) in (1..).zip(layers) {
        let z_l = plan.between(format!("z_{l}"), layer.outputs);
        let len = plan.request.rows.saturating_mul(layer.outputs);
        let role = if l == count { Role::Output } else { Role::Between };
        let a_l = plan.buffer(format!("a_{l}"), len, Element::F32, role);
        let label = format!("layer {l}: weighted input");
        plan.push(Kernel::MatmulNt, plan.params(layer), &[given[l - 1], parameters, z_l], label)?;
        if layer.activation == Activation::Softmax {
            plan.softmax(layer, z_l, a_l, format!("layer {l}: softmax"))?;
        } else {
            let label = format!("layer {l}: {}", layer.activation);
            plan.push(Kernel::Activation, plan.elements(layer, layer.outputs), &[z_l, a_l], label)?;
        }
        z.push(z_l);
        a.push(a_l);
        given.push(plan.dropout(l, a_l, "dropped", "dropout")?);
    }
    let Some(y) = y else { return Ok(()) };

    let scores = plan.scores();
    plan.score(y, a[count], z[count - 1], scores[0])?;
    plan.measure(y, a[count])?;
    if matches!(goal, Goal::Gradients | Goal::Train) {
        let gradients =
            plan.buffer("gradients".to_owned(), layers[count - 1].biases().end, Element::F32, Role::Gradients);
        backward(plan, y, [&a, &given, &z], gradients)?;
        if goal == Goal::Train {
            plan.update(gradients)?;
        }
    }
    plan.tally(scores)
}

/// The errors from the last layer back (BP1, BP2), and from them the gradients (BP3, BP4).
fn backward(plan: &mut Builder<'_>, y: BufferId, [a, given, z]: [&[BufferId]; 3], gradients: BufferId) -> Result<()> {
    let layers = plan.request.layers;
    let count = layers.len();
    let mut above = None; // delta_{l+1}
    for l in (1..=count).rev() {
        let layer = &layers[l - 1];
        let delta = plan.between(format!("delta_{l}"), layer.outputs);
        let elements = plan.elements(layer, layer.outputs);
        let f_prime = above.is_some() || plan.request.cost.is_some_and(Cost::has_f_prime);
        // The factor in front of f'(z_l): grad_a C for the last layer, delta_{l+1} w_{l+1} below it. Without f', it is delta.
        let factor = if f_prime { plan.between(format!("e_{l}"), layer.outputs) } else { delta };
        if let Some(above) = above {
            let params = plan.params(&layers[l]);
            let label = format!("layer {l}: error going back");
            let whole = if given[l] == a[l] { factor } else { plan.between(format!("undropped_{l}"), layer.outputs) };
            plan.push(Kernel::MatmulNn, params, &[above, plan.parameters, whole], label)?;
            if whole != factor {
                plan.dropout_into(l, whole, factor, "dropout of the error")?;
            }
        } else {
            let label = format!("layer {l}: cost derivative");
            plan.push(Kernel::CostDerivative, elements, &[plan.control, y, a[l], factor], label)?;
        }
        if f_prime {
            let prime = plan.between(format!("f_prime_{l}"), layer.outputs);
            let label = format!("layer {l}: {}-prime", layer.activation);
            plan.push(Kernel::ActivationPrime, elements, &[z[l - 1], prime], label)?;
            plan.push(Kernel::Hadamard, elements, &[factor, prime, delta], format!("layer {l}: Hadamard product"))?;
        }
        let params = plan.params(layer);
        let label = format!("layer {l}: weight gradient");
        plan.push(Kernel::OuterProducts, params, &[delta, given[l - 1], gradients], label)?;
        plan.push(Kernel::BiasGradient, params, &[delta, gradients], format!("layer {l}: bias gradient"))?;
        above = Some(delta);
    }
    Ok(())
}
