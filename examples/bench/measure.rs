//! One net on one device.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use cpu_time::ProcessTime;
use serde_json::{Value, json};
use wgrad::plan::{Goal, Plan, PlanKind, Source};
use wgrad::verify::{DeviceRunner, check_kernels, lockstep};
use wgrad::{Activation, Cost, Dataset, Device, Event, Network, Result, Sgd, Trainer, wgpu};

use crate::common::{Random, fail};

/// What `step_for` is asked for, as by a game that has these milliseconds a frame.
const SLICE: Duration = Duration::from_millis(4);
/// How long it is watched.
const WATCHED: Duration = Duration::from_millis(600);

/// The widths of a net.
#[derive(Clone)]
pub struct Sizes(pub Vec<usize>);

impl std::str::FromStr for Sizes {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        let widths: Option<Vec<usize>> =
            word.split('-').map(|w| w.parse().ok().filter(|w| (1..=1 << 16).contains(w))).collect();
        match widths {
            Some(widths) if widths.len() >= 2 => Ok(Self(widths)),
            _ => Err("give at least two widths from 1 to 65,536, such as 784-30-10".to_owned()),
        }
    }
}

impl std::fmt::Display for Sizes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let widths: Vec<_> = self.0.iter().map(usize::to_string).collect();
        f.write_str(&widths.join("-"))
    }
}

impl Sizes {
    /// Floating-point operations of a step's matrix products: three a layer, but none back to the input.
    fn flop(&self, batch: usize) -> f64 {
        let product = |pair: &[usize]| 2.0 * (pair[0] * pair[1] * batch) as f64;
        3.0 * self.0.windows(2).map(product).sum::<f64>() - product(&self.0)
    }
}

/// The device that a word names; `noop` is wgpu's backend without a GPU.
pub fn open(word: &str) -> Result<Device> {
    match word {
        "auto" => Device::auto(),
        "noop" => {
            let (device, queue) = wgpu::Device::noop(&wgpu::DeviceDescriptor::default());
            let info = device.adapter_info();
            Ok(Device::from_wgpu(device, queue, info))
        }
        _ => Device::named(word),
    }
}

/// What is measured.
pub struct Job {
    pub sizes: Sizes,
    pub batch: usize,
    /// Steps a repeat; half a second's worth where it is not said.
    pub steps: Option<u32>,
    pub repeats: u32,
    pub resident: Option<u32>,
    pub plan: Option<PlanKind>,
    /// Whether the device computes anything; if not, nothing is checked.
    pub computes: bool,
}

impl Job {
    /// Steps a second and what they cost, as JSON. Data are on the device and pipelines made before the clock starts.
    pub fn measure(&self, device: &Device) -> Result<Value> {
        let mut net = self.network(device)?;
        let parity_error = if self.computes { Some(self.parity(device, &net)?) } else { None };
        let (data, resident) = self.data(device)?;
        let first = run(&mut net, &data, self.batch, [0, 1, 1])?;
        let warm = run(&mut net, &data, self.batch, [1, 1, (0.1 / first.seconds()).clamp(1.0, 1000.0) as usize])?;
        // Whole epochs of the resident mini-batches, as many as the steps asked for, or as half a second holds.
        let epochs = self.steps.map_or(0.5 / warm.seconds(), |steps| f64::from(steps) / resident as f64);
        let epochs = epochs.round().max(1.0) as usize;
        let before = net.counters();
        run(&mut net, &data, self.batch, [0, 1, 1])?;
        let between = net.counters();
        let run = run(&mut net, &data, self.batch, [1, self.repeats as usize, epochs])?;
        let after = net.counters();
        // A call of `step_for` ends with an epoch at the latest: there, epochs are long.
        let longer = Self { resident: Some(self.resident.unwrap_or(1024)), sizes: self.sizes.clone(), ..*self };
        let step_for = longer.step_for(device, &mut net, &longer.data(device)?.0)?;

        // What a run does besides its epochs, such as its data's upload, is what one of a single epoch shows.
        let repeats = self.repeats as usize;
        let steps = (repeats * epochs * resident) as f64;
        let per_step =
            |get: fn(wgrad::Counters) -> u64| ((get(after) + get(before)) as f64 - 2.0 * get(between) as f64) / steps;
        let steps_a_repeat = (epochs * resident) as f64;
        let wall = run.seconds() / steps_a_repeat;
        Ok(json!({
            "sizes": self.sizes.0,
            "batch": self.batch,
            "resident": resident,
            "steps": epochs * resident,
            "repeats": repeats,
            "us_per_step": wall * 1e6,
            "steps_per_second": 1.0 / wall,
            "steps_per_second_of_each": run.walls.iter().map(|wall| (steps_a_repeat / wall).round()).collect::<Vec<_>>(),
            "gflops": self.sizes.flop(self.batch) / wall / 1e9,
            "host_us_per_step": median(run.hosts) / steps_a_repeat * 1e6,
            "dispatches_per_step": per_step(|c| c.dispatches),
            "submissions": (per_step(|c| c.submissions) * steps_a_repeat).round(),
            "bytes_up_per_step": per_step(|c| c.bytes_up),
            "bytes_down_per_step": per_step(|c| c.bytes_down),
            "device": device.kind(),
            "adapter": device.adapter(),
            "plan": net.plan(self.batch).0.name(),
            "optimizer": "sgd",
            "parity_error": parity_error,
            "step_for": step_for,
        }))
    }

