//! One agent after a frame: its life, its mailbox, its memory.

use base64::Engine as _;
use bevy_ecs::world::World;
use serde::Serialize;
use wasm_engine_abi::MessageHeader;
use wasm_engine_components::text::{Lines, Table};
use wasm_engine_components::{AgentId, FrameRecord};
use wasm_engine_systems::inspect;

use super::ending::{self, Ending};
use super::view::{View, kind_name};
use crate::names::sender_name;
use wasm_engine_core::problem::{Problem, counted, thousands};
use wasm_engine_core::run_dir::OpenRun;
use wasm_engine_core::simulation::Simulation;
use wasm_engine_files::{ascii, hex};

/// Number of rows of a dump, of 16 bytes each, that a text shows.
const ROWS_MAX: usize = 64;
/// Number of strings that a text shows, and the length of the shortest ones.
const STRINGS_MAX: usize = 40;
const STRING_BYTES_MIN: usize = 6;
/// The longest part of a string that is shown.
const STRING_BYTES_MAX: usize = 80;

#[derive(Serialize)]
pub(super) struct AgentJson {
    frame: u64,
    agent: String,
    id: u64,
    lifecycle: &'static str,
    faults: u32,
    restarts: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    restart_frame: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended: Option<Ending>,
    #[serde(skip)]
    first_frame: u64,
    /// Messages that arrived in this frame.
    inbox: Vec<MailJson>,
    /// Messages that wait because they couldn't be handed over.
    waiting: Vec<MailJson>,
    memory_bytes: usize,
    globals: Vec<String>,
    strings: Vec<StringJson>,
    memory_base64: String,
    #[serde(skip)]
    memory: Vec<u8>,
}

#[derive(Serialize)]
struct MailJson {
    sender: String,
    kind: String,
    payload_bytes: u32,
    frame: u64,
    payload_base64: String,
}

#[derive(Serialize)]
struct StringJson {
    address: usize,
    text: String,
}

impl AgentJson {
    /// `ended` describes the end of an agent that has ended.
    pub fn new(
        run: &OpenRun,
        record: &FrameRecord,
        simulation: &mut Simulation,
        id: AgentId,
        ended: Option<Ending>,
    ) -> Result<Self, Problem> {
        let scenario = &run.scenario;
        let name = scenario.agent_name(id);
        let Some(agent) = inspect::agent(simulation.world(), id) else {
            return Err(absence(run, record, simulation.world(), id, ended));
        };
        let mail = |mail: Vec<(MessageHeader, &[u8])>| {
            let mail = mail.into_iter().map(|(header, payload)| MailJson {
                sender: sender_name(scenario, header.sender),
                kind: kind_name(header.kind),
                payload_bytes: payload.len() as u32,
                frame: header.frame,
                payload_base64: base64::engine::general_purpose::STANDARD.encode(payload),
            });
            mail.collect::<Vec<_>>()
        };
        let (inbox, waiting) =
            (mail(inspect::inbox(simulation.world(), id)), mail(inspect::backlog(simulation.world(), id)));
        let memory = simulation.guests().memory(agent.slot).unwrap_or_default();
        let globals = simulation.guests().globals(agent.slot).unwrap_or_default();
        let faults = agent.faults;
        Ok(Self {
            frame: record.frame,
            agent: name,
            id: id.0,
            lifecycle: agent.lifecycle.name(),
            faults: faults.faults,
            restarts: faults.restarts,
            restart_frame: Some(faults.restart_frame).filter(|&frame| frame > record.frame),
            ended,
            first_frame: run.first_frame(),
            inbox,
            waiting,
            memory_bytes: memory.len(),
            globals: globals.iter().map(|global| hex(&reversed(&global.value.bytes()))).collect(),
            strings: strings(&memory),
            memory_base64: base64::engine::general_purpose::STANDARD.encode(&memory),
            memory,
        })
    }
}

