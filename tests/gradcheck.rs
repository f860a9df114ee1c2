//! The gradients of the f64 reference against central finite differences of its cost.
//!
//! `C` is a plain function of the parameters, so `(C(p + eps v) - C(p - eps v)) / (2 eps)` is its slope along `v`
//! without any of BP1 to BP4. An error is stated as a fraction of the gradient's norm: a component that happens to be
//! near zero then asks for no more than `f64` can give, and the norm itself must not be tiny. The last part hands wrong
//! gradients to the same comparison, which must refuse each.

#![allow(clippy::print_stdout, reason = "the number of cases and the worst error are the result of these tests")]

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use wgrad::reference::{Example, Layers, Network, activation, activation_prime, penalised_gradient, penalty, smoothed};
use wgrad::{Activation, Cost, Regularization};

/// The step of a difference. The cost of the third-order term is about `EPS^2`, that of rounding `1e-16 / EPS`.
const EPS: f64 = 1e-5;
/// The largest error allowed, as a fraction of the gradient's norm.
const TOLERANCE: f64 = 1e-7;
/// A gradient below this norm would agree with anything.
const TINY: f64 = 1e-3;
/// How far from its kink the weighted input of a `relu` and its kin must stay, far more than a step moves it.
const MARGIN: f64 = 1e-2;

/// The error as a fraction of `norm`, if it is one that a right gradient has. NaN fails both comparisons.
fn compare(claimed: f64, estimate: f64, norm: f64) -> Result<f64, String> {
    let error = (claimed - estimate).abs() / norm;
    if norm >= TINY && error <= TOLERANCE {
        Ok(error)
    } else {
        Err(format!("claimed {claimed:e}, differences give {estimate:e}, error {error:e} of the norm {norm:e}"))
    }
}

/// How many comparisons were made, and the largest error among them.
#[derive(Default)]
struct Tally {
    cases: usize,
    worst: f64,
}

impl Tally {
    #[track_caller]
    fn add(&mut self, case: &str, result: Result<f64, String>) {
        let error = result.unwrap_or_else(|problem| panic!("{case}: {problem}"));
        self.cases += 1;
        self.worst = self.worst.max(error);
    }

    #[track_caller]
    fn expect(&self, what: &str, cases: usize) {
        println!("{what}: {} cases, worst error {:.1e}", self.cases, self.worst);
        assert!(self.cases > 0);
        assert_eq!(self.cases, cases, "{what}: a loop ran over other cases than it should");
    }
}

fn norm(v: &[f64]) -> f64 {
    v.iter().map(|x| x * x).sum::<f64>().sqrt()
}

fn dot(u: &[f64], v: &[f64]) -> f64 {
    assert_eq!(u.len(), v.len());
    u.iter().zip(v).map(|(u, v)| u * v).sum()
}

/// All weights, then all biases, in one row.
fn flat(weights: &Layers, biases: &Layers) -> Vec<f64> {
    [weights, biases].into_iter().flatten().flatten().copied().collect()
}

/// The gradient of the mean cost in the order of [`flat`].
fn gradient(net: &Network, examples: &[Example]) -> Vec<f64> {
    let (nabla_b, nabla_w) = net.mean_gradient(examples).expect("examples of the right shape");
    flat(&nabla_w, &nabla_b)
}

/// The mean cost with the parameters moved by `step` along `direction`.
fn cost_at(net: &Network, examples: &[Example], direction: &[f64], step: f64) -> f64 {
    let mut net = net.clone();
    let mut along = direction.iter();
    for p in net.weights.iter_mut().chain(&mut net.biases).flatten() {
        *p += step * along.next().expect("one component a parameter");
    }
    assert!(along.next().is_none());
    net.mean_cost(examples).expect("examples of the right shape")
}

/// The slope of the mean cost along `direction`.
fn slope(net: &Network, examples: &[Example], direction: &[f64]) -> f64 {
    (cost_at(net, examples, direction, EPS) - cost_at(net, examples, direction, -EPS)) / (2.0 * EPS)
}

