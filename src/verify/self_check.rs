//! Whether a device computes right, in so short a time that a program can ask at its start.

use std::collections::BTreeSet;

use rand::RngExt;
use rand_pcg::Pcg64Mcg;
use serde::Serialize;

use super::case::Case;
use super::kernels::KernelCheck;
use super::lockstep::{DeviceRunner, lockstep_async};
use super::selection::{Chosen, cases};
use super::{KernelChecks, Worst};
use crate::error::{Error, Result};
use crate::kernel::Kernel;
use crate::plan::{Format, Goal, Limits, Plan, PlanKind, Request, Source, Step};
use crate::stopwatch::Stopwatch;
use crate::{Activation, Cost, Dataset, Device, Network, NetworkBuilder, Sgd, Trainer};

/// What its random numbers follow from: the same numbers every time.
const SEED: u64 = 7;

/// Two short trainings by one plan: one step of the plan after another beside the CPU backend and the `f64` reference, and then as
/// programs train, with some of the steps verified ([`Trainer::verify_every`]).
#[derive(Debug, Clone, Serialize)]
pub struct PlanCheck {
    /// The plan.
    pub plan: PlanKind,
    /// Steps of the plan compared in the first.
    pub steps: usize,
    /// Whole training steps in the second, which go to the device many at a time.
    pub trained: usize,
    /// The worst element of all of them.
    pub worst: Worst,
    /// What disagreed: the step, the element, and who is off.
    pub problem: Option<String>,
}

impl PlanCheck {
    /// Whether every step agreed.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.problem.is_none() && self.trained > 0 && self.worst.passed()
    }
}

/// What [`Device::self_check_async`] found. Shown, it is Markdown that can be read as it stands.
#[derive(Debug, Clone, Serialize)]
pub struct SelfCheck {
    /// The device, in words.
    pub adapter: String,
    /// Its driver with the version, as it calls itself; empty for the CPU backend.
    pub driver: String,
    /// The interface that it is reached by, such as `vulkan`; empty for the CPU backend.
    pub backend: String,
    /// Whether its shaders keep wgpu's run-time checks.
    pub checked: bool,
    /// Every kernel.
    pub kernels: Vec<KernelCheck>,
    /// Every plan.
    pub plans: Vec<PlanCheck>,
    /// Pipelines compiled for it, those of an earlier use of the device included.
    pub pipelines: usize,
    /// What it took, in seconds.
    pub seconds: f64,
    /// What of that was compiling.
    pub compiling: f64,
}

impl SelfCheck {
    /// Cases run, of all kernels.
    #[must_use]
    pub fn cases(&self) -> usize {
        self.kernels.iter().map(|k| k.cases).sum()
    }

    /// Whether every kernel and every plan was checked, and nothing was past its bound.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.result().is_ok()
    }

    /// What failed first, as an error.
    ///
    /// # Errors
    /// [`Error::Disagreement`] names the device, the kernel with the case, or the plan with the step, the element, what was computed
    /// there, and what it should have been.
    pub fn result(&self) -> Result<()> {
        let fail = |what: String| Err(Error::Disagreement(format!("{}: {what}", self.adapter)));
        if let Some(check) = self.kernels.iter().find(|check| !check.passed()) {
            let problem = check.problem.clone().unwrap_or_else(|| format!("{}: {}", check.place, check.worst));
            return fail(format!("kernel {}: {problem}", check.kernel.name()));
        }
        if let Some(check) = self.plans.iter().find(|check| !check.passed()) {
            let problem = check.problem.clone().unwrap_or_else(|| check.worst.to_string());
            return fail(format!("{} plan: {problem}", check.plan));
        }
        if self.kernels.len() < Kernel::ALL.len() || self.plans.len() < PlanKind::ALL.len() {
            return fail("not every kernel and plan was checked".to_owned());
        }
        Ok(())
    }
}

