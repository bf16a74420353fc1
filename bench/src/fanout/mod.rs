//! Worlds in which one agent, or a few, send to all others, to measure a hostile frame beside an honest one.
//!
//! In an honest frame each agent is called, sends one message of eight bytes to its neighbour, and gets one.

use std::fmt::Write as _;
use std::path::Path;

use wasm_engine::scenario::{LoadOptions, Scenario, parse};
use wasm_engine_abi::{MAGIC, name_id};
use wasm_engine_components::{ExternalEvent, FrameInputs, GroupId, Recipient};

/// A hostile world.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// Name of the case.
    pub name: &'static str,
    /// Number of hostile agents in each hostile group; 0 for the honest world.
    pub hostile: u32,
    /// Number of hostile groups.
    pub groups: u32,
    /// Records that each of them sends in each step.
    pub records: u32,
    /// Bytes of each record's payload.
    pub payload_bytes: u32,
    /// Where they send them.
    pub target: Target,
    /// More keys of the recipients' group.
    pub victims: &'static str,
    /// Whether the recipients' group isn't the honest one, but another of as many agents.
    pub aside: bool,
    /// Number of groups into which the honest agents are divided, each after the one before it and after the hostile ones; 1 for no order.
    pub waves: u32,
    /// Number of events from outside to the group in each frame.
    pub events: u32,
}

/// Where hostile agents send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// To a group.
    Group,
    /// To a topic, whose members that group's agents are.
    Topic,
    /// Nowhere: they join that topic and leave it in turns.
    Membership,
}

impl Case {
    /// The world without hostile agents.
    pub const HONEST: Self = Self {
        name: "honest",
        hostile: 0,
        groups: 1,
        records: 0,
        payload_bytes: 0,
        target: Target::Group,
        victims: "",
        aside: false,
        waves: 1,
        events: 0,
    };

    /// Returns the world as a scenario, and writes its modules into `folder`.
    ///
    /// # Panics
    /// If the folder can't be written to.
    pub fn scenario(&self, folder: &Path, agents: u32) -> Scenario {
        let write = |name: &str, text: String| {
            let path = folder.join(name);
            std::fs::write(&path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        };
        write("honest.wat", honest(agents / self.waves));
        write("quiet.wat", agent(64, ""));
        let group = if self.aside { 3 } else { 1 };
        let (op, target) = match self.target {
            Target::Group => ("(i32.const 16)", group),
            Target::Topic => ("(i32.const 2)", name_id("all")),
            Target::Membership => ("(i32.add (i32.const 3) (i32.and (local.get $left) (i32.const 1)))", name_id("all")),
        };
        write("hostile.wat", hostile(self.records, self.payload_bytes, op, target));
        let mut text = "frames = 1\ntopics = [\"all\"]\n[modules]\n".to_owned();
        for module in ["honest", "hostile", "quiet"] {
            let _ = writeln!(text, "{module}.path = {:?}", format!("{module}.wasm"));
            let wat = std::fs::read(folder.join(format!("{module}.wat"))).unwrap_or_default();
            let wasm = wat::parse_bytes(&wat).unwrap_or_else(|error| panic!("{module}: {error}"));
            std::fs::write(folder.join(format!("{module}.wasm")), wasm).unwrap_or_else(|error| panic!("{error:#}"));
        }
        let mut group = |name: &str, module: &str, agents: u32, more: &str| {
            let _ = write!(text, "[[groups]]\nname = {name:?}\nmodule = {module:?}\nagents = {agents}\n{more}\n");
        };
        let victims = format!("subscribe = [\"all\"]\nlimits.memory_bytes_max = 65536\n{}", self.victims);
        group(
            "honest",
            "honest",
            agents / self.waves,
            if self.aside { "limits.memory_bytes_max = 65536" } else { &victims },
        );
        let limits = format!("limits = {{ records_per_step_max = {} }}\naccepts = []", self.records.max(256));
        group("hostile", "hostile", self.hostile.max(1), &limits);
        if self.aside {
            // What they would send themselves is no part of the attack.
            group("victims", "quiet", agents, &victims);
        }
        for wave in 1..self.waves {
            let before = if wave == 1 { "honest".to_owned() } else { format!("honest-{}", wave - 1) };
            let victims = format!("after = [\"hostile\", {before:?}]\n{victims}");
            group(&format!("honest-{wave}"), "honest", agents / self.waves, &victims);
        }
        for more in 1..self.groups {
            group(&format!("hostile-{more}"), "hostile", self.hostile.max(1), &limits);
        }
        parse(text, &folder.join("fanout.toml"), &LoadOptions::default())
            .unwrap_or_else(|problems| panic!("{problems:#}"))
    }

    /// Returns the inputs of a frame.
    pub fn inputs(&self) -> FrameInputs {
        let event = ExternalEvent { to: Recipient::Group(GroupId(1)), kind: 1, correlation: 0, payload: Vec::new() };
        FrameInputs { events: vec![event; self.events as usize], ..FrameInputs::default() }
    }
}

/// Returns the module of an agent whose step is `step`, with room for `outbox_bytes` of records.
fn agent(outbox_bytes: u32, step: &str) -> String {
    const INBOX: u32 = 32 << 10;
    let words = [MAGIC, 1, 128, INBOX, 128 + INBOX, outbox_bytes, 0, 0];
    let header: String = words.iter().flat_map(|word| word.to_le_bytes()).map(|byte| format!("\\{byte:02x}")).collect();
    let pages = (outbox_bytes + INBOX + 4096).div_ceil(65_536);
    format!(
        r#"(module (memory (export "memory") {pages}) (data (i32.const 1024) "{header}")
  (global (export "agent_exchange") i32 (i32.const 1024))
  (func (export "agent_init") (param i32) (result i32) i32.const 0)
  (func (export "agent_step") (param $ctx i32) (result i32) (local $at i32) (local $left i32)
    (local.set $at (i32.const {outbox})) {step} i32.const 0))"#,
        outbox = 1024 + 128 + INBOX
    )
}

