//! Checks how groups refer to each other: `after` must have no cycles, and supervisors must take part in the run. Unknown names
//! are reported where they are read.

use wasm_engine_components::{FaultPolicy, GroupId, GroupSpec};

use super::fields::Context;
use super::node::Node;
use crate::problem::Problem;

/// Checks the groups that were read from `items`.
pub(super) fn check(cx: &mut Context, items: &[Node], groups: &[GroupSpec]) {
    for group in groups {
        if group.after.contains(&group.id) {
            let problem = Problem::new("the group can't come after itself").help("remove its own name");
            report(cx, items, group.id, "after", problem);
        }
        let absent = group.supervisor.and_then(|id| groups.iter().find(|other| other.id == id && !other.enabled));
        if let (true, FaultPolicy::Escalate, Some(absent)) = (group.enabled, group.on_fault, absent) {
            let what = format!("the group `{}` isn't enabled, and `escalate` needs a supervisor", absent.name);
            let problem = Problem::new(what).help("enable it, or use another policy in `on_fault`");
            report(cx, items, group.id, "supervisor", problem);
        }
    }
    let cycle = cycle(groups);
    if let Some(first) = cycle.first() {
        let names: Vec<&str> = cycle.iter().chain([first]).map(|group| group.name.as_str()).collect();
        let what = format!("the groups come after each other in a cycle: {}", names.join(" -> "));
        let help = "each group in this list comes after the next one: remove one of them from the other's `after`";
        report(cx, items, first.id, "after", Problem::new(what).help(help));
    }
}

/// Reports a problem of a group's key, where that stands.
fn report(cx: &mut Context, items: &[Node], group: GroupId, key: &str, problem: Problem) {
    let index = group.0 as usize - 1;
    let place = items.get(index).map_or(0, |item| item.get(key).unwrap_or(item).at);
    cx.report(place, &format!("groups[{index}].{key}"), problem);
}

/// Returns a cycle: groups each of which must come after the next, and the last after the first; empty if there is none. If
/// there are several, the groups' ids decide which one; its first group is the one with the smallest id.
fn cycle(groups: &[GroupSpec]) -> Vec<&GroupSpec> {
    // Groups come in the order of their ids. A group that comes after itself was reported already.
    let position = |id: &GroupId| groups.binary_search_by_key(id, |group| group.id).ok();
    let before: Vec<Vec<usize>> = groups
        .iter()
        .map(|group| {
            let others = group.after.iter().filter(|id| group.enabled && **id != group.id).filter_map(position);
            others.filter(|&other| groups[other].enabled).collect()
        })
        .collect();
    let mut followers: Vec<Vec<usize>> = vec![Vec::new(); groups.len()];
    let mut open: Vec<usize> = before.iter().map(Vec::len).collect();
    for (at, others) in before.iter().enumerate() {
        others.iter().for_each(|&other| followers[other].push(at));
    }
    let mut ready: Vec<usize> = (0..groups.len()).filter(|&at| open[at] == 0).collect();
    while let Some(done) = ready.pop() {
        for &at in &followers[done] {
            open[at] -= 1;
            if open[at] == 0 {
                ready.push(at);
            }
        }
    }
    // Each remaining group comes after another remaining one, so following them leads round a cycle.
    let next = |at: usize| before[at].iter().copied().find(|&other| open[other] > 0);
    let mut way: Vec<usize> = Vec::new();
    let mut here = (0..groups.len()).find(|&at| open[at] > 0);
    while let Some(at) = here {
        if let Some(start) = way.iter().position(|&seen| seen == at) {
            let mut round = way.split_off(start);
            let first = round.iter().enumerate().min_by_key(|(_, at)| **at).map_or(0, |(first, _)| first);
            round.rotate_left(first);
            return round.into_iter().map(|at| &groups[at]).collect();
        }
        way.push(at);
        here = next(at);
    }
    Vec::new()
}
