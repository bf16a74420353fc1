//! A node that decides how rows may share runs, as it is reported.

use std::fmt;

use wasm_engine_components::BatchForm;

/// A node that restricts the form of a model's runs, or is padded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decider {
    /// The node's name, or, if it has none, that of its first output.
    pub node: String,
    /// Its operator.
    pub operator: String,
    /// The form that it needs.
    pub form: BatchForm,
    /// Why it needs the form.
    pub reason: String,
    /// Whether its rows are padded inside the graph, so that the form isn't restricted by it.
    pub is_padded: bool,
}

impl fmt::Display for Decider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "of `{}` ({}): {}", self.node, self.operator, self.reason)
    }
}
