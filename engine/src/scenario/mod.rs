//! Scenario files: what to run.

mod types;

pub use types::{Expectation, ExpectedValue, GroupEntry, ModelEntry, ModuleEntry, Scenario, TopicEntry};
