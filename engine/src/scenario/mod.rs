//! Scenario files: what to run. `docs/SCENARIO.md` is their reference.
//!
//! [`load`] reads one. The text becomes a tree of values that know their place (`node`), references to `[params]` are
//! resolved in it, and readers (`fields`, `resources`, `groups`, `regions`, `expect`) turn it into a checked [`Scenario`].

mod canonical;
mod expect;
mod fields;
mod groups;
mod load;
mod node;
mod params;
mod regions;
mod resources;
mod source;
mod types;

pub use load::{LoadOptions, load, parse};
pub use types::{Expectation, ExpectedValue, GroupEntry, ModelEntry, ModuleEntry, RegionEntry, Scenario, TopicEntry};

pub(crate) use canonical::{key as toml_key, string as toml_string};