/// `<claimed, direction>` against the slope, for a direction of length 1.
fn check_direction(net: &Network, examples: &[Example], claimed: &[f64], direction: &[f64]) -> Result<f64, String> {
    compare(dot(claimed, direction), slope(net, examples, direction), norm(claimed))
}

/// Each component of `claimed` against the slope along its axis; the largest error.
fn check_every_parameter(net: &Network, examples: &[Example], claimed: &[f64]) -> Result<f64, String> {
    let mut worst = 0.0_f64;
    for i in 0..claimed.len() {
        let axis: Vec<f64> = (0..claimed.len()).map(|k| if k == i { 1.0 } else { 0.0 }).collect();
        let error = compare(claimed[i], slope(net, examples, &axis), norm(claimed));
        worst = worst.max(error.map_err(|problem| format!("parameter {i}: {problem}"))?);
    }
    Ok(worst)
}

fn random_direction(rng: &mut Pcg64Mcg, n: usize) -> Vec<f64> {
    let v: Vec<f64> = (0..n).map(|_| rng.random_range(-1.0..1.0)).collect();
    let length = norm(&v);
    v.iter().map(|x| x / length).collect()
}

fn elementwise() -> Vec<Activation> {
    Activation::ALL.into_iter().filter(|f| f.is_elementwise()).collect()
}

/// Every output activation with every cost that it goes with.
fn outputs() -> Vec<(Activation, Cost)> {
    let pairs = Activation::ALL.into_iter().flat_map(|f| Cost::ALL.map(|cost| (f, cost)));
    pairs.filter(|(f, cost)| cost.goes_with(*f)).collect()
}

/// A target of the kind that `cost` is for: any numbers, probabilities, or a distribution.
fn random_target(rng: &mut Pcg64Mcg, cost: Cost, outputs: usize) -> Vec<f64> {
    let y: Vec<f64> = (0..outputs).map(|_| rng.random_range(0.0..1.0)).collect();
    match cost {
        Cost::CategoricalCrossEntropy => {
            let sum: f64 = y.iter().sum();
            y.iter().map(|y| y / sum).collect()
        }
        Cost::BinaryCrossEntropy => y,
        _ => y.iter().map(|y| 2.0 * y - 1.0).collect(),
    }
}

/// A network with random parameters and a mini-batch of 5, from the first seed at which
/// [`relus_are_exercised`]. A finite difference across a kink is no derivative.
fn random_case(sizes: &[usize], activations: &[Activation], cost: Cost, seed: u64) -> (Network, Vec<Example>) {
    for attempt in 0..1000 {
        let mut rng = Pcg64Mcg::seed_from_u64(1000 * seed + attempt);
        let mut net = Network::new(sizes, activations, cost).expect("an allowed pairing");
        for p in net.weights.iter_mut().chain(&mut net.biases).flatten() {
            *p = rng.random_range(-1.0..1.0);
        }
        let examples: Vec<Example> = (0..5)
            .map(|_| {
                let x = (0..sizes[0]).map(|_| rng.random_range(-1.5..1.5)).collect();
                (x, random_target(&mut rng, cost, sizes[sizes.len() - 1]))
            })
            .collect();
        if relus_are_exercised(&net, &examples) && costs_are_smooth(&net, &examples) {
            return (net, examples);
        }
    }
    panic!("no seed near {seed} suits the ReLUs of {activations:?}");
}

/// Whether the slope, or the slope of the slope, jumps at 0.
const fn has_kink(f: Activation) -> bool {
    matches!(f, Activation::Relu | Activation::LeakyRelu | Activation::Elu)
}

/// Whether no output is near where the slope of the cost, or the slope of that, jumps.
fn costs_are_smooth(net: &Network, examples: &[Example]) -> bool {
    let at = match net.cost_function() {
        Cost::Huber => 1.0,
        Cost::Absolute => 0.0,
        _ => return true,
    };
    examples.iter().all(|(x, y)| {
        let a = net.feedforward(x).expect("an input of the right length");
        a.iter().zip(y).all(|(a, y)| ((a - y).abs() - at).abs() >= MARGIN)
    })
}