impl std::fmt::Display for SelfCheck {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let verdict = |passed| if passed { "" } else { "FAILED" };
        let Self { adapter, driver, checked, pipelines, seconds, compiling, .. } = self;
        let shaders = match (driver.is_empty(), checked) {
            (true, _) => "",
            (_, true) => ", shaders with run-time checks",
            (_, false) => ", shaders without run-time checks",
        };
        let driver = if driver.is_empty() { String::new() } else { format!(", driver {driver}") };
        writeln!(f, "{adapter}{driver}{shaders}\n")?;
        writeln!(f, "| {:<17} | cases | elements | worst error, 1 = its bound |        |", "kernel")?;
        writeln!(f, "|{:-<19}|------:|---------:|---------------------------:|--------|", "")?;
        for check in &self.kernels {
            let Worst { elements, ratio, .. } = check.worst;
            let (name, cases, verdict) = (check.kernel.name(), check.cases, verdict(check.passed()));
            let verdict = if check.left_out.is_some() { "left out" } else { verdict };
            writeln!(f, "| {name:<17} | {cases:>5} | {elements:>8} | {ratio:>26.4} | {verdict:<6} |")?;
        }
        writeln!(f, "\n| {:<17} | steps | elements | worst error, 1 = its bound |        |", "plan")?;
        writeln!(f, "|{:-<19}|------:|---------:|---------------------------:|--------|", "")?;
        for check in &self.plans {
            let (Worst { elements, ratio, .. }, steps) = (check.worst, check.steps);
            let (name, verdict) = (check.plan.name(), verdict(check.passed()));
            writeln!(f, "| {name:<17} | {steps:>5} | {elements:>8} | {ratio:>26.4} | {verdict:<6} |")?;
        }
        let left_out = self.kernels.iter().filter_map(|check| Some((check.kernel.name(), check.left_out.as_ref()?)));
        for (n, (name, why)) in left_out.enumerate() {
            let first = if n == 0 { "\n" } else { "" };
            writeln!(f, "{first}- {name} was left out, and no plan uses it here: {why}")?;
        }
        let cases = self.cases();
        writeln!(
            f,
            "\n{cases} cases with {pipelines} pipelines in {seconds:.2} s, of which compiling was {compiling:.2} s"
        )?;
        match self.result() {
            Ok(()) => writeln!(f, "passed"),
            Err(error) => writeln!(f, "FAILED: {error}"),
        }
    }
}

impl Device {
    /// Checks this device: runs every kernel of the crate on it, and a short training by each plan, and holds every number to an
    /// `f64` reference. For a program that is to train on machines that nobody has seen:
    ///
    /// ```
    /// use wgrad::Device;
    /// # #[cfg(feature = "blocking")] {
    /// let mut device = Device::auto()?;
    /// if let Err(error) = device.self_check()?.result() {
    ///     eprintln!("{error}; training on the CPU");
    ///     device = Device::cpu();
    /// }
    /// # }
    /// # Ok::<(), wgrad::Error>(())
    /// ```
    ///
    /// The kernels run with the shaders and tiles that training takes on this device, on small shapes with ordinary and with
    /// extreme numbers: each variant (activation, cost, rule, format, part of a sum) in at least one case. Outputs start as garbage,
    /// guard words stand after each buffer. Most of the time it takes is the driver's, for compiling about 100 pipelines, which later
    /// training shares as far as it needs them. A kernel that the device's limits do not allow is left out, and the report says why: no
    /// plan uses it there.
    ///
    /// # Errors
    /// What the device reports. That a number is past its bound is no error here: it is in the report, whose
    /// [`result`](SelfCheck::result) says so.
    pub async fn self_check_async(&self) -> Result<SelfCheck> {
        check(self, None).await
    }

    /// Blocking form of [`self_check_async`](Self::self_check_async).
    ///
    /// # Errors
    /// As there.
    #[cfg(all(feature = "blocking", not(target_arch = "wasm32")))]
    pub fn self_check(&self) -> Result<SelfCheck> {
        crate::blocking::block_on(self.self_check_async())
    }
}

