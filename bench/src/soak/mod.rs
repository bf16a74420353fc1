//! The soak: random scenarios. Each is run once undisturbed and once killed again and again, which must give the same result.
//!
//! `bin/soak.rs` is its program. A seed gives a scenario ([`generate`]) with random `plan`, cast (`cast`) and groups (`groups`), and its
//! events (`events`). A [`Trial`] runs it: it starts the engine (`process`), kills it, damages the folder (`damage`), resumes the run, and
//! compares (`compare`). The scenario is a function of the seed; the moments of the kills depend on the machine.

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
