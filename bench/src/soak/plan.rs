//! The plan of a scenario, before its text is written.

/// Choices that the parts of a scenario share.
pub(super) struct Plan {
    /// Number of frames to run.
    pub frames: u64,
    /// Amount of work of a task.
    pub rounds: u64,
    /// Number of desks of the postroom.
    pub desks: u64,
    /// Number of readers at each desk.
    pub readers_per_desk: u64,
    /// Whether the saboteurs are a tenant.
    pub tenant: bool,
    /// Whether there is a postroom.
    pub with_models: bool,
}

/// A swap.
#[derive(Clone, Debug)]
pub(super) struct PlannedSwap {
    /// Frame of the swap; `None` if it waits for a command.
    pub frame: Option<u64>,
    /// Keys of the swap as TOML and as JSON: `group` and `module`, or `model` and `with`.
    pub keys: [(&'static str, String); 2],
}
