//! Errors of agents: [`Failure`], with which an agent ends a call, and the errors of this crate that become one.

use core::num::NonZeroU32;

use crate::ParamError;

/// Why a call failed, as a number: it is the detail of the fault on the record.
///
/// An agent's own codes are 1 to `0x7fff_ffff`; those from `0x8000_0000` on are this crate's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure(NonZeroU32);

impl Failure {
    /// No code was given.
    pub const UNSPECIFIED: Self = Self::sdk(0);
    /// The outbox had no room: see [`OutboxFull`].
    pub const OUTBOX_FULL: Self = Self::sdk(1);
    /// A parameter is missing.
    pub const PARAM_MISSING: Self = Self::sdk(2);
    /// A parameter has another type, or is out of range.
    pub const PARAM_INVALID: Self = Self::sdk(3);
    /// The host called another export before `agent_init`.
    pub const NOT_INITIALISED: Self = Self::sdk(4);

    const fn sdk(code: u32) -> Self {
        match NonZeroU32::new(0x8000_0000 + code) {
            Some(code) => Self(code),
            None => Self(NonZeroU32::MAX),
        }
    }

    /// Returns a failure with an agent's own code. The code 0, which would mean success, becomes [`Failure::UNSPECIFIED`].
    pub const fn new(code: u32) -> Self {
        match NonZeroU32::new(code) {
            Some(code) => Self(code),
            None => Self::UNSPECIFIED,
        }
    }

    /// Returns the code.
    pub const fn code(self) -> u32 {
        self.0.get()
    }
}

/// The outbox area has no room for what was asked for. Its size is the argument `outbox_bytes` of [`crate::agent!`].
/// The outbox stays as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutboxFull;

impl From<OutboxFull> for Failure {
    fn from(_: OutboxFull) -> Self {
        Self::OUTBOX_FULL
    }
}

impl From<ParamError> for Failure {
    fn from(error: ParamError) -> Self {
        match error {
            ParamError::Missing => Self::PARAM_MISSING,
            ParamError::Invalid => Self::PARAM_INVALID,
        }
    }
}

impl core::fmt::Display for Failure {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "failure {:#x}", self.0)
    }
}

impl core::fmt::Display for OutboxFull {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("the outbox area has no room for the record")
    }
}

impl core::error::Error for Failure {}
impl core::error::Error for OutboxFull {}

impl core::fmt::Display for ParamError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Missing => "the scenario doesn't give the parameter",
            Self::Invalid => "the parameter has another type, or is out of range",
        })
    }
}

impl core::error::Error for ParamError {}
