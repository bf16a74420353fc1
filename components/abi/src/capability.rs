//! Capabilities: what an agent may ask of the engine. A scenario grants them to a group. A module that imports what isn't granted is refused
//! at load; an outbox record that asks for it is a fault.

crate::numbered_enum! {
    /// One thing that an agent may do. Its number is its bit in [`Capabilities`].
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
    pub enum Capability: u32 {
        /// Send messages to agents.
        Send = 0x001, "send";
        /// Publish messages to topics.
        Publish = 0x002, "publish";
        /// Join and leave topics.
        Join = 0x004, "join";
        /// Ask a model for an inference.
        Infer = 0x008, "infer";
        /// Write log lines, by outbox record or by the import `log`, whose lines survive a trap.
        Log = 0x010, "log";
        /// Record named outputs in the run directory.
        Record = 0x020, "record";
        /// Draw counter-based random numbers by the import `random`.
        Random = 0x040, "random";
        /// Spawn agents in the groups that the agent's own group controls or supervises.
        Spawn = 0x080, "spawn";
        /// Pause, resume, terminate and restart agents of those groups, and the agent itself.
        Control = 0x100, "control";
        /// Ask to be stepped in a frame.
        Wake = 0x200, "wake";
        /// Write to the shared regions whose writer is the agent's group.
        Regions = 0x400, "regions";
    }
}

/// A set of capabilities.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Capabilities(pub u32);

impl Capabilities {
    /// The empty set.
    pub const NONE: Self = Self(0);
    /// Every capability of this ABI version.
    pub const ALL: Self = Self((1 << Capability::ALL.len()) - 1);

    /// Returns whether the set holds `capability`.
    pub const fn has(self, capability: Capability) -> bool {
        self.0 & capability as u32 != 0
    }

    /// Returns the set with `capability` added.
    #[must_use]
    pub const fn with(self, capability: Capability) -> Self {
        Self(self.0 | capability as u32)
    }
}
