//! What the tests of the kernel share: ports that are tables, runs with a log, and a world in which everything is under way.

pub mod busy;
pub mod logged;
pub mod table;
