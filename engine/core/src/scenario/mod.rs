//! Scenario files: what to run. `docs/SCENARIO.md` is their reference.
//!
//! [`load()`] reads one. The text becomes a tree of values that know their place (`node`), references to `[params]` are
//! resolved in it, and readers (`fields`, `resources`, `tenants`, `schedule`, `groups`, `order`, `regions`, `swaps`, `expect`) turn it
//! into a checked [`Scenario`].

mod canonical;
mod convert;
mod expect;
mod fields;
mod form;
mod groups;
mod load;
mod node;
mod order;
mod params;
mod place;
mod regions;
mod resources;
mod schedule;
mod source;
mod swaps;
mod tenants;
mod types;

pub use load::{LoadOptions, load, parse};
pub use types::{Counted, Expectation, ExpectedValue, ModuleEntry, Scenario, SwapEntry};
pub use wasm_engine_components::{GroupSpec, ModelSpec, RegionSpec, TopicSpec};

pub(crate) use canonical::{key as toml_key, string as toml_string};
pub(crate) use groups::is_plain_name;
pub(crate) use place::Step;
pub(crate) use types::agent_in_group;
