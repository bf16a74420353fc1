//! The soak: random scenarios, each run once as it is and once killed again and again, which must come to the same.
//!
//! `bin/soak.rs` is its program. A seed makes a scenario ([`generate`]) whose `plan`, cast (`cast`) and groups (`groups`) are random, and its
//! events (`events`). A [`Trial`] runs it: it starts the engine (`process`), kills it, harms what was left (`damage`), has it go on, and
//! compares (`compare`). The scenario is a function of the seed; when the kills fall is up to the machine.

mod cast;
mod compare;
mod damage;
mod events;
mod generate;
mod groups;
mod plan;
mod process;
mod random;
mod trial;

pub use generate::{Generated, generate};
pub use random::Random;
pub use trial::{Settings, Tally, Trial};
