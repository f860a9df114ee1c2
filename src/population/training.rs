//! How a population is trained: at once, one workgroup a network; on the CPU, one thread a network; or one after another.

use std::ops::{ControlFlow, Range};

use super::recovery::{self, Kept};
use super::{Population, PopulationReport};
use crate::backend::Engine;
use crate::data::{Batches, Dataset};
use crate::error::{Error, Result};
use crate::feed::Feed;
use crate::network::{AtRest, Network};
use crate::plan::{Dropout, Goal, Plan, PlanKind, Request, Role};
use crate::resident::Resident;
use crate::stopwatch::Stopwatch;
use crate::train::{History, StopReason, Trainer, report};

impl Population {
    /// Trains what is not done yet, on the device of now.
    pub(super) async fn attempt(&mut self, data: &Dataset, kept: &mut Kept) -> Result<PopulationReport> {
        if self.device.kind() == "cpu" {
            self.on_threads(data, kept).await
        } else {
            let first = &self.networks[0];
            let feed = Feed::to_train(data, self.cost, self.smoothing);
            let rows = self.batch_size.min(data.len());
            let layers = first.layers().to_vec();
            // One plan trains all of them, so it has to be right for each.
            let update = self.options[0].optimizer.update();
            let alike = self.options.iter().all(|options| options.optimizer.update() == update);
            let drops = self.networks.iter().any(|network| !network.dropout().is_off());
            let may = self.networks.iter().all(Network::may_persist);
            let dropout = Dropout::default();
            let request = first.request(Goal::Train, self.cost, feed.source, rows);
            let request = Request { layers: &layers, update, dropout, emphasis: feed.emphasis, ..request };
            // One order a network: what is streamed is sent to each alone.
            let at_once = if alike && may && !drops && feed.fits(&request.limits) {
                groups(&request, self.networks.len())
            } else {
                None
            };
            match at_once {
                Some(at_once) => self.on_workgroups(&request, &feed, at_once, kept).await,
                None => self.one_by_one(data, kept).await,
            }
        }
    }