/// Returns the module of an agent that sends the frame's number to its neighbour, in a group of `agents`.
fn honest(agents: u32) -> String {
    agent(
        4096,
        &format!(
            "(i64.store (local.get $at) (i64.or (i64.shl (i64.load32_u offset=24 (local.get $ctx)) (i64.const 32))
               (i64.extend_i32_u (i32.rem_u (i32.add (i32.load offset=28 (local.get $ctx)) (i32.const 1)) (i32.const {agents})))))
             (i32.store offset=16 (local.get $at) (i32.const 1))
             (i32.store offset=20 (local.get $at) (i32.const 1))
             (i32.store offset=24 (local.get $at) (i32.const 8))
             (i64.store offset=32 (local.get $at) (i64.load (local.get $ctx)))
             (i32.store offset=56 (local.get $ctx) (i32.const 1))
             (i32.store offset=60 (local.get $ctx) (i32.const 40))"
        ),
    )
}

/// Returns the module of an agent that sends `records` records to many recipients; `op` is an expression.
fn hostile(records: u32, payload_bytes: u32, op: &str, target: u64) -> String {
    let record = 32 + payload_bytes.next_multiple_of(8);
    agent(
        (records * record).max(64),
        &format!(
            "(local.set $left (i32.const {records}))
             (block $done (loop $next
               (br_if $done (i32.eqz (local.get $left)))
               (i64.store (local.get $at) (i64.const {target}))
               (i32.store offset=16 (local.get $at) {op})
               (i32.store offset=20 (local.get $at) (i32.const 1))
               (i32.store offset=24 (local.get $at) (i32.const {payload_bytes}))
               (local.set $at (i32.add (local.get $at) (i32.const {record})))
               (local.set $left (i32.sub (local.get $left) (i32.const 1)))
               (br $next)))
             (i32.store offset=56 (local.get $ctx) (i32.const {records}))
             (i32.store offset=60 (local.get $ctx) (i32.const {all}))",
            all = records * record,
            target = target.cast_signed(),
        ),
    )
}
