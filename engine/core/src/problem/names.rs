//! Help for a name that nothing has.

use wasm_engine_components::text::shown;

/// Largest number of known names that a help text lists.
const NAMES_LISTED_MAX: usize = 40;

/// Returns the help for a name that isn't known: the nearest one, if any is near, and the known ones.
pub fn nearest_name<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let known: Vec<&str> = known.into_iter().collect();
    let distance = |candidate: &str| {
        let (short, long) = if name.len() < candidate.len() { (name, candidate) } else { (candidate, name) };
        // A name that was cut short, or has something added, is near however long the rest is.
        if short.len() >= 3 && long.contains(short) { 1 } else { strsim::damerau_levenshtein(name, candidate) }
    };
    let near = known
        .iter()
        .map(|candidate| (distance(candidate), *candidate))
        .filter(|(distance, candidate)| *distance <= (name.chars().count().max(candidate.chars().count()) / 2).max(1))
        .min();
    let mut list =
        known.iter().take(NAMES_LISTED_MAX).map(|name| format!("`{}`", shown(name))).collect::<Vec<_>>().join(", ");
    if known.len() > NAMES_LISTED_MAX {
        list.push_str(&format!(" and {} more", known.len() - NAMES_LISTED_MAX));
    }
    match (near, known.is_empty()) {
        (_, true) => None,
        (Some((_, near)), false) => Some(format!("did you mean `{}`? known: {list}", shown(near))),
        (None, false) => Some(format!("known: {list}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_offered_and_far_ones_listed() {
        let known = ["agents", "module"];
        assert_eq!(nearest_name("agent", known).as_deref(), Some("did you mean `agents`? known: `agents`, `module`"));
        assert_eq!(nearest_name("zzzzzzzz", known).as_deref(), Some("known: `agents`, `module`"));
        assert_eq!(nearest_name("a", []), None);
        let bad = "\u{1b}[2J\u{202e}";
        assert!(nearest_name(bad, [bad]).unwrap().chars().all(|c| !c.is_control()));
    }
}
