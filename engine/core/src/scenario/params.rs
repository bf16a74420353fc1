//! The parameters of a scenario: what references in it mean.

use super::canonical;
use super::node::Kind;

/// The parameters by name, sorted.
#[derive(Clone, Debug, Default)]
pub(super) struct Params(pub Vec<(String, Kind)>);

impl Params {
    /// Returns the value of a parameter.
    pub fn get(&self, name: &str) -> Option<&Kind> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, kind)| kind)
    }

    /// Returns the names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }

    /// Names and values as TOML text.
    pub fn texts(&self) -> Vec<(String, String)> {
        self.0.iter().map(|(name, kind)| (name.clone(), canonical::value(kind))).collect()
    }
}
