//! Events of a scenario: messages to agents that exist and to some that don't, to groups and topics, and commands.

use std::fmt::Write as _;

use super::cast::Role;
use super::groups::PlannedGroup;
use super::plan::{Plan, PlannedSwap};
use super::random::Random;

/// Most lines of messages and commands.
const LINES_MAX: u64 = 300;

/// Returns the events file: lines sorted by frame.
pub(super) fn events(random: &mut Random, plan: &Plan, groups: &[PlannedGroup], swaps: &[PlannedSwap]) -> String {
    let mut lines = Vec::new();
    // Some come after the run's last frame.
    let frame = |random: &mut Random| random.of(0..=plan.frames + plan.frames / 20);
    for _ in 0..random.of(0..=LINES_MAX) {
        let frame = frame(random);
        let rest = if random.one_in(3) { command(random, groups, swaps) } else { message(random, plan, groups) };
        lines.push((frame, rest));
    }
    if plan.with_models {
        for image in 0..random.of(plan.frames / 2..=plan.frames * 2) {
            let frame = frame(random);
            lines.push((frame, scan(random, plan, image)));
            lines.push((frame, label(random, image)));
        }
    }
    // Stable: what is for one frame keeps its order.
    lines.sort_by_key(|(frame, _)| *frame);
    let mut text = String::new();
    for (frame, rest) in lines {
        let _ = writeln!(text, "{{\"frame\":{frame},{rest}}}");
    }
    text
}

fn message(random: &mut Random, plan: &Plan, groups: &[PlannedGroup]) -> String {
    let group = random.pick(groups);
    let to = match random.of(0..=9) {
        0 => format!("\"topic\":\"desk-{}\"", random.of(0..=plan.desks - 1)),
        1 => "\"topic\":\"ticks\"".to_owned(),
        2 => format!("\"to\":\"{}/*\"", group.role.name()),
        _ => format!("\"to\":\"{}\"", agent(random, group)),
    };
    let (kind, correlation) = (random.of(0..=9), random.of(0..=99));
    format!("{to},\"kind\":{kind},\"correlation\":{correlation}{}", payload(random))
}

/// Returns an agent that exists, or may exist, or never does.
fn agent(random: &mut Random, group: &PlannedGroup) -> String {
    let ordinal = random.of(0..=group.agents_max - 1);
    let generation = if random.one_in(5) { format!("#{}", random.of(0..=3)) } else { String::new() };
    format!("{}/{ordinal}{generation}", group.role.name())
}

/// Returns a payload as the rest of a line, small enough for every mailbox.
fn payload(random: &mut Random) -> String {
    match random.of(0..=3) {
        0 => ",\"text\":\"good morning\"".to_owned(),
        1 => ",\"base64\":\"AQIDBAUGBwg=\"".to_owned(),
        2 => format!(",\"type\":\"i64\",\"numbers\":[{}]", random.of(0..=1_000)),
        _ => String::new(),
    }
}

fn command(random: &mut Random, groups: &[PlannedGroup], swaps: &[PlannedSwap]) -> String {
    let group = random.pick(groups);
    let name = group.role.name();
    match random.of(0..=9) {
        0..=1 => {
            let (count, payload) = (random.of(1..=4), payload(random));
            let kind = if payload.is_empty() { "" } else { ",\"kind\":1" };
            format!("\"command\":\"spawn\",\"group\":\"{name}\",\"count\":{count}{kind}{payload}")
        }
        2 if !swaps.is_empty() => {
            let [(what, of), (by, with)] = &random.pick(swaps).keys;
            format!("\"command\":\"swap\",\"{what}\":\"{of}\",\"{by}\":\"{with}\"")
        }
        _ => {
            // Whoever is paused shall have a chance to go on.
            let word = *random.pick(&["pause", "resume", "resume", "terminate", "restart", "restart"]);
            format!("\"command\":\"{word}\",\"agent\":\"{}\"", agent(random, group))
        }
    }
}

/// Returns a random picture. Readers say which digit it resembles.
fn scan(random: &mut Random, plan: &Plan, image: u64) -> String {
    let pixels: Vec<String> = (0..64).map(|_| random.of(0..=16).to_string()).collect();
    let desk = random.of(0..=plan.desks - 1);
    let pixels = pixels.join(",");
    format!("\"topic\":\"desk-{desk}\",\"kind\":1,\"correlation\":{image},\"type\":\"u8\",\"numbers\":[{pixels}]")
}

fn label(random: &mut Random, image: u64) -> String {
    let (to, digit) = (Role::Ledger.name(), random.of(0..=9));
    format!("\"to\":\"{to}/0\",\"kind\":2,\"correlation\":{image},\"type\":\"u8\",\"numbers\":[{digit}]")
}