    /// As [`trainer`](Self::trainer), to go on after the epochs that were kept; what became of the network where it is to train no more.
    fn trainer_on(&self, member: usize, data: &Dataset, kept: &Kept) -> Result<Trainer<'static>, Error> {
        let trainer = self.trainer(member);
        match kept.under_way.get(member - kept.done.len()) {
            Some(so_far) => {
                let history = recovery::copy(so_far)?;
                Ok(trainer.going_on(&self.networks[member], data, history, kept.epochs))
            }
            None => Ok(trainer),
        }
    }

    /// On a GPU, so many at once, or where there is no memory for them, fewer.
    async fn on_workgroups(
        &mut self,
        request: &Request<'_>,
        feed: &Feed,
        mut at_once: usize,
        kept: &mut Kept,
    ) -> Result<PopulationReport> {
        while kept.done.len() < self.networks.len() {
            let first = kept.done.len();
            let group = first..self.networks.len().min(first + at_once.min(kept.together()));
            let plan = Plan::population(request, group.len())?;
            let mut engine = self.device.engine();
            let mut resident = match Resident::open_population(&mut engine, plan, feed) {
                Err(Error::OutOfMemory { .. }) if group.len() > 1 => {
                    at_once = group.len() / 2;
                    continue;
                }
                opened => opened?,
            };
            let trained = self.train_group(&mut engine, &mut resident, group, kept).await;
            resident.close(&mut engine);
            kept.finish(trained?);
        }
        let members = std::mem::take(&mut kept.done);
        Ok(PopulationReport { members, at_once, plan: PlanKind::Persistent, seconds: 0.0, recovered: 0 })
    }

    /// The members of one dispatch: their parameters to the device, epoch after epoch, and back. It begins after the epochs that were
    /// kept.
    async fn train_group(
        &mut self,
        engine: &mut Engine,
        resident: &mut Resident,
        group: Range<usize>,
        kept: &mut Kept,
    ) -> Result<Vec<Result<History>>> {
        let steps = resident.steps();
        let mut batches = Vec::with_capacity(group.len());
        for (place, member) in group.clone().enumerate() {
            // An optimiser of another kind than the last begins with nothing, in the network as in the plan's buffers.
            self.networks[member].prepare(self.options[member].optimizer)?;
            let AtRest { parameters, .. } = &kept.networks[member];
            resident.session().write_of(engine, Role::Parameters, place, bytemuck::cast_slice(parameters))?;
            let remembered = self.networks[member].remembers(&kept.networks[member]);
            resident.session().write_of(engine, Role::State, place, bytemuck::cast_slice(&remembered))?;
            batches.push(Batches::new(resident.len(), self.batch_size, self.options[member].seed)?);
        }
        let mut members: Vec<Result<History>> = group.clone().map(|_| Ok(History::default())).collect();
        for (member, so_far) in members.iter_mut().zip(&kept.under_way) {
            *member = recovery::copy(so_far);
        }
        let before = kept.epochs;
        for epoch in before + 1..=self.epochs {
            let watch = Stopwatch::start();
            for (place, member) in group.clone().enumerate() {
                let taken = self.networks[member].optimizer_steps() + ((epoch - 1 - before) * steps) as u64;
                let optimizer = self.options[member].optimizer;
                let hyper: Vec<f32> = (taken + 1..).take(steps).flat_map(|step| optimizer.hyper(step, 1.0)).collect();
                resident.start_of(engine, place, &batches[place].order(epoch as u64 - 1), &hyper, taken)?;
            }
            let _ = resident.walk(engine, |_| {}, steps, || false, |_| ControlFlow::Continue(())).await?;
            let scores = resident.scores_of_all(engine).await?;
            let seconds = watch.elapsed().as_secs_f64();
            for ((member, scores), options) in members.iter_mut().zip(&scores).zip(&self.options[group.clone()]) {
                // A network that has diverged goes on computing, for nothing, until the others are done.
                let Ok(history) = member else { continue };
                match report(epoch, steps, seconds, scores, options.optimizer.eta().into()) {
                    Ok(report) => history.epochs.push(report),
                    Err(diverged) => *member = Err(diverged),
                }
            }
            if epoch < self.epochs && kept.is_due(&self.recovery, group.len()) {
                let rests = self.group_at_rest(engine, resident, group.clone(), (epoch - before) * steps).await?;
                kept.keep(group.start, rests, epoch, &members);
            }
        }
        let rests = self.group_at_rest(engine, resident, group.clone(), (self.epochs - before) * steps).await?;
        for ((member, rest), result) in group.clone().zip(&rests).zip(&mut members) {
            let AtRest { parameters, memory, taken, .. } = rest;
            // Costs are taken before each step, so only the parameters can tell that the last one was too large.
            if result.is_ok() && !parameters.iter().all(|w| w.is_finite()) {
                *result = Err(Error::Diverged { epoch: self.epochs, step: steps, cost: f32::NAN });
            }
            if let Ok(history) = result {
                history.stop = Some(StopReason::Epochs);
            }
            self.networks[member].put(parameters, memory, *taken)?;
        }
        kept.networks.splice(group, rests);
        Ok(members)
    }

    /// The members of one dispatch, so many steps after their networks were read.
    async fn group_at_rest(
        &self,
        engine: &mut Engine,
        resident: &Resident,
        group: Range<usize>,
        steps: usize,
    ) -> Result<Vec<AtRest>> {
        let first = &self.networks[group.start];
        let (len, remembered) = (first.parameter_count(), first.memory_len());
        let all = resident.session().read(engine, Role::Parameters, len * group.len()).await?;
        let memory = resident.session().read(engine, Role::State, remembered * group.len()).await?;
        let numbers = |words: &[u32]| words.iter().copied().map(f32::from_bits).collect();
        let rest = |(place, member): (usize, usize)| {
            let (parameters, memory) = (&all[place * len..][..len], &memory[place * remembered..][..remembered]);
            let network = &self.networks[member];
            network.at_rest_with(numbers(parameters), numbers(memory), network.optimizer_steps() + steps as u64)
        };
        Ok(group.enumerate().map(rest).collect())
    }

    /// Where the persistent plan does not fit.
    async fn one_by_one(&mut self, data: &Dataset, kept: &mut Kept) -> Result<PopulationReport> {
        while kept.done.len() < self.networks.len() {
            let member = kept.done.len();
            let result = match self.trainer_on(member, data, kept) {
                Ok(mut trainer) => {
                    let fitted = own(trainer.fit_async(&mut self.networks[member], data, None).await);
                    if !kept.networks.is_empty() {
                        self.follow(member, kept)?;
                    }
                    fitted?
                }
                Err(diverged) => Err(diverged),
            };
            if let Some(rest) = kept.networks.get_mut(member) {
                *rest = self.networks[member].at_rest_async().await?;
                self.networks[member].note(rest);
            }
            kept.finish([result]);
        }
        let (plan, members) = (self.networks[0].plan(self.batch_size).0, std::mem::take(&mut kept.done));
        Ok(PopulationReport { members, at_once: 1, plan, seconds: 0.0, recovered: 0 })
    }

    /// On the CPU: each core takes the next network that nobody has.
    #[cfg(all(feature = "blocking", not(target_arch = "wasm32")))]
    #[allow(clippy::unused_async, reason = "the other form waits")]
    async fn on_threads(&mut self, data: &Dataset, kept: &mut Kept) -> Result<PopulationReport> {
        use std::sync::Mutex;
        let left = kept.done.len()..self.networks.len();
        let most = self.device.cpu_threads();
        let threads = most.min(left.len()).max(1);
        // What is left of the cores helps each with large products.
        let each = if threads > 1 { most / threads } else { 0 };
        let trainers: Vec<_> = left.clone().map(|member| self.trainer_on(member, data, kept)).collect();
        let waiting = Mutex::new(self.networks[left].iter_mut().zip(trainers).enumerate());
        let work = || {
            let mut done = Vec::new();
            loop {
                let next = waiting.lock().unwrap_or_else(std::sync::PoisonError::into_inner).next();
                let Some((member, (network, trainer))) = next else { return done };
                let fit = |mut trainer: Trainer<'_>| crate::cpu::at_most(each, || trainer.fit(network, data, None));
                done.push((member, trainer.and_then(fit)));
            }
        };
        let mut done: Vec<_> = std::thread::scope(|scope| {
            // Where the machine has no more threads to give, those there are do it all.
            let thread = || std::thread::Builder::new().spawn_scoped(scope, work).ok();
            let others: Vec<_> = (1..threads).map_while(|_| thread()).collect();
            let mut done = work();
            for other in others {
                match other.join() {
                    Ok(more) => done.extend(more),
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
            done
        });
        done.sort_by_key(|(member, _)| *member);
        kept.finish(done.into_iter().map(|(_, result)| own(result)).collect::<Result<Vec<_>>>()?);
        let (plan, members) = (self.networks[0].plan(self.batch_size).0, std::mem::take(&mut kept.done));
        Ok(PopulationReport { members, at_once: threads, plan, seconds: 0.0, recovered: 0 })
    }

    #[cfg(not(all(feature = "blocking", not(target_arch = "wasm32"))))]
    async fn on_threads(&mut self, data: &Dataset, kept: &mut Kept) -> Result<PopulationReport> {
        self.one_by_one(data, kept).await
    }
}

/// A member's own failure, apart from what ends the whole run.
fn own(result: Result<History>) -> Result<Result<History>> {
    match result {
        Err(error @ Error::Diverged { .. }) => Ok(Err(error)),
        Err(error) => Err(error),
        Ok(history) => Ok(Ok(history)),
    }
}

/// How many networks one dispatch can train: all, or as large a part as the limits of buffers allow; `None` if not even one.
fn groups(request: &Request<'_>, networks: usize) -> Option<usize> {
    let mut at_once = networks;
    while at_once > 0 {
        if Plan::population(request, at_once).is_ok() {
            return Some(at_once);
        }
        at_once /= 2;
    }
    None
}
