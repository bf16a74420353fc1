//! A scenario whose agents ask a model what events tell them to, row by row. Used by tests of whole runs with models, and by unit tests of the
//! engine.

use std::fs;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// What the scenario has.
pub struct Asking<'a> {
    /// Number of frames.
    pub frames: u64,
    /// Names of models, each that of its file in `engine/tests/models`, and what their entries say besides. The agents ask the first.
    pub models: &'a [(&'a str, &'a str)],
    /// Names of groups, and how many agents each has.
    pub groups: &'a [(&'a str, u32)],
}

impl Asking<'_> {
    /// Writes the scenario `s.toml` and its events: frames, agents, and the row that each then asks for.
    pub fn write(&self, folder: &Path, rows: impl IntoIterator<Item = (u64, String, Vec<u8>)>) {
        // The crates of the engine lie in its folder.
        let folders = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().map(|folder| folder.join("tests"));
        let tests = folders.into_iter().find(|tests| tests.join("models").is_dir()).expect("the engine has tests");
        let mut text = format!("frames = {}\ninput = \"events.jsonl\"\n", self.frames);
        for (model, more) in self.models {
            let path = tests.join("models").join(format!("{model}.onnx"));
            text.push_str(&format!("[models.{model}]\npath = {path:?}\n{more}\n"));
        }
        text.push_str(&format!("[modules.ask]\npath = {:?}\n", tests.join("data/inference/ask.wasm")));
        let asked = self.models[0].0;
        for (group, agents) in self.groups {
            text.push_str(&format!(
                "[[groups]]\nname = \"{group}\"\nmodule = \"ask\"\nagents = {agents}\nparams = {{ model = \"{asked}\" }}\n\
                 limits = {{ fuel_per_step_max = 1000000000, memory_bytes_max = 2097152 }}\n"
            ));
        }
        fs::write(folder.join("s.toml"), text).expect("the folder can be written");
        let event = |(frame, to, row): (u64, String, Vec<u8>)| {
            format!("{{\"frame\":{frame},\"to\":\"{to}\",\"base64\":\"{}\"}}\n", STANDARD.encode(row))
        };
        let events: String = rows.into_iter().map(event).collect();
        fs::write(folder.join("events.jsonl"), events).expect("the folder can be written");
    }
}
