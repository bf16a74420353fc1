//! Interface for the native systems of a simulation's author: messages, commands, agents, shared regions, and state of their own.

pub(crate) mod agents;
pub(crate) mod commands;
pub(crate) mod mail;
pub(crate) mod regions;
pub(crate) mod register;
