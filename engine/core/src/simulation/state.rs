//! The state of a simulation between two frames: saved, copied, taken up again.

use wasm_engine_components::Digest;
use wasm_engine_systems::inspect;
use wasm_engine_systems::state::{StateError, WorldState, load_state, save_state};

use super::{Simulation, guests};
use wasm_engine_wasm::{CopyPreparation, GuestCapture, GuestCopy, GuestStateError, PageTracker};

/// All state of a simulation between two frames.
#[derive(Clone, Debug)]
pub struct SavedState {
    /// The number of the frame that comes next.
    pub frame: u64,
    /// The digest of the frame before.
    pub digest: Digest,
    /// The world.
    pub world: WorldState,
    /// The agents' memories: all of them, or what changed since the copy before.
    pub guests: GuestCapture,
}

/// All state of a simulation between two frames, copied as fast as it can be. What has changed in it is found out later, and
/// elsewhere.
#[derive(Clone, Debug)]
pub struct StateCopy {
    /// As in [`SavedState`].
    pub frame: u64,
    /// As in [`SavedState`].
    pub digest: Digest,
    /// As in [`SavedState`].
    pub world: WorldState,
    /// The agents' memories: of all of them, or of those that were called since the copy before.
    pub guests: GuestCopy,
}

impl StateCopy {
    /// Makes a saved state of it. `tracker` has seen the copy before, if this one goes on from it.
    ///
    /// # Errors
    /// The tracker has seen another copy last.
    pub fn save(self, tracker: &mut PageTracker) -> Result<SavedState, GuestStateError> {
        let Self { frame, digest, world, guests } = self;
        Ok(SavedState { frame, digest, world, guests: guests.capture(tracker)? })
    }
}

/// Why a state can't be taken up.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The world's.
    #[error(transparent)]
    World(#[from] StateError),
    /// The agents' memories.
    #[error(transparent)]
    Guests(#[from] GuestStateError),
}

impl Simulation {
    /// Saves all state between two frames.
    pub fn save(&mut self) -> SavedState {
        let world = save_state(&mut self.world);
        let Self { world: here, pool, .. } = self;
        let guests = pool.install(|| guests(here).capture());
        SavedState { frame: self.next_frame(), digest: self.digest(), world, guests }
    }

    /// What gets memory for the first copy, on another thread. Without it, that one takes two to four times as long as later ones.
    pub fn prepare_copy(&mut self) -> CopyPreparation {
        self.guests().prepare_copy()
    }

    /// Copies all state between two frames. The memories of agents that weren't called since the last copy are left out; there are all of
    /// them the first time, and where `full`.
    pub fn copy(&mut self, full: bool) -> StateCopy {
        let world = save_state(&mut self.world);
        let Self { world: here, pool, copied, .. } = self;
        let since = copied.filter(|_| !full);
        let guests = pool.install(|| guests(here).copy(since));
        *copied = Some(guests.mark());
        StateCopy { frame: self.next_frame(), digest: self.digest(), world, guests }
    }

    /// Takes up a state, in a simulation that was built from the same scenario, or from one that was changed a little, and that
    /// has run no frame. `guests` begins with a whole capture, to which the others add what changed.
    ///
    /// # Errors
    /// The state doesn't fit. The simulation is of no use then.
    pub fn restore(&mut self, world: &WorldState, guest_states: &[GuestCapture]) -> Result<(), RestoreError> {
        load_state(&mut self.world, world)?;
        let ids = inspect::slots(&self.world).to_vec();
        let modules = inspect::modules(&self.world).clone();
        let Self { world: here, pool, .. } = self;
        pool.install(|| guests(here).restore(&ids, &modules, guest_states))?;
        Ok(())
    }

    /// The digest of all agents' memories.
    pub fn memory_digest(&mut self) -> Digest {
        let Self { world, pool, .. } = self;
        pool.install(|| guests(world).memory_digest())
    }
}