    fn network(&self, device: &Device) -> Result<Network> {
        let mut builder = Network::new(self.sizes.0[0]).seed(1);
        for &width in &self.sizes.0[1..] {
            builder = builder.dense(width, Activation::Sigmoid);
        }
        if let Some(plan) = self.plan {
            builder = builder.plan(plan);
        }
        builder.build(device)
    }

    /// How far the device is from the reference, in units of the bound: of every kernel, and of the plan in lockstep with the CPU.
    fn parity(&self, device: &Device, net: &Network) -> Result<f64> {
        let check = check_kernels(device, &[[3, 17, 2], [9, 15, 16], [10, 65, 31]], 1)?;
        let request = net.request(Goal::Train, Cost::Quadratic, Source::Direct, 3);
        let plan = Plan::new(net.plan(self.batch).0, &request)?;
        let mut runners = [DeviceRunner::new(device, &plan)?, DeviceRunner::new(&Device::cpu(), &plan)?];
        let [ours, cpu] = &mut runners;
        let steps = lockstep(&plan, ours, cpu, 1, 1)?;
        let worst = check.kernels.iter().fold(steps.worst.ratio, |worst, kernel| worst.max(kernel.worst.ratio));
        if !check.passed() {
            fail(&format!("{device} is wrong; nothing is measured:\n{check}"), 1);
        }
        Ok(worst)
    }

    /// Random numbers, and how many mini-batches of them.
    fn data(&self, device: &Device) -> Result<(Dataset, usize)> {
        let (inputs, outputs) = (self.sizes.0[0], self.sizes.0[self.sizes.0.len() - 1]);
        let default = if device.kind() == "cpu" { 32 } else { 1024 };
        let room = device.limits().max_binding_bytes.min(64 << 20) as usize;
        let fits = (room / (4 * self.batch * inputs.max(outputs))).max(1);
        let resident = self.resident.map_or(default, |n| n as usize).min(fits);
        let mut random = Random::new(1);
        let mut numbers = |columns: usize| (0..resident * self.batch * columns).map(|_| random.uniform()).collect();
        let (x, y): (Vec<f32>, Vec<f32>) = (numbers(inputs), numbers(outputs));
        Ok((Dataset::new(x, inputs, y, outputs)?, resident))
    }

    /// Slices of a run, as a program with a loop of its own takes them: how long each call took, and how many steps all did. On a
    /// GPU a call returns at once, and the rest of its slice is the program's, while the device works.
    fn step_for(&self, device: &Device, net: &mut Network, data: &Dataset) -> Result<Value> {
        let trainer = Trainer::new(Cost::Quadratic, Sgd::new(0.5)).batch_size(self.batch);
        let mut training = trainer.start(net, data)?;
        // The first calls find out how long a step takes.
        for _ in 0..20 {
            training.step_for(SLICE)?;
        }
        let (mut taken, mut steps) = (Vec::new(), 0);
        let watch = Instant::now();
        while watch.elapsed() < WATCHED || taken.is_empty() {
            let call = Instant::now();
            steps += training.step_for(SLICE)?.steps;
            taken.push(call.elapsed().as_secs_f64());
            if device.kind() != "cpu" {
                std::thread::sleep(SLICE.saturating_sub(call.elapsed()));
            }
        }
        let seconds = watch.elapsed().as_secs_f64();
        let (calls, longest) = (taken.len(), taken.iter().fold(0.0_f64, |most, &call| most.max(call)));
        Ok(json!({
            "asked_ms": SLICE.as_secs_f64() * 1e3,
            "calls": calls,
            "steps": steps,
            "median_ms": median(taken) * 1e3,
            "longest_overrun_ms": (longest - SLICE.as_secs_f64()).max(0.0) * 1e3,
            "steps_per_second": f64::from(u32::try_from(steps).unwrap_or(u32::MAX)) / seconds,
        }))
    }
}

/// What the repeats of a run took, in seconds of the clock and of the process.
struct Measured {
    walls: Vec<f64>,
    hosts: Vec<f64>,
}

impl Measured {
    fn seconds(&self) -> f64 {
        median(self.walls.clone())
    }
}

/// Trains for some epochs that do not count, and then for so many repeats of so many.
fn run(net: &mut Network, data: &Dataset, batch: usize, [before, repeats, epochs]: [usize; 3]) -> Result<Measured> {
    let mut marks = vec![(Instant::now(), ProcessTime::now())];
    let mut done = 0;
    let mut tell = |event: Event<'_>| {
        if let Event::Epoch(_) = event {
            done += 1;
            if done == before {
                marks.clear();
            }
            if done >= before && (done - before) % epochs == 0 {
                marks.push((Instant::now(), ProcessTime::now()));
            }
        }
        ControlFlow::Continue(())
    };
    let mut trainer = Trainer::new(Cost::Quadratic, Sgd::new(0.5)).batch_size(batch).epochs(before + repeats * epochs);
    trainer = trainer.on_event(&mut tell);
    trainer.fit(net, data, None)?;
    drop(trainer);
    let pairs = || marks.windows(2);
    Ok(Measured {
        walls: pairs().map(|pair| pair[1].0.duration_since(pair[0].0).as_secs_f64()).collect(),
        hosts: pairs().map(|pair| pair[1].1.duration_since(pair[0].1).as_secs_f64()).collect(),
    })
}

/// The one in the middle.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
