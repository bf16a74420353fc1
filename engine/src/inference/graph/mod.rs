//! What a model's graph says about how its rows may share runs. Called by [`super::registry`] when a model is loaded.
//!
//! ```text
//! wire ──> read ──> random      the file's nodes and constants; operators that draw are refused by name
//!               └─> shapes      operators because of which an output's shape depends on what the inputs hold
//! ```

mod random;
#[allow(dead_code, reason = "the table of classes will use all of it")]
mod read;
mod shapes;
#[allow(dead_code, reason = "models are rewritten soon")]
mod wire;

pub(crate) use random::RandomNode;

/// What is known of a model's graph.
pub(crate) struct ModelGraph<'a> {
    model: read::Model<'a>,
}

/// Reads a model's graph. `None` where it can't be read, so that nothing is known about it.
pub(crate) fn read_graph(content: &[u8]) -> Option<ModelGraph<'_>> {
    Some(ModelGraph { model: read::read(content).ok()? })
}

impl ModelGraph<'_> {
    /// The first node that draws random numbers.
    pub(crate) fn random_node(&self) -> Option<RandomNode> {
        random::find(&self.model)
    }

    /// The node that gives an output a shape of data: its name and operator.
    pub(crate) fn shaping_node(&self, output: &str) -> Option<String> {
        let node = shapes::find(&self.model.graph, output)?;
        Some(format!("the node `{}` ({})", label(node), node.operator))
    }

    /// Whether there may be loops, whose rounds an input counts.
    pub(crate) fn has_loops(&self) -> bool {
        let has_body = |node: &read::Node<'_>| node.attributes.iter().any(|attribute| !attribute.graphs.is_empty());
        let functions = self.model.functions.iter().flat_map(|function| &function.nodes);
        self.model.graph.nodes.iter().chain(functions).any(has_body)
    }
}

/// How a node is named to a person: by its name, or where it has none, by its first output.
fn label(node: &read::Node<'_>) -> String {
    let name = if node.name.is_empty() { node.outputs.first().copied().unwrap_or_default() } else { node.name };
    name.into()
}