/// Returns why an agent isn't there after a frame.
fn absence(run: &OpenRun, record: &FrameRecord, world: &World, id: AgentId, ended: Option<Ending>) -> Problem {
    let scenario = &run.scenario;
    let name = scenario.agent_name(id);
    let problem = |what: String, help: String| Problem::new(what).key("--agent").help(help);
    if let (Some(ended), Some(there)) = (&ended, ending::next(world, id)) {
        let there = scenario.agent_name(there);
        let earlier = ended.frame.map(|frame| format!("; for {name} itself, use --at {frame} or an earlier frame"));
        let help = format!("--agent '{there}' shows that one{}", earlier.unwrap_or_default());
        let what = format!("{}; {there} has its place now", ended.sentence(&name, run.first_frame()));
        return problem(what, help);
    }
    let what = format!("there is no agent {name} after frame {}", record.frame);
    let places = scenario.group(id.group()).map_or(0, |group| group.agents_max);
    let help = match ending::in_place(world, id) {
        Some(there) => format!("it isn't spawned yet: {} has its place", scenario.agent_name(there)),
        None if id.ordinal() < places => "it isn't spawned yet".to_owned(),
        None => format!("the group has room for {}, numbered from 0", counted(places, "agent")),
    };
    problem(what, help)
}

/// Returns the bytes in the order in which numbers are written: the highest first.
fn reversed(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes.reverse();
    let zeros = bytes.iter().take_while(|&&byte| byte == 0).count();
    bytes.split_off(zeros.min(bytes.len().saturating_sub(1)))
}

/// Returns runs of printable characters.
fn strings(memory: &[u8]) -> Vec<StringJson> {
    let is_text = |byte: &u8| (b' '..=b'~').contains(byte);
    let mut strings = Vec::new();
    let mut at = 0;
    while at < memory.len() && strings.len() < STRINGS_MAX {
        let length = memory[at..].iter().take_while(|byte| is_text(byte)).count();
        if length >= STRING_BYTES_MIN {
            let text = String::from_utf8_lossy(&memory[at..at + length.min(STRING_BYTES_MAX)]).into_owned();
            strings.push(StringJson { address: at, text });
        }
        at += length.max(1);
    }
    strings
}

impl View for AgentJson {
    fn text(&self) -> Lines {
        let mut text = Lines::default();
        let mut head = format!("{} after frame {}: {}", self.agent, self.frame, self.lifecycle);
        if self.faults > 0 {
            head.push_str(&format!(", {} faults, {} restarts", self.faults, self.restarts));
        }
        if let Some(frame) = self.restart_frame {
            head.push_str(&format!(", starts again in frame {frame}"));
        }
        text.line(head);
        if let Some(ended) = &self.ended {
            text.line(ended.sentence(&self.agent, self.first_frame));
        }
        for (what, mail) in
            [("came to its mailbox in this frame", &self.inbox), ("waits in its mailbox", &self.waiting)]
        {
            text.blank();
            if mail.is_empty() {
                text.line(format_args!("nothing {what}"));
                continue;
            }
            text.line(format_args!("{what}:"));
            let mut table = Table::new(["sender", "kind", "bytes", "sent in"]);
            for mail in mail {
                table.row([mail.sender.as_str(), &mail.kind, &mail.payload_bytes.to_string(), &mail.frame.to_string()]);
            }
            text.append(&table.lines());
        }
        let globals = if self.globals.is_empty() { "none".to_owned() } else { self.globals.join(" ") };
        text.blank();
        text.line(format_args!("globals (hex): {globals}"));
        text.line(format_args!("memory: {} bytes", thousands(self.memory_bytes)));
        dump(&self.memory, &mut text);
        if !self.strings.is_empty() {
            text.blank();
            text.line("strings:");
            self.strings.iter().for_each(|string| text.line(format_args!("{:08x}  {}", string.address, string.text)));
        }
        text
    }
}

/// Returns a dump of the rows that aren't all zeros.
fn dump(memory: &[u8], text: &mut Lines) {
    let rows = || memory.chunks(16).enumerate().filter(|(_, row)| row.iter().any(|&byte| byte != 0));
    for (at, row) in rows().take(ROWS_MAX) {
        let bytes: Vec<_> = row.chunks(4).map(hex).collect();
        text.line(format_args!("{:08x}  {:<35}  {}", at * 16, bytes.join(" "), ascii(row)));
    }
    let more = rows().count().saturating_sub(ROWS_MAX);
    if more > 0 {
        text.line(format_args!("and {more} more rows that aren't zeros: --summary json has all of it"));
    }
}
