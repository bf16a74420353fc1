//! One group of a scenario: the number of agents and their parameters, when they are stepped, their limits, and what happens when they
//! fault. Every key of a group occurs now and then.

use std::fmt::Write as _;

use super::cast::{Cast, Role};
use super::plan::Plan;
use super::random::Random;

/// A group of the scenario.
#[derive(Clone, Debug)]
pub(super) struct PlannedGroup {
    /// Role of its agents.
    pub role: Role,
    /// Most agents that it may have.
    pub agents_max: u64,
    /// Its table as TOML.
    pub text: String,
}

/// Writes a group's table. `before` are the groups after which it may come without a cycle.
pub(super) fn group(random: &mut Random, plan: &Plan, cast: &Cast, role: Role, before: &[Role]) -> PlannedGroup {
    let (agents, agents_max) = crowd(random, plan, role);
    let mut text = String::new();
    let mut line = |key: &str, value: &str| {
        let _ = writeln!(text, "{key} = {value}");
    };
    line("name", &quoted(role.name()));
    line("module", &quoted(role.module()));
    line("agents", &agents.to_string());
    if agents_max > agents {
        line("agents_max", &agents_max.to_string());
    }
    line("params", &params(random, plan, cast, role, agents));
    if matches!(role, Role::Tickers | Role::Tallies) || random.one_in(8) {
        line("subscribe", "[\"ticks\"]");
    }
    if let Some(accepts) = accepts(random, cast, role) {
        line("accepts", &accepts);
    }
    if role == Role::Foremen {
        line("controls", "[\"workers\"]");
    }
    let supervisor = supervisor(random, cast, role);
    if let Some(supervisor) = supervisor {
        line("supervisor", &quoted(supervisor.name()));
    }
    line("on_fault", &on_fault(random, role, supervisor.is_some()));
    let overflow = *random.pick(&["reject", "drop_oldest", "fault"]);
    line("overflow", &quoted(overflow));
    line("schedule", &schedule(random, role));
    if let Some(after) = after(random, role, before) {
        line("after", &after);
    }
    if role == Role::Saboteurs && plan.tenant {
        line("tenant", "\"vandals\"");
    }
    line("limits", &limits(random, role));
    PlannedGroup { role, agents_max, text }
}

/// Returns how many agents a group starts with, and how many it may have.
fn crowd(random: &mut Random, plan: &Plan, role: Role) -> (u64, u64) {
    let agents = match role {
        Role::Foremen | Role::Heralds => random.of(1..=3),
        Role::Workers => random.of(0..=3),
        Role::Tickers | Role::Tallies => random.of(1..=12),
        Role::Sleepers => random.of(50..=1_500),
        // Each of the eight kinds, or of the first kinds.
        Role::Saboteurs => random.of(4..=16),
        Role::Watchers => random.of(1..=30),
        Role::Ring => random.of(2..=300),
        Role::Readers => plan.desks * plan.readers_per_desk,
        Role::Clerks => plan.desks,
        Role::Ledger => 1,
    };
    let more = match role {
        Role::Workers => random.of(4..=24),
        _ if random.one_in(3) => random.of(1..=5),
        _ => 0,
    };
    (agents, agents + more)
}

fn params(random: &mut Random, plan: &Plan, cast: &Cast, role: Role, agents: u64) -> String {
    let Plan { frames, rounds, desks, readers_per_desk, .. } = plan;
    let number = |role| cast.number(role);
    let rarely = |random: &mut Random| if random.one_in(4) { 0 } else { random.of(5..=40) };
    match role {
        Role::Foremen => {
            let (crew, deadline) = (random.of(1..=8), random.of(3..=12));
            // In the middle of the run, or never.
            let end = random.of(frames / 2..=frames * 5 / 4);
            let workers = number(Role::Workers);
            format!(
                "{{ workers = {workers}, crew = {crew}, deadline_frames = {deadline}, rounds = {rounds}, end_frame = {end} }}"
            )
        }
        Role::Workers => {
            let (frames, trap, ignore) = (random.of(1..=4), rarely(random), rarely(random));
            format!("{{ work_frames = {frames}, rounds = {rounds}, trap_every = {trap}, ignore_every = {ignore} }}")
        }
        Role::Tickers | Role::Heralds => format!("{{ every = {} }}", random.of(1..=10)),
        Role::Tallies => "{ every = 1_000_000 }".to_owned(),
        Role::Sleepers => format!("{{ period = {} }}", random.of(1..=60)),
        Role::Saboteurs => {
            let start = random.of(0..=frames / 4);
            let (clerks, ledger) = (number(Role::Clerks), number(Role::Ledger));
            format!("{{ start_frame = {start}, clerks = {clerks}, ledger = {ledger}, desks = {desks} }}")
        }
        Role::Watchers => "{}".to_owned(),
        Role::Ring => {
            let (tokens, audit) = (agents * random.of(1..=3), random.of(0..=50));
            format!("{{ agents = {agents}, tokens = {tokens}, audit_every = {audit} }}")
        }
        Role::Readers => {
            let (smudge, clerks) = (random.of(0..=40), number(Role::Clerks));
            format!(
                "{{ desks = {desks}, readers_per_desk = {readers_per_desk}, smudge_one_in = {smudge}, clerks = {clerks} }}"
            )
        }
        Role::Clerks => {
            let (readers, ledger) = (number(Role::Readers), number(Role::Ledger));
            format!("{{ readers = {readers}, readers_per_desk = {readers_per_desk}, ledger = {ledger} }}")
        }
        Role::Ledger => format!("{{ clerks = {} }}", number(Role::Clerks)),
    }
}

