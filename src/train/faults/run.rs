//! A short run under a script of faults.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use crate::gpu::Adapters;
use crate::gpu::fault::{Script, begin};
use crate::network::NetworkBuilder;
use crate::plan::PlanKind;
use crate::{
    Activation, Adam, Cost, Dataset, Device, History, Network, Optimizer, Population, Recovery, Result, Sgd, Trainer,
    wgpu,
};

const ROWS: usize = 20;
const BATCH: usize = 7;
pub(super) const EPOCHS: usize = 2;
/// Of the whole run.
pub(super) const STEPS: u64 = 6;

/// Where runs are made.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Place {
    /// wgpu's backend that keeps buffers and computes nothing.
    Noop,
    /// An adapter, by its name.
    Adapter(String),
}

impl Place {
    /// An adapter that computes, if one may be used.
    pub(super) fn adapter() -> Option<Self> {
        let is_set = |variable: &str| std::env::var(variable).is_ok_and(|value| value == "1");
        let named =
            std::env::var("WGRAD_DEVICE").ok().filter(|word| !["", "auto", "cpu", "gpu"].contains(&word.trim()));
        let found = || {
            let usable = |adapter: &crate::AdapterSummary| !adapter.software || is_set("WGRAD_ALLOW_SOFTWARE");
            let first = Device::list().into_iter().find(usable)?;
            Some(format!("{}:{}", first.info.backend, first.info.name))
        };
        let adapter = named.or_else(found).map(Self::Adapter);
        if adapter.is_none() {
            eprintln!("SKIPPED: faults on an adapter that computes: there is none");
            assert!(!is_set("WGRAD_REQUIRE_GPU"), "WGRAD_REQUIRE_GPU=1, but no adapter");
        }
        adapter
    }

    pub(super) fn open(&self) -> Result<Device> {
        match self {
            Self::Noop => pollster::block_on(async {
                let info = wgpu::AdapterInfo::new(wgpu::DeviceType::Other, wgpu::Backend::Noop);
                let adapters = Adapters::find_again(&info).await;
                let (_, adapter) = adapters.infos().next().ok_or_else(|| adapters.none("noop"))?;
                Device::open(adapter, None, "a test").await
            }),
            Self::Adapter(word) => Device::with_adapter(word),
        }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Noop => f.write_str("noop"),
            Self::Adapter(name) => f.write_str(name),
        }
    }
}

/// How a run is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// As a whole.
    Fit,
    /// In slices of time.
    Slices,
    /// Of several networks, which are trained at once, or one after another.
    Population { at_once: bool },
}

impl std::fmt::Display for Way {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Fit => "fit",
            Self::Slices => "step_for",
            Self::Population { at_once: true } => "population at once",
            Self::Population { at_once: false } => "population in turn",
        })
    }
}

/// Networks of a population.
const MEMBERS: usize = 2;

/// Which run, on what.
#[derive(Debug, Clone)]
pub(super) struct Case {
    pub(super) place: Place,
    pub(super) way: Way,
    pub(super) kind: Option<PlanKind>,
    pub(super) recovery: Recovery,
    pub(super) steps: u64,
    /// Which of the networks a run alone is of, and by which optimiser.
    member: usize,
    is_sgd: bool,
}

/// What was trained.
enum Trained {
    One(Box<Network>),
    Many(Box<Population>),
}

impl Trained {
    fn networks(&self) -> &[Network] {
        match self {
            Self::One(net) => std::slice::from_ref(net),
            Self::Many(population) => population.networks(),
        }
    }
}

impl Case {
    pub(super) fn new(place: &Place, kind: PlanKind) -> Self {
        let recovery = Recovery::default().every(Duration::ZERO).pause(Duration::ZERO);
        let kind = Some(kind);
        Self { place: place.clone(), way: Way::Fit, kind, recovery, steps: STEPS, member: 0, is_sgd: false }
    }

    /// The same, made in this way. Populations choose their plans themselves.
    pub(super) fn by(self, way: Way) -> Self {
        let kind = if matches!(way, Way::Population { .. }) { None } else { self.kind };
        Self { way, kind, ..self }
    }

    /// The runs that make the same networks, each alone, of so many steps.
    pub(super) fn alone(&self, steps: u64) -> Vec<Self> {
        let (members, kind) = match self.way {
            Way::Fit | Way::Slices => (1, self.kind),
            Way::Population { at_once } => (MEMBERS, at_once.then_some(PlanKind::Persistent)),
        };
        let alone = |member: usize| Self {
            way: Way::Fit,
            kind,
            steps,
            member,
            is_sgd: self.way == Way::Population { at_once: false } && member == 1,
            ..self.clone()
        };
        (0..members).map(alone).collect()
    }

    pub(super) fn net(&self) -> NetworkBuilder {
        let net = Network::new(6).dense(3, Activation::Tanh).dense(2, Activation::Sigmoid).seed(3 + self.member as u64);
        match self.kind {
            Some(kind) => net.plan(kind),
            None => net,
        }
    }

