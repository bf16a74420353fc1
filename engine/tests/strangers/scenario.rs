//! The scenario of two good groups and forty strangers. The test next to this file runs it, and so does a measurement of `bench`.

use std::fmt::Write as _;
use std::path::Path;

use crate::modules::Stranger;

/// How large it is, and what bounds the strangers.
pub struct Sizes {
    /// Number of frames.
    pub frames: u64,
    /// Number of agents of the good group `ring`, each of which passes a token on in each frame.
    pub ring: u32,
    /// Number of frames from one count of the tokens to the next; 0 for none.
    pub audit_every: u32,
    /// Whether the strangers are under a tenant.
    pub tenant: bool,
    /// Fuel that the tenant may use in a frame.
    pub fuel: u64,
}

/// Writes the strangers' modules and the scenario `strangers.toml` into a folder. `--set strangers=false` leaves all of them out.
pub fn write(folder: &Path, samples: &Path, strangers: &[Stranger], sizes: &Sizes) {
    let Sizes { frames, ring: agents, audit_every, tenant, fuel } = sizes;
    let sample = |name: &str| samples.join(name);
    let mut text = format!(
        r#"name = "strangers"
frames = {frames}
topics = ["ticks"]
[params]
strangers = true
[modules.counter]
path = {counter:?}
[modules.ring]
path = {ring:?}
[tenants.strangers]
fuel_per_frame_max = {fuel}
[[groups]]
name = "counters"
module = "counter"
agents = 4
params = {{ every = 1 }}
subscribe = ["ticks"]
accepts = ["counters"]
[[groups]]
name = "ring"
module = "ring"
agents = {agents}
params = {{ agents = {agents}, tokens = {agents}, audit_every = {audit_every} }}
accepts = ["ring"]
"#,
        counter = sample("counter.wasm"),
        ring = sample("ring.wasm"),
    );
    let tenant = if *tenant { "tenant = \"strangers\"" } else { "" };
    for Stranger { name, text: module, .. } in strangers {
        let bytes = wat::parse_str(module).unwrap_or_else(|error| panic!("{name}: {error}"));
        write_file(&folder.join(format!("{name}.wasm")), &bytes);
        let _ = write!(
            text,
            r#"[modules.{name}]
path = "{name}.wasm"
[[groups]]
name = "{name}"
module = "{name}"
agents = 2
agents_max = 8
enabled = "$strangers"
{tenant}
subscribe = ["ticks"]
on_fault = {{ policy = "restart", restarts_max = 1000, backoff_frames = 1 }}
"#
        );
    }
    write_file(&folder.join("strangers.toml"), text.as_bytes());
}

fn write_file(path: &Path, bytes: &[u8]) {
    std::fs::write(path, bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}
