//! Saves, copies and restores the state of a simulation between two frames.

use std::fmt::Display;

use miette::Diagnostic;
use wasm_engine_components::Digest;
use wasm_engine_systems::inspect;
use wasm_engine_systems::state::{StateError, WorldState, load_state, save_state};

use super::{Simulation, guests};
use crate::problem::ErrorKind;
use crate::state::State;
use crate::threads::on_pool;
use wasm_engine_wasm::{CopyPreparation, GuestCapture, GuestCopy, GuestStateError};

/// Why a state can't be restored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RestoreError {
    /// The state of the world doesn't fit.
    #[error(transparent)]
    World(#[from] StateError),
    /// The agents' memories don't fit.
    #[error(transparent)]
    Guests(#[from] GuestStateError),
}

/// A state that can't be restored is bad input: it is one of another simulation, or damaged.
impl Diagnostic for RestoreError {
    fn code<'a>(&'a self) -> Option<Box<dyn Display + 'a>> {
        Some(Box::new(ErrorKind::Input.code()))
    }
}

impl Simulation {
    /// Saves all state between two frames.
    pub fn save(&mut self) -> State<GuestCapture> {
        let world = save_state(&mut self.world);
        let Self { world: here, pool, .. } = self;
        let guests = on_pool(pool, || guests(here).capture());
        State { frame: self.next_frame(), digest: self.digest(), world, guests }
    }

    /// Returns a task that allocates memory for the first copy on another thread. Without it, the first copy takes two to four times as
    /// long as later ones.
    pub fn prepare_copy(&mut self) -> CopyPreparation {
        self.guests().prepare_copy()
    }

    /// Copies all state between two frames. Memories of agents that weren't called since the last copy are left out, except
    /// the first time and if `full` is set.
    pub fn copy(&mut self, full: bool) -> State<GuestCopy> {
        let world = save_state(&mut self.world);
        let Self { world: here, pool, copied, .. } = self;
        let since = copied.filter(|_| !full);
        let guests = on_pool(pool, || guests(here).copy(since));
        *copied = Some(guests.mark());
        State { frame: self.next_frame(), digest: self.digest(), world, guests }
    }

    /// Restores a state, in a simulation that was built from the same scenario, or from one that was changed a little, and that
    /// has run no frame. `guests` begins with a full capture; the others hold what changed after it.
    ///
    /// # Errors
    /// Fails if the state doesn't fit. The simulation can't be used then.
    pub fn restore(&mut self, world: &WorldState, guest_states: &[GuestCapture]) -> Result<(), RestoreError> {
        load_state(&mut self.world, world)?;
        let ids = inspect::slots(&self.world).to_vec();
        let modules = inspect::modules(&self.world).clone();
        let Self { world: here, pool, .. } = self;
        on_pool(pool, || guests(here).restore(&ids, &modules, guest_states))?;
        Ok(())
    }

    /// Returns the digest of all agents' memories.
    pub fn memory_digest(&mut self) -> Digest {
        let Self { world, pool, .. } = self;
        on_pool(pool, || guests(world).memory_digest())
    }
}