/// Whether each layer of `relu` and its kin has weighted inputs on both sides of the kink, and none within [`MARGIN`] of it.
fn relus_are_exercised(net: &Network, examples: &[Example]) -> bool {
    let zs: Vec<Layers> = examples
        .iter()
        .map(|(x, _)| net.weighted_inputs_and_activations(x).expect("an input of the right length").0)
        .collect();
    net.activations().iter().enumerate().filter(|(_, f)| has_kink(**f)).all(|(l, _)| {
        let z = || zs.iter().flat_map(|zs| &zs[l]);
        z().any(|z| *z > 0.0) && z().any(|z| *z < 0.0) && z().all(|z| z.abs() >= MARGIN)
    })
}

/// The hidden layers of `sizes`: `first`, then the elementwise activations in turn, so that deep networks mix them.
fn activations(sizes: &[usize], first: Activation, output: Activation) -> Vec<Activation> {
    let hidden = elementwise().into_iter().cycle().skip_while(|f| *f != first);
    hidden.take(sizes.len() - 2).chain([output]).collect()
}

#[test]
fn gradients_along_random_directions() {
    let mut tally = Tally::default();
    for sizes in [&[3, 4, 2][..], &[4, 5, 3], &[5, 4, 3, 2]] {
        for first in elementwise() {
            for (output, cost) in outputs() {
                for seed in 0..4 {
                    let f = activations(sizes, first, output);
                    let case = format!("{sizes:?}, {f:?}, {cost}, seed {seed}");
                    let (net, examples) = random_case(sizes, &f, cost, seed);
                    let claimed = gradient(&net, &examples);
                    let mut rng = Pcg64Mcg::seed_from_u64(77 + seed);
                    for _ in 0..3 {
                        let direction = random_direction(&mut rng, claimed.len());
                        tally.add(&case, check_direction(&net, &examples, &claimed, &direction));
                    }
                }
            }
        }
    }
    tally.expect("directional derivatives", 3 * 10 * 32 * 4 * 3);
}

#[test]
fn every_single_parameter() {
    let mut tally = Tally::default();
    for sizes in [&[3, 4, 2][..], &[2, 3, 4, 3]] {
        for first in elementwise() {
            for (output, cost) in outputs() {
                let f = activations(sizes, first, output);
                let (net, examples) = random_case(sizes, &f, cost, 9);
                let claimed = gradient(&net, &examples);
                let case = format!("{sizes:?}, {f:?}, {cost}");
                tally.add(&case, check_every_parameter(&net, &examples, &claimed));
            }
        }
    }
    tally.expect("networks checked parameter by parameter", 2 * 10 * 32);
}

/// Costs in which each row has a weight, towards smoothed targets where the cost has them.
#[test]
fn weighted_rows_and_smoothed_targets() {
    let mut tally = Tally::default();
    let weights = [0.25, 1.5, 0.0, 3.0, 1.0];
    for first in elementwise() {
        for (output, cost) in outputs() {
            let f = activations(&[3, 4, 3], first, output);
            let (net, mut examples) = random_case(&[3, 4, 3], &f, cost, 4);
            if matches!(cost, Cost::BinaryCrossEntropy | Cost::CategoricalCrossEntropy) {
                let classes = if cost == Cost::BinaryCrossEntropy { 2 } else { 3 };
                examples.iter_mut().for_each(|(_, y)| *y = smoothed(y, 0.3, classes));
            }
            let (nabla_b, nabla_w) = net.weighted_gradient(&examples, &weights).expect("examples of the right shape");
            let claimed = flat(&nabla_w, &nabla_b);
            let mut rng = Pcg64Mcg::seed_from_u64(12);
            for _ in 0..3 {
                let direction = random_direction(&mut rng, claimed.len());
                let at = |step: f64| {
                    let mut net = net.clone();
                    let parameters = net.weights.iter_mut().chain(&mut net.biases).flatten();
                    parameters.zip(&direction).for_each(|(p, v)| *p += step * v);
                    net.weighted_cost(&examples, &weights).expect("examples of the right shape")
                };
                let estimate = (at(EPS) - at(-EPS)) / (2.0 * EPS);
                let case = format!("{f:?}, {cost}");
                tally.add(&case, compare(dot(&claimed, &direction), estimate, norm(&claimed)));
                // Without the weights it is another gradient.
                let plain = gradient(&net, &examples);
                assert!(compare(dot(&plain, &direction), estimate, norm(&plain)).is_err(), "{case}");
            }
        }
    }
    tally.expect("weighted and smoothed costs", 10 * 32 * 3);
}