    fn optimizer(&self) -> Optimizer {
        if self.is_sgd { Sgd::new(0.5).into() } else { Adam::new(0.05).into() }
    }

    fn trainer(&self) -> Trainer<'static> {
        let trainer = Trainer::new(Cost::Quadratic, self.optimizer()).batch_size(BATCH).epochs(EPOCHS);
        trainer.seed(5 + self.member as u64).recovery(self.recovery.clone())
    }

    fn train(&self, device: &Device, trained: &mut Option<Trained>) -> Result<Vec<History>> {
        let (data, of) = (data(), self.alone(self.steps));
        if matches!(self.way, Way::Population { .. }) {
            let mut population = Population::new(device, Cost::Quadratic).batch_size(BATCH).epochs(EPOCHS);
            for one in &of {
                population.add(one.net(), one.optimizer(), 5 + one.member as u64)?;
            }
            let many = trained.insert(Trained::Many(Box::new(population.recovery(self.recovery.clone()))));
            let Trained::Many(population) = many else { return Ok(Vec::new()) };
            return population.fit(&data)?.members.into_iter().collect();
        }
        let one = trained.insert(Trained::One(Box::new(self.net().build(device)?)));
        let Trained::One(net) = one else { return Ok(Vec::new()) };
        if self.way == Way::Fit {
            return Ok(vec![self.trainer().max_steps(self.steps).fit(net, &data, Some(&data))?]);
        }
        let mut run = self.trainer().start(net, &data)?;
        let mut history = History::default();
        while history.epochs.len() < EPOCHS {
            let stepped = run.step_for(Duration::ZERO)?;
            history.epochs.extend(stepped.epoch);
            if stepped.steps == 0 {
                std::thread::sleep(Duration::from_micros(100));
            }
        }
        Ok(vec![history])
    }

    /// The run under a script, which says afterwards what happened.
    pub(super) fn run(&self, script: Script) -> Ran {
        begin(script);
        let mut trained = None;
        let work = AssertUnwindSafe(|| {
            let device = self.place.open()?;
            self.train(&device, &mut trained)
        });
        let result = catch_unwind(work).ok();
        let script = begin(Script::default());
        let networks = trained.as_ref().map(Trained::networks);
        let all = |nets: &[Network], of: fn(&Network) -> Result<Vec<f32>>| -> Result<Vec<u32>> {
            Ok(nets.iter().map(of).collect::<Result<Vec<_>>>()?.iter().flat_map(|numbers| bits(numbers)).collect())
        };
        let state = networks.map(|nets| all(nets, Network::parameters));
        let memory = networks.and_then(|nets| all(nets, |net| pollster::block_on(net.memory_async())).ok());
        let is_on_cpu = networks.is_some_and(|nets| nets.iter().all(|net| net.device().kind() == "cpu"));
        drop(trained);
        Ran { result, state, memory, is_on_cpu, script }
    }
}

pub(super) fn bits(numbers: &[f32]) -> Vec<u32> {
    numbers.iter().map(|x| x.to_bits()).collect()
}

fn data() -> Dataset {
    let numbers = |seed: usize, count: usize| (0..count).map(move |i| (((i * 37 + seed) % 101) as f32) / 101.0);
    Dataset::new(numbers(1, ROWS * 6).collect(), 6, numbers(7, ROWS * 2).collect(), 2).unwrap()
}

/// What became of a run.
pub(super) struct Ran {
    /// `None` after a panic.
    pub(super) result: Option<Result<Vec<History>>>,
    /// The parameters, one network after the other, where they were built.
    pub(super) state: Option<Result<Vec<u32>>>,
    pub(super) memory: Option<Vec<u32>>,
    pub(super) is_on_cpu: bool,
    pub(super) script: Script,
}

impl Ran {
    /// What wgpu still keeps of all the instances that the run made, once threads that waited for them had time to end.
    pub(super) fn kept(&self) -> usize {
        let mut kept = self.kept_now();
        for _ in 0..400 {
            if kept == 0 {
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
            kept = self.kept_now();
        }
        kept
    }

    fn kept_now(&self) -> usize {
        let reports = self.script.instances.iter().filter_map(wgpu::Instance::generate_report);
        let kept = reports.map(|report| {
            let hub = report.hub;
            let registries = [
                hub.adapters,
                hub.devices,
                hub.queues,
                hub.pipeline_layouts,
                hub.shader_modules,
                hub.bind_group_layouts,
                hub.bind_groups,
                hub.command_encoders,
                hub.command_buffers,
                hub.compute_pipelines,
                hub.buffers,
                hub.compute_passes,
            ];
            registries.iter().map(|registry| registry.num_kept_from_user).sum::<usize>()
        });
        kept.sum()
    }
}
