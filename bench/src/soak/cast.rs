//! The cast of a scenario: groups of sample agents, in a random order, because a group's number is its place.

use super::random::Random;

/// Role of a group's agents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Spawn workers, give them tasks, restart and end them.
    Foremen,
    /// Answer, ignore, or die of it.
    Workers,
    /// Publish ticks.
    Tickers,
    /// Count them in the frame in which they were published.
    Tallies,
    /// Wait for their timers.
    Sleepers,
    /// Fault and flood.
    Saboteurs,
    /// Write to a shared region.
    Heralds,
    /// Read it.
    Watchers,
    /// Pass on tokens.
    Ring,
    /// Ask a model.
    Readers,
    /// Decide what it was.
    Clerks,
    /// Counts how often that was right.
    Ledger,
}

impl Role {
    /// Returns the name of its group.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Foremen => "foremen",
            Self::Workers => "workers",
            Self::Tickers => "tickers",
            Self::Tallies => "tallies",
            Self::Sleepers => "sleepers",
            Self::Saboteurs => "saboteurs",
            Self::Heralds => "heralds",
            Self::Watchers => "watchers",
            Self::Ring => "ring",
            Self::Readers => "readers",
            Self::Clerks => "clerks",
            Self::Ledger => "ledger",
        }
    }

    /// Returns the name of its module.
    pub const fn module(self) -> &'static str {
        match self {
            Self::Foremen => "foreman",
            Self::Workers => "worker",
            Self::Tickers | Self::Tallies => "counter",
            Self::Sleepers => "sleeper",
            Self::Saboteurs => "saboteur",
            Self::Heralds => "herald",
            Self::Watchers => "watcher",
            Self::Ring => "ring",
            Self::Readers => "reader",
            Self::Clerks => "clerk",
            Self::Ledger => "ledger",
        }
    }
}

/// Roles that only occur together.
const TROUPES: [&[Role]; 6] = [
    &[Role::Foremen, Role::Workers],
    &[Role::Tickers, Role::Tallies],
    &[Role::Sleepers],
    &[Role::Saboteurs],
    &[Role::Heralds, Role::Watchers],
    &[Role::Ring],
];
/// The troupe that needs a model.
const POSTROOM: &[Role] = &[Role::Readers, Role::Clerks, Role::Ledger];

/// The roles of a scenario, each at most once.
#[derive(Clone, Debug)]
pub(super) struct Cast {
    /// Roles in the order of the scenario.
    pub roles: Vec<Role>,
}

impl Cast {
    /// Returns a random cast: at least three of the troupes, and the postroom if there is a model.
    pub fn new(random: &mut Random, with_models: bool) -> Self {
        let mut troupes = TROUPES;
        random.shuffle(&mut troupes);
        let count = 3 + random.index(TROUPES.len() - 2);
        let mut roles: Vec<Role> = troupes[..count].concat();
        if with_models {
            roles.extend(POSTROOM);
        }
        random.shuffle(&mut roles);
        Self { roles }
    }

    /// Returns whether the cast has a role.
    pub fn has(&self, role: Role) -> bool {
        self.roles.contains(&role)
    }

    /// Returns the number of a role's group; if the cast doesn't have it, a number that no group has.
    pub fn number(&self, role: Role) -> usize {
        self.roles.iter().position(|own| *own == role).map_or(999, |at| at + 1)
    }

    /// Returns the modules with which the groups begin, each once, sorted.
    pub fn modules(&self) -> Vec<&'static str> {
        let mut modules: Vec<&str> = self.roles.iter().map(|role| role.module()).collect();
        modules.sort_unstable();
        modules.dedup();
        modules
    }
}