#[test]
fn derivatives_of_the_activations() {
    let mut rng = Pcg64Mcg::seed_from_u64(5);
    let mut tally = Tally::default();
    for f in elementwise() {
        for _ in 0..200 {
            // A factor from above as in BP2, and never 1, which would hide one that is lost or squared.
            let upstream: f64 = rng.random_range(1.5..3.0) * if rng.random() { 1.0 } else { -1.0 };
            let mut z: f64 = rng.random_range(-4.0..4.0);
            if has_kink(f) && z.abs() < MARGIN {
                z += 2.0 * MARGIN;
            }
            let weighted = |z: f64| upstream * activation(f, &[z])[0];
            let estimate = (weighted(z + EPS) - weighted(z - EPS)) / (2.0 * EPS);
            let claimed = upstream * activation_prime(f, &[z]).expect("an elementwise activation")[0];
            tally.add(&format!("{f} at {z}"), compare(claimed, estimate, upstream.abs()));
        }
    }
    tally.expect("derivatives of activations", 10 * 200);
}

/// BP1 for every output and cost, with the derivative of the activation, softmax included, taken by differences:
/// `delta_j = sum_k dC/da_k da_k/dz_j`. It ties `cost_derivative` to the `a - y` of the cross-entropies.
#[test]
fn output_errors_from_the_derivative_of_the_cost() {
    let mut tally = Tally::default();
    for (output, cost) in outputs() {
        for seed in 0..10 {
            let (net, examples) = random_case(&[2, 3], &[output], cost, seed);
            for (x, y) in &examples {
                let (zs, activations) = net.weighted_inputs_and_activations(x).expect("an input of length 2");
                let nabla_a = net.cost_derivative(&activations[1], y).expect("a target of length 3");
                let delta = &net.deltas(x, y).expect("a target of length 3")[0];
                for j in 0..3 {
                    let moved = |step: f64| {
                        let mut z = zs[0].clone();
                        z[j] += step;
                        dot(&nabla_a, &activation(output, &z))
                    };
                    let estimate = (moved(EPS) - moved(-EPS)) / (2.0 * EPS);
                    tally.add(&format!("{output}, {cost}"), compare(delta[j], estimate, norm(&nabla_a)));
                }
            }
        }
    }
    tally.expect("output errors", 32 * 10 * 5 * 3);
}

/// Outputs pushed to `z = +-30` and beyond by their biases. A cost computed by another formula than its gradient shows
/// here first: through `ln a` it would be infinite, or flat.
#[test]
fn value_and_gradient_agree_where_outputs_saturate() {
    let mut tally = Tally::default();
    let mut flat_cases = 0;
    for z in [30.0, 100.0, 300.0] {
        for (output, cost) in outputs() {
            let (mut net, examples) = random_case(&[3, 4, 3], &[Activation::Tanh, output], cost, 3);
            net.biases[1] = vec![z, -z, z + 1.0];
            let claimed = gradient(&net, &examples);
            let direction = random_direction(&mut Pcg64Mcg::seed_from_u64(8), claimed.len());
            if matches!(cost, Cost::Quadratic | Cost::Huber | Cost::Absolute)
                && matches!(output, Activation::Sigmoid | Activation::Tanh)
            {
                // f' leaves these costs nothing: flat in value and in gradient alike.
                assert!(norm(&claimed) <= 1e-10, "{output}, z {z}: {claimed:?}");
                let estimate = slope(&net, &examples, &direction);
                assert!(estimate.abs() <= 1e-10, "{output}, z {z}: {estimate:e}");
                flat_cases += 1;
            } else {
                let case = format!("{output}, {cost}, z {z}");
                tally.add(&case, check_direction(&net, &examples, &claimed, &direction));
            }
        }
    }
    tally.expect("saturated outputs", 3 * 26);
    assert_eq!(flat_cases, 3 * 6);
}

