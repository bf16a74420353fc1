//! docs/ABI.md numbers the faults as the engine does: a supervisor is told the number.

#![allow(missing_docs)]

use wasm_engine_components::FaultKind;

#[test]
fn faults_have_the_documented_numbers() {
    let text = include_str!("../../docs/ABI.md");
    let (_, section) = text.split_once("\n### Faults\n").expect("docs/ABI.md has a table of faults");
    let rows = section.lines().skip_while(|line| !line.starts_with("|---")).skip(1);
    let names: Vec<_> = rows
        .take_while(|line| line.starts_with('|'))
        .map(|row| row.split('|').skip(1).take(2).map(str::trim).collect::<Vec<_>>().join(" "))
        .collect();
    let expected = FaultKind::ALL.map(|kind| format!("{} `{}`", kind as u8, kind.name()));
    assert_eq!(names, expected);
}
