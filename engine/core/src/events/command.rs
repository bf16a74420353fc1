//! Lines that are commands. `spawn` and `swap` name a group, the others one agent.

use wasm_engine_components::limits::{EVENT_SPAWN_BYTES_MAX, EVENT_SPAWNS_MAX};
use wasm_engine_components::{Action, CommandTarget, LifecycleAction};

use super::address_book::AddressBook;
use super::payload::{limited, payload};
use super::raw_line::{Input, LineFault, RawLine, kind, whole};
use crate::problem::{nearest_name, thousands};

const SPAWN: &str = "spawn";
const SWAP: &str = "swap";

/// Returns what a command is called in an events file.
pub fn word_of(target: CommandTarget) -> &'static str {
    match target {
        CommandTarget::Spawn(_) => SPAWN,
        CommandTarget::Agent(_, action) => action.name(),
    }
}

/// Reads a line with the key `command`, which is `word`; `None` where its group doesn't take part in this run.
pub(super) fn command(word: &str, raw: RawLine, addresses: &AddressBook) -> Result<Option<Input>, LineFault> {
    if word == SPAWN {
        return spawn(raw, addresses);
    }
    if word == SWAP {
        return swap(&raw, addresses);
    }
    let Some(action) = LifecycleAction::from_name(word) else {
        let known = [SPAWN, SWAP].into_iter().chain(LifecycleAction::ALL.map(LifecycleAction::name));
        let fault = LineFault::new("command", format!("there is no command `{word}`"));
        return Err(fault.helped(nearest_name(word, known)));
    };
    refuse_others(word, &raw, &["frame", "command", "agent"], "name the agent as `agent`")?;
    let Some(agent) = &raw.agent else {
        return Err(LineFault::new("agent", "missing").help("say which agent, as `GROUP/ORDINAL`"));
    };
    let (id, group) = addresses.agent("agent", agent)?;
    Ok(group.enabled.then_some(Input::Commands { action: Action::Agent(id, action), count: 1 }))
}

fn spawn(raw: RawLine, addresses: &AddressBook) -> Result<Option<Input>, LineFault> {
    let known = ["frame", "command", "group", "count", "kind", "text", "base64", "numbers", "type"];
    refuse_others(SPAWN, &raw, &known, "name the group as `group`")?;
    let Some(group) = &raw.group else {
        return Err(LineFault::new("group", "missing").help("say in which group"));
    };
    let group = addresses.group("group", group)?;
    let count = match whole("count", raw.count.as_ref(), 1, EVENT_SPAWNS_MAX.into())? {
        Some(count) => u32::try_from(count).map_err(|_| LineFault::new("count", "is out of range"))?,
        None => 1,
    };
    let kind = kind(&raw)?;
    let (key, payload) = limited(payload(raw)?, group.payload)?;
    let bytes = payload.len() as u64 * u64::from(count);
    if bytes > EVENT_SPAWN_BYTES_MAX {
        let what = format!("{} agents are sent {} bytes together", thousands(count), thousands(bytes));
        let help = format!("send at most {} by one line", thousands(EVENT_SPAWN_BYTES_MAX));
        return Err(LineFault::new(key, what).help(help));
    }
    if let (Some(_), true) = (kind, payload.is_empty()) {
        let help = "add `text`, `base64` or `numbers`, or remove it";
        return Err(LineFault::new("kind", "there is no first message that it could be the kind of").help(help));
    }
    let action = Action::Spawn { group: group.id, kind: kind.unwrap_or(0), payload };
    Ok(group.enabled.then_some(Input::Commands { action, count }))
}

/// Reads a swap: another module for a group, or another model behind a name. One that the scenario hasn't prepared is an error.
fn swap(raw: &RawLine, addresses: &AddressBook) -> Result<Option<Input>, LineFault> {
    let known = ["frame", "command", "group", "module", "model", "with"];
    refuse_others(SWAP, raw, &known, "use the keys `group` and `module`, or `model` and `with`")?;
    let names = match (&raw.group, &raw.module, &raw.model, &raw.with) {
        (Some(group), Some(module), None, None) => {
            if !addresses.group("group", group)?.enabled {
                return Ok(None);
            }
            (group, module)
        }
        (None, None, Some(model), Some(with)) => (model, with),
        _ => {
            let help = "use the keys `group` and `module`, or `model` and `with`";
            return Err(LineFault::of_line("doesn't say what is swapped").help(help));
        }
    };
    addresses.swap(names.0, names.1, raw.group.is_some()).map(|swap| Some(Input::Swap(swap)))
}

/// Refuses a key that isn't among `known`.
fn refuse_others(word: &str, raw: &RawLine, known: &[&str], recipient: &str) -> Result<(), LineFault> {
    let Some(key) = raw.given().find(|key| !known.contains(key)) else { return Ok(()) };
    let help =
        if matches!(key, "to" | "topic" | "agent" | "group" | "module" | "model") { recipient } else { "remove it" };
    Err(LineFault::new(key, format!("doesn't belong to the command `{word}`")).help(help))
}
