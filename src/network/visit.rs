//! A look at every row of a data set, in its order.

use super::Network;
use crate::Cost;
use crate::data::Dataset;
use crate::error::Result;
use crate::feed::Feed;
use crate::plan::Goal;
use crate::resident::{Resident, evaluation_rows};
use crate::scores::Scores;

/// A data set on the device for as long as it is looked at, also where the future that does so is dropped on its way.
struct Visit<'n> {
    net: &'n Network,
    resident: Resident,
}

impl Drop for Visit<'_> {
    fn drop(&mut self) {
        self.resident.close(&mut self.net.lock().engine);
    }
}

impl Network {
    /// What this goal measures of the network on the data set.
    pub(super) async fn visit(&self, data: &Dataset, goal: Goal, cost: Cost) -> Result<Scores> {
        let feed = Feed::of(data);
        let mut request = self.request(goal, cost, feed.source, 1);
        let kind = self.kind(&request);
        request.rows = evaluation_rows(kind, &request, &feed);
        let mut visit = {
            let mut state = self.lock();
            let shared = state.shared();
            let resident = Resident::open(&mut state.engine, kind, &request, shared, &feed)?;
            Visit { net: self, resident }
        };
        visit.resident.start_in_order(&mut self.lock().engine)?;
        let steps = visit.resident.steps();
        let mut left = steps;
        let mut earlier = None;
        while left > 0 {
            let done = {
                let engine = &mut self.lock().engine;
                left -= visit.resident.submit(engine, left)?;
                // Rows that are streamed wait in the host's memory until their turn: no more of them than two submissions have.
                visit.resident.is_streamed().then(|| engine.done())
            };
            if let Some(done) = std::mem::replace(&mut earlier, done) {
                done.await?;
            }
        }
        let scores = visit.resident.scores(&mut self.lock().engine, steps);
        drop(visit);
        scores.await
    }
}
