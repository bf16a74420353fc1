//! What a scenario is made of, before its text is written.

/// What the parts of a scenario have in common.
pub(super) struct Plan {
    /// Frames to run.
    pub frames: u64,
    /// How much work a task is.
    pub rounds: u64,
    /// Desks of the postroom.
    pub desks: u64,
    /// Readers at each.
    pub readers_per_desk: u64,
    /// Whether the saboteurs are a tenant.
    pub tenant: bool,
    /// Whether there is a postroom.
    pub with_models: bool,
}

/// What takes the place of what.
#[derive(Clone, Debug)]
pub(super) struct PlannedSwap {
    /// `None` where it waits for a command.
    pub frame: Option<u64>,
    /// The keys that say what, as TOML and as JSON have them: `group` and `module`, or `model` and `with`.
    pub keys: [(&'static str, String); 2],
}
