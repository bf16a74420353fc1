//! What the native systems of a simulation's author use: messages, commands, agents, and state of their own.

pub mod native;
