//! A net learns to balance a pole, inside the simulation's own loop: `cargo run --release --example cart_pole`.
//!
//! The policy learns by policy gradient (R. J. Williams 1992, REINFORCE): an action's log-probability goes up by how much better than
//! expected things went after it. What to expect is learned by a second net, the critic, in slices of a few milliseconds between the
//! episodes, as a game would give them between its frames.
//!
//! Three ways into the crate: `gradients` and `update` for the policy, whose gradient comes from no data set; `start` and `step_for`
//! for the critic; `predict` for one row at a time.

mod common;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use clap::Parser;
use common::{Random, fail_with, say};
use wgrad::{Activation, Adam, Cost, Dataset, Device, Network, Result, Trainer};

/// Balances a pole on a cart. Each episode ends when the pole falls, the cart leaves the track, or after 500 steps; it counts as
/// learned when 100 episodes last 475 steps or more on average.
#[derive(Debug, Parser)]
struct Options {
    /// Episodes at most
    #[arg(long, value_name = "N", default_value_t = 2000, value_parser = clap::value_parser!(u32).range(1..))]
    episodes: u32,
    /// Episodes between two steps of the policy
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..))]
    batch: u32,
    /// Learning rate of the policy
    #[arg(long, default_value_t = 0.02)]
    eta: f32,
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// auto, cpu, gpu, or part of an adapter's name; a net this small is at home on the CPU
    #[arg(long, value_name = "NAME", default_value = "cpu")]
    device: String,
}

/// What is counted less for each step that it lies ahead.
const DISCOUNT: f32 = 0.99;
const LONGEST: usize = 500;

fn main() {
    run(&Options::parse()).unwrap_or_else(|error| fail_with(&error));
}

fn run(options: &Options) -> Result<()> {
    let device = Device::named(&options.device)?;
    let mut policy =
        Network::new(4).dense(32, Activation::Tanh).dense(2, Activation::Identity).seed(options.seed).build(&device)?;
    let mut critic = Network::new(4)
        .dense(32, Activation::Tanh)
        .dense(1, Activation::Identity)
        .seed(options.seed + 1)
        .build(&device)?;
    say!("device    {device}, because {}", device.reason());
    say!("policy    {:?}, critic {:?}\n", policy.sizes(), critic.sizes());
    say!("episodes  steps of an episode, the last 100 on average");

    let mut random = Random::new(options.seed);
    let mut lengths: VecDeque<usize> = VecDeque::new();
    let started = Instant::now();
    let (mut episodes, mut said) = (0, 0);
    while episodes < options.episodes {
        let mut batch = Vec::new();
        // The last batch ends where the episodes do.
        for _ in 0..options.batch.min(options.episodes - episodes) {
            let episode = play(&policy, &mut random)?;
            lengths.push_back(episode.actions.len());
            if lengths.len() > 100 {
                lengths.pop_front();
            }
            batch.push(episode);
            episodes += 1;
        }
        learn(&mut policy, &mut critic, &batch, options)?;

        #[allow(clippy::cast_precision_loss, reason = "a count of steps")]
        let mean = lengths.iter().sum::<usize>() as f64 / lengths.len() as f64;
        let learned = lengths.len() == 100 && mean >= 475.0;
        if learned || episodes - said >= 100 || episodes >= options.episodes {
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most 50 marks")]
            let bar = "#".repeat((mean / 10.0) as usize);
            say!("{episodes:>8}  {mean:>6.1}  {bar}");
            said = episodes;
        }
        if learned {
            say!("\nlearned after {episodes} episodes, in {:.1} s", started.elapsed().as_secs_f64());
            return Ok(());
        }
    }
    say!("\nnot learned in {episodes} episodes; another --seed or --eta may do");
    Ok(())
}

/// One run of the simulation: four numbers, an action and the probability of each action a step.
#[derive(Debug, Default)]
struct Episode {
    states: Vec<f32>,
    actions: Vec<usize>,
    /// Whether the pole was still up when time was over.
    cut_short: bool,
}

fn play(policy: &Network, random: &mut Random) -> Result<Episode> {
    let mut episode = Episode::default();
    let mut cart = Cart::new(random);
    while episode.actions.len() < LONGEST {
        let state = cart.observed();
        let logits = policy.predict(&state)?;
        let action = usize::from(random.uniform() < softmax([logits[0], logits[1]])[1]);
        episode.states.extend(state);
        episode.actions.push(action);
        cart.step(if action == 1 { 10.0 } else { -10.0 });
        if cart.has_failed() {
            return Ok(episode);
        }
    }
    episode.cut_short = true;
    Ok(episode)
}