/// What each mistake does to a right gradient.
fn wrong_gradients(net: &Network, examples: &[Example]) -> Vec<(&'static str, Vec<f64>)> {
    let right = gradient(net, examples);
    let spoil = |change: &dyn Fn(&mut Vec<f64>)| {
        let mut wrong = right.clone();
        change(&mut wrong);
        wrong
    };
    let largest = (0..right.len()).max_by(|&i, &k| right[i].abs().total_cmp(&right[k].abs())).expect("parameters");
    let first_layer = net.weights[0].len();

    // For one example the rows of the first layer are each a multiple of one f'(z_j), which can be taken out again.
    let (x, y) = &examples[0];
    let (mut nabla_b, mut nabla_w) = net.backprop(x, y).expect("an example of the right shape");
    let (zs, _) = net.weighted_inputs_and_activations(x).expect("an example of the right shape");
    let sp = activation_prime(net.activations()[0], &zs[0]).expect("a hidden layer");
    for (j, sp) in sp.iter().enumerate() {
        let columns = net.sizes()[0];
        nabla_b[0][j] /= sp;
        nabla_w[0][j * columns..(j + 1) * columns].iter_mut().for_each(|w| *w /= sp);
    }
    // With the same outputs, the error of the cross-entropy is that of the quadratic cost without its f'.
    let mut twin = Network::new(net.sizes(), net.activations(), Cost::BinaryCrossEntropy).expect("sigmoid outputs");
    twin.weights.clone_from(&net.weights);
    twin.biases.clone_from(&net.biases);

    let transposed = |w: &[f64], n: usize| (0..n * n).map(|i| w[(i % n) * n + i / n]).collect::<Vec<_>>();
    vec![
        ("f' dropped in the hidden layer (one example)", flat(&nabla_w, &nabla_b)),
        ("f' dropped in the output error", gradient(&twin, examples)),
        ("every sign flipped", spoil(&|g| g.iter_mut().for_each(|g| *g = -*g))),
        ("sign flipped in the first layer", spoil(&|g| g[..first_layer].iter_mut().for_each(|g| *g = -*g))),
        ("the largest entry 1 % too large", spoil(&|g| g[largest] *= 1.01)),
        ("the largest entry 1 % too small", spoil(&|g| g[largest] *= 0.99)),
        ("summed over the rows, not averaged", spoil(&|g| g.iter_mut().for_each(|g| *g *= examples.len() as f64))),
        ("w^2 transposed", spoil(&|g| g.splice(..first_layer, transposed(&right, net.sizes()[0])).for_each(drop))),
        ("biases without a gradient", spoil(&|g| g[right.len() - 3..].fill(0.0))),
        ("one NaN", spoil(&|g| g[largest] = f64::NAN)),
        ("one infinity", spoil(&|g| g[largest] = f64::INFINITY)),
        ("nothing at all", vec![0.0; right.len()]),
    ]
}

