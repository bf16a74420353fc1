//! A frame that came out otherwise than it was recorded, and what can be said of it.
//!
//! The journal says in which frame, in which lanes of the digest and in which components of authors two executions part, but
//! it has no values. They come from a state that is as it was recorded, or that parts from this one:
//!
//! 1. a snapshot that was taken right after the frame has the recorded values;
//! 2. else the frame is run a second time: what isn't deterministic on one machine parts there, too;
//! 3. else the next snapshot has the values of a later frame.

use wasm_engine_components::{Digest, FrameRecord, Lane};
use wasm_engine_systems::FrameStage;
use wasm_engine_systems::state::stage_of;

use super::compare::{Comparison, compare, differing_lanes};
use super::follow::Stop;
use super::traveller::Traveller;
use crate::frame_loop::FrameSink;
use crate::journal::JournalFrame;
use crate::problem::RunError;
use crate::simulation::Simulation;
use crate::tap::{InferenceLog, RowDifference};

/// Where a replay parts from its recording.
#[derive(Clone, Debug)]
pub struct Divergence {
    /// The first frame that came out otherwise.
    pub frame: u64,
    /// Its recorded digest.
    pub recorded: Digest,
    /// The digest that it has now.
    pub found: Digest,
    /// The lanes that differ, in the order in which a frame comes to them.
    pub lanes: Vec<Lane>,
    /// The authors' components that differ.
    pub components: Vec<String>,
    /// The first result of a model that differs.
    pub inference: Option<RowDifference>,
    /// With what the state was compared.
    pub compared: Compared,
    /// What differs in it.
    pub comparison: Comparison,
    /// Why there is less to compare with than there might be.
    pub trouble: Option<String>,
}

/// Whose values a divergence shows beside those of the replay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compared {
    /// Nobody's: there was nothing to compare with.
    #[default]
    Nothing,
    /// The recorded ones, of a snapshot right after the frame.
    Recorded,
    /// Those of a second execution of the frame.
    SecondExecution,
    /// The recorded ones of a later frame: of the snapshot before this one.
    Later(u64),
}

impl Divergence {
    /// What the journal says of it. `memories_only`: the frame's digest is the recorded one, and that of all agents' memories,
    /// which was taken for a snapshot, isn't.
    pub(super) fn new(
        expected: &JournalFrame,
        record: &FrameRecord,
        inference: Option<RowDifference>,
        memories_only: bool,
    ) -> Self {
        // Where all memories were digested, the frame's own digest is the same: no lane differs but for this.
        let lanes = match memories_only {
            true => vec![Lane::Memories],
            false => differing_lanes(&expected.lanes, &record.lanes),
        };
        let recorded = |name: &str| expected.native.iter().find(|(known, _)| known == name).map(|(_, digest)| *digest);
        let found = |name: &str| record.native.iter().find(|(known, _)| *known == name).map(|(_, digest)| *digest);
        let names = expected.native.iter().map(|(name, _)| name.as_str());
        let names = names.chain(record.native.iter().map(|(name, _)| *name));
        let mut components: Vec<String> = names.map(str::to_owned).collect();
        components.sort();
        components.dedup();
        components.retain(|name| recorded(name) != found(name));
        Self {
            frame: record.frame,
            recorded: expected.digest,
            found: record.digest,
            lanes,
            components,
            inference,
            compared: Compared::Nothing,
            comparison: Comparison::default(),
            trouble: None,
        }
    }

    /// The stage of the frame in which the two part, as far as lanes tell.
    pub fn stage(&self) -> Option<FrameStage> {
        self.lanes.first().map(|&lane| stage_of(lane))
    }

    /// Looks for values. `simulation` is the one that diverged, right after that frame. Where no other can be built to compare it
    /// with, `trouble` says why.
    pub fn explain(&mut self, traveller: &Traveller<'_>, simulation: &mut Simulation) {
        self.trouble = self.compare_values(traveller, simulation).err().map(|error| error.to_string());
    }

    fn compare_values(&mut self, traveller: &Traveller<'_>, simulation: &mut Simulation) -> Result<(), RunError> {
        let after = self.frame + 1;
        let snapshots = traveller.run.snapshot_frames();
        if snapshots.contains(&after)
            && let Ok(mut arrival) = traveller.restore(after)?
        {
            self.compared = Compared::Recorded;
            self.comparison = compare(&mut arrival.simulation, simulation);
            return Ok(());
        }
        if let Some(mut second) = self.run_again(traveller)? {
            self.comparison = compare(&mut second, simulation);
            if !self.comparison.is_empty() {
                self.compared = Compared::SecondExecution;
                return Ok(());
            }
        }
        let Some(&later) = snapshots.iter().find(|&&at| at > after) else { return Ok(()) };
        if let Ok(mut arrival) = traveller.restore(later)?
            && run_on(traveller, simulation, later).is_ok()
        {
            self.compared = Compared::Later(later);
            self.comparison = compare(&mut arrival.simulation, simulation);
        }
        Ok(())
    }

    /// A second execution up to the end of the frame; `None` where it doesn't get there.
    fn run_again(&self, traveller: &Traveller<'_>) -> Result<Option<Simulation>, RunError> {
        let mut second = match traveller.at(self.frame) {
            Ok(arrival) => arrival.simulation,
            Err(Stop::Error(error)) => return Err(error),
            // It parts even earlier: then not even the frames before are the same every time.
            Err(Stop::Diverged(_)) => return Ok(None),
        };
        Ok(run_on(traveller, &mut second, self.frame + 1).is_ok().then_some(second))
    }
}

/// Gives a simulation what was recorded up to the frame `to`, whatever comes of it.
fn run_on(traveller: &Traveller<'_>, simulation: &mut Simulation, to: u64) -> Result<(), Stop> {
    let log = simulation.inference().clone();
    traveller.follow_to(simulation, to, |_| Unchecked(log)).0
}

/// Takes records as they come.
struct Unchecked(InferenceLog);

impl FrameSink for Unchecked {
    type Error = Stop;

    fn append(&mut self, _: FrameRecord, _: &mut Simulation) -> Result<(), Stop> {
        self.0.end_frame();
        Ok(())
    }
}