/// One step of the policy, and some milliseconds for the critic.
fn learn(policy: &mut Network, critic: &mut Network, batch: &[Episode], options: &Options) -> Result<()> {
    let states: Vec<f32> = batch.iter().flat_map(|episode| episode.states.iter().copied()).collect();
    let expected = critic.predict(&states)?;

    // The return of each step: what is still to come, each step upright being worth 1.
    let scale = 1.0 - DISCOUNT; // so that the critic's targets lie between 0 and 1
    let mut returns = Vec::with_capacity(expected.len());
    for episode in batch {
        let steps = episode.actions.len();
        let first = returns.len();
        // Where time was over the critic says what would have come.
        let mut to_come = if episode.cut_short { expected[first + steps - 1] } else { 0.0 };
        returns.resize(first + steps, 0.0);
        for at in (first..first + steps).rev() {
            to_come = scale + DISCOUNT * to_come;
            returns[at] = to_come;
        }
    }
    let mut advantages: Vec<f32> = returns.iter().zip(&expected).map(|(g, v)| g - v).collect();
    #[allow(clippy::cast_precision_loss, reason = "a count of steps")]
    let count = advantages.len() as f32;
    let mean = advantages.iter().sum::<f32>() / count;
    let deviation = (advantages.iter().map(|a| (a - mean).powi(2)).sum::<f32>() / count).sqrt().max(1e-6);
    advantages.iter_mut().for_each(|a| *a = (*a - mean) / deviation);

    // What is to grow is the mean of A ln softmax(z)[action]; its derivative by z is A (onehot - softmax(z)). With the quadratic cost
    // the output error is z - y (BP1), so the target y = z + A (onehot - softmax(z)) makes backpropagation carry just that.
    let logits = policy.predict(&states)?;
    let actions = batch.iter().flat_map(|episode| &episode.actions);
    let targets: Vec<f32> = logits
        .chunks_exact(2)
        .zip(actions)
        .zip(&advantages)
        .flat_map(|((z, &action), advantage)| {
            let p = softmax([z[0], z[1]]);
            [0, 1].map(|j| z[j] + advantage * (if j == action { 1.0 } else { 0.0 } - p[j]))
        })
        .collect();
    let gradients = policy.gradients(&states, &targets, Cost::Quadratic)?;
    policy.update(&gradients, Adam::new(options.eta))?;

    // The critic learns what came of each state, a slice at a time; here a game would draw a frame after each.
    let data = Dataset::new(states, 4, returns, 1)?;
    let trainer = Trainer::new(Cost::Quadratic, Adam::new(0.01)).batch_size(64).seed(options.seed);
    let mut run = trainer.start(critic, &data)?;
    for _frame in 0..4 {
        run.step_for(Duration::from_millis(2))?;
    }
    Ok(())
}

fn softmax([a, b]: [f32; 2]) -> [f32; 2] {
    let right = 1.0 / (1.0 + (a - b).exp());
    [1.0 - right, right]
}

/// The cart and the pole of A. G. Barto, R. S. Sutton and C. W. Anderson, "Neuronlike adaptive elements that can solve difficult
/// learning control problems" (1983), in the numbers of the Gym of `OpenAI`: metres, radians, seconds.
struct Cart {
    x: f32,
    speed: f32,
    angle: f32,
    spin: f32,
}

impl Cart {
    fn new(random: &mut Random) -> Self {
        let [x, speed, angle, spin] = [(); 4].map(|()| 0.1 * random.uniform() - 0.05);
        Self { x, speed, angle, spin }
    }

    /// What the net sees, each number about from -1 to 1.
    fn observed(&self) -> [f32; 4] {
        [self.x / 2.4, self.speed / 2.0, self.angle / 0.2, self.spin / 2.0]
    }

    /// A fiftieth of a second under this force, in newtons.
    fn step(&mut self, force: f32) {
        const GRAVITY: f32 = 9.8;
        const POLE: f32 = 0.1;
        const ALL: f32 = 1.1;
        const HALF_LENGTH: f32 = 0.5;
        const TIME: f32 = 0.02;
        let (sin, cos) = self.angle.sin_cos();
        let push = (force + POLE * HALF_LENGTH * self.spin * self.spin * sin) / ALL;
        let turn = (GRAVITY * sin - cos * push) / (HALF_LENGTH * (4.0 / 3.0 - POLE * cos * cos / ALL));
        let shift = push - POLE * HALF_LENGTH * turn * cos / ALL;
        self.x += TIME * self.speed;
        self.speed += TIME * shift;
        self.angle += TIME * self.spin;
        self.spin += TIME * turn;
    }

    fn has_failed(&self) -> bool {
        self.x.abs() > 2.4 || self.angle.abs() > 12_f32.to_radians()
    }
}