/// Whether a device with this text in place of a file of `shaders/` passes its self-check; that ends where something fails. Shaders
/// have wgpu's run-time checks here, so that whatever the text says, it reaches no other memory.
///
/// # Errors
/// [`Error::UnknownName`] for a file that there is not; [`Error::InvalidOption`] for the CPU backend; what the device reports, which
/// for a text that is no valid shader is [`Error::Gpu`].
#[cfg(feature = "gpu")]
pub async fn check_with_shader_async(device: &Device, file: &str, text: &str) -> Result<SelfCheck> {
    check(&with_shader(device, file, text)?, Some(file)).await
}

/// This device with another text in place of a file of `shaders/`, such as one with a fault put in by hand, to see what is
/// caught by what. Shaders have wgpu's run-time checks then.
///
/// # Errors
/// [`Error::UnknownName`] for a file that there is not; [`Error::InvalidOption`] for the CPU backend. Whether the text is a valid
/// shader is found where it is first used.
#[cfg(feature = "gpu")]
pub fn with_shader(device: &Device, file: &str, text: &str) -> Result<Device> {
    let shaders = crate::kernel::SHADERS;
    let Some((file, _)) = shaders.iter().find(|(name, _)| *name == file) else {
        let known = shaders.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
        return Err(Error::UnknownName { what: "shader file", word: file.to_owned(), known });
    };
    device.with_shader(file, text)
}

/// With a file whose kernels come first, it ends where something fails.
async fn check(device: &Device, first: Option<&str>) -> Result<SelfCheck> {
    let watch = Stopwatch::start();
    let Limits { tiling, lanes, .. } = device.limits();
    let mut order = Kernel::ALL.to_vec();
    order.sort_by_key(|kernel| Some(kernel.entry(tiling).file) != first);
    let mut all: Vec<(Kernel, Vec<Chosen>)> = Vec::with_capacity(order.len());
    let plans = PlanKind::ALL.iter().map(|&kind| training(device, kind)).collect::<Result<Vec<_>>>()?;

    let [driver, backend] = device.driver();
    let mut report = SelfCheck {
        adapter: device.adapter(),
        driver,
        backend,
        checked: device.is_checked(),
        kernels: Vec::with_capacity(order.len()),
        plans: Vec::with_capacity(plans.len()),
        pipelines: 0,
        seconds: 0.0,
        compiling: 0.0,
    };
    if first.is_none() {
        all = order.iter().map(|&kernel| (kernel, cases(kernel, tiling, lanes, SEED))).collect();
        let allowed = all.iter().filter(|(kernel, _)| device.limits().allow(*kernel).is_ok());
        let of_cases = allowed.flat_map(|(_, cases)| cases).map(|one| (&one.case.step, one.limits(device.limits())));
        let of_plans = plans.iter().flat_map(|plan| &plan.steps).map(|step| (step, device.limits()));
        let steps: Vec<_> = of_cases.chain(of_plans).collect();
        let compiling = Stopwatch::start();
        device.engine().warm(&steps)?;
        report.compiling = compiling.elapsed().as_secs_f64();
        report.pipelines = if device.kind() == "cpu" { 0 } else { pipelines(&steps) };
    }
    for (place, &kernel) in order.iter().enumerate() {
        let check = match all.get(place) {
            Some((_, cases)) => one_kernel(device, kernel, cases, false).await?,
            None => one_kernel(device, kernel, &cases(kernel, tiling, lanes, SEED), true).await?,
        };
        let failed = !check.passed();
        report.kernels.push(check);
        if failed && first.is_some() {
            return Ok(report);
        }
    }
    for plan in &plans {
        report.plans.push(one_plan(device, plan).await?);
    }
    report.seconds = watch.elapsed().as_secs_f64();
    Ok(report)
}

/// How many pipelines these steps need.
fn pipelines(steps: &[(&Step, Limits)]) -> usize {
    let key = |(step, limits): &(&Step, Limits)| {
        let constants = step.kernel.constants(&step.params, limits.tiling, limits.lanes);
        (step.kernel.entry(limits.tiling).name, constants)
    };
    steps.iter().map(key).collect::<BTreeSet<_>>().len()
}