#[test]
fn wrong_gradients_are_refused() {
    let mut refused = 0;
    for hidden in [Activation::Sigmoid, Activation::Tanh] {
        let (net, examples) = random_case(&[4, 4, 3], &[hidden, Activation::Sigmoid], Cost::Quadratic, 6);
        let right = gradient(&net, &examples);
        let direction = random_direction(&mut Pcg64Mcg::seed_from_u64(4), right.len());
        check_direction(&net, &examples, &right, &direction).expect("the right gradient must pass");
        check_every_parameter(&net, &examples, &right).expect("the right gradient must pass");

        for (mistake, wrong) in wrong_gradients(&net, &examples) {
            let examples = if mistake.contains("one example") { &examples[..1] } else { &examples };
            let along = check_direction(&net, examples, &wrong, &direction);
            assert!(along.is_err(), "{hidden}: '{mistake}' passed along a direction, error {along:?}");
            let each = check_every_parameter(&net, examples, &wrong);
            assert!(each.is_err(), "{hidden}: '{mistake}' passed parameter by parameter, error {each:?}");
            refused += 2;
        }
    }
    println!("negative controls: {refused} refused");
    assert_eq!(refused, 2 * 2 * 12);
}

#[test]
fn the_comparison_refuses_what_is_not_a_number() {
    for (claimed, estimate, norm) in [
        (f64::NAN, 1.0, 1.0),
        (1.0, f64::NAN, 1.0),
        (1.0, 1.0, f64::NAN),
        (f64::NAN, f64::NAN, 1.0),
        (f64::INFINITY, f64::INFINITY, 1.0),
        (f64::INFINITY, f64::INFINITY, f64::INFINITY),
        (1.0, 1.0 + 2.0 * TOLERANCE, 1.0),
        (1.0, 1.0, 0.0),
        (1e-9, 1e-9, 1e-9),
    ] {
        assert!(compare(claimed, estimate, norm).is_err(), "{claimed}, {estimate}, {norm}");
    }
    assert!(compare(1.0, 1.0 + 0.5 * TOLERANCE, 1.0).is_ok());
}

/// The slope of the mean cost and its penalties along `direction`.
fn penalised_slope(net: &Network, examples: &[Example], penalties: &Regularization, direction: &[f64]) -> f64 {
    let penalty_at = |step: f64| {
        let mut net = net.clone();
        for (p, along) in net.weights.iter_mut().chain(&mut net.biases).flatten().zip(direction) {
            *p += step * along;
        }
        penalty(&net, penalties)
    };
    slope(net, examples, direction) + (penalty_at(EPS) - penalty_at(-EPS)) / (2.0 * EPS)
}

/// Every activation with every cost and every penalty; and a gradient without the penalty, which must be refused.
#[test]
fn penalised_gradients_along_random_directions() {
    let mut tally = Tally::default();
    let mut refused = 0;
    let penalties =
        [(0.3, 0.0), (0.0, 0.2), (0.3, 0.2)].map(|(l2, l1)| Regularization { l2, l1, ..Regularization::default() });
    for first in elementwise() {
        for (output, cost) in outputs() {
            for (seed, penalties) in (0..).zip(&penalties) {
                let sizes = [4, 5, 3];
                let f = activations(&sizes, first, output);
                let case = format!("{f:?}, {cost}, {penalties:?}");
                let (net, examples) = random_case(&sizes, &f, cost, seed);
                assert!(
                    net.weights.iter().flatten().all(|w| w.abs() > 2.0 * EPS),
                    "{case}: a weight at the kink of |w|"
                );
                let (nabla_b, nabla_w) =
                    penalised_gradient(&net, &examples, penalties).expect("examples of the right shape");
                let claimed = flat(&nabla_w, &nabla_b);
                let mut rng = Pcg64Mcg::seed_from_u64(177 + seed);
                let direction = random_direction(&mut rng, claimed.len());
                let estimate = penalised_slope(&net, &examples, penalties, &direction);
                tally.add(&case, compare(dot(&claimed, &direction), estimate, norm(&claimed)));
                let plain = gradient(&net, &examples);
                assert!(
                    compare(dot(&plain, &direction), estimate, norm(&plain)).is_err(),
                    "{case}: the penalty does nothing"
                );
                refused += 1;
            }
        }
    }
    tally.expect("penalised gradients", 10 * 32 * 3);
    println!("{refused} gradients without their penalty refused");
}