/// Returns the groups from which a group takes messages; `None` for all.
fn accepts(random: &mut Random, cast: &Cast, role: Role) -> Option<String> {
    let needed: &[Role] = match role {
        Role::Foremen => &[Role::Workers],
        Role::Workers => &[Role::Foremen],
        Role::Tickers | Role::Tallies => &[Role::Tickers],
        Role::Ring => &[Role::Ring],
        Role::Clerks => &[Role::Readers],
        Role::Ledger => &[Role::Clerks],
        // Floods each other.
        Role::Saboteurs => &[Role::Saboteurs],
        Role::Sleepers | Role::Heralds | Role::Watchers | Role::Readers => &[],
    };
    random.one_in(2).then(|| names(needed.iter().filter(|role| cast.has(**role))))
}

/// Returns the supervisor of a group, if it has one.
fn supervisor(random: &mut Random, cast: &Cast, role: Role) -> Option<Role> {
    if role == Role::Workers && !random.one_in(8) {
        return Some(Role::Foremen);
    }
    random.one_in(5).then(|| *random.pick(&cast.roles))
}

fn on_fault(random: &mut Random, role: Role, is_supervised: bool) -> String {
    let restart = |random: &mut Random| {
        let most = *random.pick(&[0, 1, 3, 10, 1_000]);
        format!("{{ policy = \"restart\", restarts_max = {most}, backoff_frames = {} }}", random.of(1..=8))
    };
    match random.of(0..=9) {
        0 => quoted("pause"),
        1 => quoted("terminate"),
        2..=5 if is_supervised => quoted("escalate"),
        // So that they do it again and again.
        _ if role == Role::Saboteurs => "{ policy = \"restart\", restarts_max = 1_000, backoff_frames = 1 }".to_owned(),
        _ => restart(random),
    }
}

fn schedule(random: &mut Random, role: Role) -> String {
    let trigger = match (role, random.of(0..=7)) {
        (Role::Sleepers, 0..=4) => "on = \"timer\"".to_owned(),
        (Role::Workers | Role::Ring, 0..=3) | (Role::Sleepers, 5..=6) | (_, 0) => "on = \"message\"".to_owned(),
        // Whoever asks for no waking is stepped in its first frame, and messages wait from then on.
        (Role::Watchers | Role::Clerks, 1) => "on = \"timer\"".to_owned(),
        (_, 2..=3) => {
            let every = random.of(1..=6);
            format!("every = {every}, phase = {}", random.of(0..=every - 1))
        }
        _ => "every = 1".to_owned(),
    };
    format!("{{ {trigger}, priority = {} }}", *random.pick(&[0, 0, 1, 10, 50, 100]))
}

fn after(random: &mut Random, role: Role, before: &[Role]) -> Option<String> {
    if role == Role::Tallies && before.contains(&Role::Tickers) {
        return Some("[\"tickers\"]".to_owned());
    }
    let chosen = (!before.is_empty() && random.one_in(4)).then(|| *random.pick(before))?;
    Some(names([chosen].iter()))
}

fn limits(random: &mut Random, role: Role) -> String {
    let mut entries = Vec::new();
    if role == Role::Saboteurs {
        // One that loops for ever uses it all.
        entries.push(format!("fuel_per_step_max = {}", random.of(20_000..=100_000)));
        entries.push("memory_bytes_max = 262_144".to_owned());
    }
    // Those of the sleepers fit the most of them that there are.
    let rows: [(&str, u64, u64, u64); 8] = [
        ("mailbox_messages_max", 1, 64, 3),
        ("mailbox_bytes_max", 512, 8_192, 5),
        ("requests_max", 0, 8, 6),
        ("records_per_step_max", 2, 64, 8),
        ("fuel_per_frame_max", 20_000, 2_000_000, 6),
        ("messages_per_frame_max", 0, 100, 8),
        ("message_bytes_per_frame_max", 0, 10_000, 10),
        ("log_lines_per_frame_max", 0, 8, 8),
    ];
    for (key, least, most, times) in rows {
        if random.one_in(times) {
            entries.push(format!("{key} = {}", random.of(least..=most)));
        }
    }
    format!("{{ {} }}", entries.join(", "))
}

/// Returns a TOML array of groups' names.
fn names<'a>(roles: impl Iterator<Item = &'a Role>) -> String {
    let names: Vec<String> = roles.map(|role| quoted(role.name())).collect();
    format!("[{}]", names.join(", "))
}

fn quoted(name: &str) -> String {
    format!("\"{name}\"")
}
