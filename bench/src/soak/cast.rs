//! Who takes part in a scenario: groups of sample agents, in a random order, because a group's number is its position.

use super::random::Random;

/// What the agents of a group are.
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
    /// The name of its group.
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

    /// The name of its module.
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

/// Parts of a cast that come together.
const TROUPES: [&[Role]; 6] = [
    &[Role::Foremen, Role::Workers],
    &[Role::Tickers, Role::Tallies],
    &[Role::Sleepers],
    &[Role::Saboteurs],
    &[Role::Heralds, Role::Watchers],
    &[Role::Ring],
];
/// The one that needs a model.
const POSTROOM: &[Role] = &[Role::Readers, Role::Clerks, Role::Ledger];

/// The groups of a scenario, each a role once at most.
#[derive(Clone, Debug)]
pub(super) struct Cast {
    /// In the order of the scenario.
    pub roles: Vec<Role>,
}

impl Cast {
    /// Three of the troupes at least, and the postroom where there is a model.
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

    /// Whether a role is there.
    pub fn has(&self, role: Role) -> bool {
        self.roles.contains(&role)
    }

    /// The number of a role's group; one that no group has, where it isn't there.
    pub fn number(&self, role: Role) -> usize {
        self.roles.iter().position(|own| *own == role).map_or(999, |at| at + 1)
    }

    /// The modules that the groups begin with, each once, sorted.
    pub fn modules(&self) -> Vec<&'static str> {
        let mut modules: Vec<&str> = self.roles.iter().map(|role| role.module()).collect();
        modules.sort_unstable();
        modules.dedup();
        modules
    }
}