/// All cases of a kernel: first all of them are run, then they are waited for; or one after another, to the first that fails.
async fn one_kernel(device: &Device, kernel: Kernel, cases: &[Chosen], to_the_first: bool) -> Result<KernelCheck> {
    let mut check = KernelCheck::new(kernel, &device.limits());
    if check.left_out.is_some() {
        return Ok(check);
    }
    let mut started = Vec::with_capacity(cases.len());
    for chosen in cases {
        let (case, limits) = (&chosen.case, chosen.limits(device.limits()));
        let mut engine = device.clone().with_tiling(limits.tiling).with_limits(limits).engine();
        let one = case.start(&mut engine)?;
        if to_the_first {
            take(&mut check, case, one.finish().await)?;
            if !check.passed() {
                return Ok(check);
            }
        } else {
            started.push((case, one));
        }
    }
    for (case, one) in started {
        take(&mut check, case, one.finish().await)?;
    }
    Ok(check)
}

fn take(check: &mut KernelCheck, case: &Case, found: Result<Vec<(&'static str, Worst)>>) -> Result<()> {
    match found {
        Ok(found) => check.take(case, found),
        Err(Error::Disagreement(problem)) => {
            check.cases += 1;
            check.problem.get_or_insert(format!("{}: {problem}", case.step.label));
        }
        Err(other) => return Err(other),
    }
    Ok(())
}

/// Rows of a mini-batch, and of the data: the third and last mini-batch is cut short.
const ROWS: usize = 10;
const EXAMPLES: usize = 27;

fn builder(kind: PlanKind) -> NetworkBuilder {
    Network::new(19)
        .plan(kind)
        .seed(SEED)
        .dense(33, Activation::Tanh)
        .dense(9, Activation::Relu)
        .dense(5, Activation::Sigmoid)
}

/// The plan of three mini-batches.
fn training(device: &Device, kind: PlanKind) -> Result<Plan> {
    let net = builder(kind).build(&Device::cpu())?;
    let source = Source::Dataset { len: EXAMPLES, inputs: Format::U8, targets: Format::Label };
    let request = net.request(Goal::Train, Cost::Quadratic, source, ROWS);
    Plan::new(kind, &Request { limits: device.limits(), ..request })
}

async fn one_plan(device: &Device, plan: &Plan) -> Result<PlanCheck> {
    let mut here = DeviceRunner::of_own_plan(device, plan)?;
    let mut there = DeviceRunner::new(&Device::cpu(), plan)?;
    let mut check = PlanCheck { plan: plan.kind, steps: 0, trained: 0, worst: Worst::default(), problem: None };
    match lockstep_async(plan, &mut here, &mut there, SEED, 3).await {
        Ok(report) => (check.steps, check.worst) = (report.steps, report.worst),
        Err(Error::Disagreement(problem)) => check.problem = Some(problem),
        Err(other) => return Err(other),
    }
    match train(device, plan.kind).await {
        Ok(trained) => check.trained = trained,
        Err(error @ (Error::WrongStep { .. } | Error::Diverged { .. })) => {
            check.problem.get_or_insert(error.to_string());
        }
        Err(other) => return Err(other),
    }
    Ok(check)
}

/// Four epochs, of whose steps every fifth is verified: in the walk between two of these the device goes on by itself.
async fn train(device: &Device, kind: PlanKind) -> Result<usize> {
    let mut net = builder(kind).build(device)?;
    let mut random = Pcg64Mcg::new(u128::from(SEED) << 1 | 1);
    let bytes = (0..EXAMPLES * 19).map(|_| random.random()).collect();
    let labels = (0..EXAMPLES).map(|_| random.random_range(0..5)).collect();
    let data = Dataset::from_bytes(bytes, 19, labels, 5)?;
    let mut trainer = Trainer::new(Cost::Quadratic, Sgd::new(0.5)).batch_size(ROWS).epochs(4).verify_every(5);
    let history = trainer.fit_async(&mut net, &data, None).await?;
    Ok(history.epochs.iter().map(|epoch| epoch.steps).sum())
}

impl From<SelfCheck> for KernelChecks {
    fn from(check: SelfCheck) -> Self {
        Self { adapter: check.adapter, kernels: check.kernels }
    }
}
