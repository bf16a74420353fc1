//! What an agent may ask of the engine. A scenario grants capabilities to a group; what isn't granted is refused: an import
//! at load, an outbox record as a fault.

/// One thing that an agent may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u32)]
pub enum Capability {
    /// Send messages to agents.
    Send = 1 << 0,
    /// Publish messages to topics.
    Publish = 1 << 1,
    /// Join and leave topics.
    Join = 1 << 2,
    /// Ask a model for an inference.
    Infer = 1 << 3,
    /// Write log lines: by outbox record, and by the import `log`, whose lines survive a trap.
    Log = 1 << 4,
    /// Record named outputs in the run directory.
    Record = 1 << 5,
    /// Draw counter-based random numbers by the import `random`.
    Random = 1 << 6,
    /// Spawn agents in the groups that its own controls or supervises.
    Spawn = 1 << 7,
    /// Pause, resume, terminate and restart agents of those groups, and itself.
    Control = 1 << 8,
    /// Ask to be woken in a frame.
    Wake = 1 << 9,
    /// Write to the shared regions that its group owns.
    Regions = 1 << 10,
}

impl Capability {
    /// Every capability, in bit order.
    pub const ALL: [Self; 11] = [
        Self::Send,
        Self::Publish,
        Self::Join,
        Self::Infer,
        Self::Log,
        Self::Record,
        Self::Random,
        Self::Spawn,
        Self::Control,
        Self::Wake,
        Self::Regions,
    ];

    /// The name used in scenario files and messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Send => "send",
            Self::Publish => "publish",
            Self::Join => "join",
            Self::Infer => "infer",
            Self::Log => "log",
            Self::Record => "record",
            Self::Random => "random",
            Self::Spawn => "spawn",
            Self::Control => "control",
            Self::Wake => "wake",
            Self::Regions => "regions",
        }
    }

    /// The capability of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|capability| capability.name() == name)
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

    /// Whether the set holds `capability`.
    pub const fn has(self, capability: Capability) -> bool {
        self.0 & capability as u32 != 0
    }

    /// The set with `capability` added.
    #[must_use]
    pub const fn with(self, capability: Capability) -> Self {
        Self(self.0 | capability as u32)
    }
}
