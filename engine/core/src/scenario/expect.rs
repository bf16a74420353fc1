//! Expectations: the entries `[[expect]]` of a scenario.

use wasm_engine_components::GroupSpec;
use wasm_engine_components::limits::EXPECTATIONS_MAX;

use super::fields::{Context, Fields, number, origin, text};
use super::node::Node;
use super::resources::too_many;
use super::types::{Counted, Expectation, ExpectedValue};
use crate::problem::{Problem, nearest_name};

const VALUES: [&str; 4] = ["equals", "at_least", "at_most", "equals_output"];

/// Reads `[[expect]]`. Expectations of groups that don't take part are left out.
pub(super) fn expect(
    cx: &mut Context,
    top: &Fields<'_>,
    groups: &[GroupSpec],
    line_of: impl Fn(usize) -> usize,
) -> Vec<Expectation> {
    let mut expectations = Vec::new();
    let items = top.array(cx, "expect").unwrap_or_default();
    too_many(cx, items.len(), EXPECTATIONS_MAX, top.get("expect"), "expect");
    for (i, item) in items.iter().enumerate() {
        let known = ["group", "output", "count", VALUES[0], VALUES[1], VALUES[2], VALUES[3]];
        let Some(fields) = Fields::open(cx, item, &format!("expect[{i}]"), &known) else { continue };
        let is_count = fields.get("count").is_some();
        let group = match is_count && fields.get("group").is_none() {
            true => Some(None),
            false => group(cx, &fields, groups).map(Some),
        };
        let what = if is_count { counted(cx, &fields) } else { output(cx, &fields) };
        let value = value(cx, &fields);
        if let (Some(group), Some((output, count)), Some(value)) = (group, what, value)
            && group.is_none_or(|group| group.enabled)
        {
            let group = group.map(|group| group.id);
            expectations.push(Expectation { group, output, count, value, line: line_of(item.at) });
        }
    }
    expectations
}

fn output(cx: &mut Context, fields: &Fields<'_>) -> Option<(String, Option<Counted>)> {
    fields.need(cx, "output", "name an output that the group's agents record, or a `count`");
    fields.text(cx, "output").map(|(text, _)| (text.to_owned(), None))
}

fn counted(cx: &mut Context, fields: &Fields<'_>) -> Option<(String, Option<Counted>)> {
    let (name, node) = fields.text(cx, "count")?;
    let path = fields.path("count");
    for (other, help) in [("output", "remove one of the two"), ("equals_output", "give the number")] {
        if fields.get(other).is_some() {
            cx.report(node.at, &path, Problem::new(format!("doesn't go with `{other}`")).help(help));
            return None;
        }
    }
    let Some((_, count)) = Counted::ALL.into_iter().find(|(known, _)| *known == name) else {
        let problem = Problem::new(format!("nothing is counted under the name `{name}`"));
        let help = nearest_name(name, Counted::ALL.map(|(known, _)| known)).unwrap_or_default();
        cx.report(node.at, &path, problem.help(help));
        return None;
    };
    if count == Counted::ErrorLines && fields.get("group").is_some() {
        cx.report(node.at, &path, Problem::new("is counted only for the whole run").help("remove `group`"));
        return None;
    }
    Some((name.to_owned(), Some(count)))
}

/// Returns the group that the key `group` names.
pub(super) fn group<'g>(cx: &mut Context, fields: &Fields<'_>, groups: &'g [GroupSpec]) -> Option<&'g GroupSpec> {
    fields.need(cx, "group", "name a group");
    let (name, node) = fields.text(cx, "group")?;
    let found = groups.iter().find(|group| group.name == name);
    if found.is_none() {
        let known = groups.iter().map(|group| group.name.as_str()).filter(|known| !known.is_empty());
        let help =
            nearest_name(name, known).unwrap_or_else(|| "the scenario has no group: add a [[groups]] table".to_owned());
        let problem = Problem::new(format!("there is no group `{name}`{}", origin(node))).help(help);
        cx.report(node.at, &fields.path("group"), problem);
    }
    found
}

fn value(cx: &mut Context, fields: &Fields<'_>) -> Option<ExpectedValue> {
    let given: Vec<(&str, &Node)> = VALUES.iter().filter_map(|key| fields.get(key).map(|node| (*key, node))).collect();
    let [(key, node)] = given[..] else {
        let what = format!("has {} of the keys that say what is expected", given.len());
        let help = "use one of `equals`, `at_least`, `at_most`, `equals_output`";
        cx.report(fields.at, &fields.path, Problem::new(what).help(help));
        return None;
    };
    let path = fields.path(key);
    Some(match key {
        "equals" => ExpectedValue::Equals(number(cx, node, &path)?),
        "at_least" => ExpectedValue::AtLeast(number(cx, node, &path)?),
        "at_most" => ExpectedValue::AtMost(number(cx, node, &path)?),
        _ => ExpectedValue::EqualsOutput(text(cx, node, &path)?.to_owned()),
    })
}
