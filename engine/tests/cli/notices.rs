//! What a summary says of agents that faulted, and expectations of how many did and of how many there are.

use std::fs;
use std::path::Path;
use std::process::Output;

use crate::common::{counting_module, engine, stderr, summary};

/// What agents do that loop for ever in their second step.
const LOOPING: &str = "(if (i32.ge_u (global.get $n) (i32.const 2)) (then (loop $l (br $l))))";

fn run(folder: &Path, expect: &str, more: &[&str]) -> Output {
    fs::write(folder.join("a.wasm"), counting_module(LOOPING)).unwrap();
    let text = format!(
        "frames = 6\nmodules.a.path = \"a.wasm\"\n[[groups]]\nname = \"market\"\nmodule = \"a\"\nagents = 2\n\
         on_fault = \"terminate\"\nlimits = {{ fuel_per_step_max = 20000 }}\n{expect}"
    );
    fs::write(folder.join("s.toml"), text).unwrap();
    engine(folder, &[&["run", "s.toml", "--no-record"], more].concat())
}

#[test]
fn a_summary_shows_the_first_fault_of_a_group_with_its_limit() {
    let folder = tempfile::tempdir().unwrap();
    let output = run(folder.path(), "", &[]);
    let text = String::from_utf8(output.stdout).unwrap();
    let first =
        "market/0 ended in frame 2: 20,000 of fuel in a step, all that limits.fuel_per_step_max = 20,000 allows";
    assert!(text.contains(&format!("\nfaults of market: out_of_fuel 2\n  first: {first}\n")), "{text}");
    let json = summary(&run(folder.path(), "", &["--summary", "json"]));
    let found = &json["groups"]["market"]["first_fault"];
    assert_eq!((&found["text"], &found["frame"]), (&first.into(), &2.into()), "{json}");
    assert_eq!(found["limit"], serde_json::json!({ "key": "fuel_per_step_max", "value": 20_000, "reached": 20_000 }));
    assert_eq!((&found["agent"], &found["kind"]), (&"market/0".into(), &"out_of_fuel".into()));
    assert_eq!(json["error_lines"], serde_json::json!({ "count": 0 }));
}

#[test]
fn a_run_whose_agents_all_died_fails_where_that_is_not_expected() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let expect = |group: &str, rest: &str| format!("[[expect]]\n{group}{rest}\n");
    let cases = [
        ("count = \"agents\"\nat_least = 1", Err("agents is at least 1: it is 0")),
        ("count = \"faults\"\nequals = 0", Err("faults equals 0: it is 2")),
        ("count = \"faults\"\nat_most = 2", Ok(())),
        ("count = \"agents\"\nequals = 0", Ok(())),
    ];
    for (group, name) in [("", "the run"), ("group = \"market\"\n", "market")] {
        for (rest, expected) in cases {
            let output = run(folder, &expect(group, rest), &["--quiet"]);
            match expected {
                Ok(()) => assert_eq!(output.status.code(), Some(0), "{}", stderr(&output)),
                Err(told) => {
                    assert_eq!(output.status.code(), Some(1));
                    assert!(stderr(&output).contains(&format!("{name}: {told}")), "{}", stderr(&output));
                }
            }
        }
    }
    assert_eq!(run(folder, &expect("", "count = \"error_lines\"\nequals = 0"), &[]).status.code(), Some(0));
    let bad = [
        ("count = \"deaths\"\nequals = 0", "nothing is counted under the name `deaths`"),
        ("count = \"faults\"\noutput = \"x\"\nequals = 0", "doesn't go with `output`"),
        ("count = \"faults\"\nequals_output = \"x\"", "doesn't go with `equals_output`"),
        ("group = \"market\"\ncount = \"error_lines\"\nequals = 0", "is counted only for the whole run"),
    ];
    for (text, told) in bad {
        let output = run(folder, &expect("", text), &[]);
        assert_eq!(output.status.code(), Some(2));
        assert!(stderr(&output).contains(told), "{}", stderr(&output));
    }
}

#[test]
fn events_over_their_budget_are_told_of_once_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    fs::write(folder.join("a.wasm"), counting_module("(nop)")).unwrap();
    let text = "frames = 6\ninput = \"events.jsonl\"\ntopics = [\"news\"]\nmodules.a.path = \"a.wasm\"\n\
                [scheduler]\nhost_deliveries_per_frame_max = 7\n[[groups]]\nname = \"market\"\nmodule = \"a\"\nagents = 5\n\
                subscribe = [\"news\"]\n";
    fs::write(folder.join("s.toml"), text).unwrap();
    // The first one of a frame has room, the others have none.
    let events = "{\"frame\":2,\"topic\":\"news\"}\n".repeat(3) + &"{\"frame\":3,\"to\":\"market/*\"}\n".repeat(2);
    fs::write(folder.join("events.jsonl"), events).unwrap();
    let output = engine(folder, &["run", "s.toml", "--no-record", "--summary", "json"]);
    assert_eq!(summary(&output)["events"]["lost"], 3, "{}", stderr(&output));
    let told = stderr(&output).lines().filter(|line| line.starts_with("warning: ")).collect::<Vec<_>>();
    let expected = "warning: 2 events of frame 2 reached nobody, and messages were over a budget of deliveries: what events to topics and \
                    groups may cost in one frame is scheduler.host_deliveries_per_frame_max = 7; the summary counts all of them \
                    (`events.lost`), and no more is said of it";
    assert_eq!(told, [expected]);
}

#[test]
fn what_holds_in_a_run_that_is_not_at_its_end_holds_so_far() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let expect = "[[expect]]\ncount = \"faults\"\nat_most = 1\n[[expect]]\ncount = \"faults\"\nat_least = 2\n";
    let marks = |more: &[&str]| {
        let output = run(folder, expect, more);
        let text = String::from_utf8(output.stdout).unwrap();
        let lines = text.lines().filter(|line| line.contains("the run: faults")).map(str::to_owned).collect::<Vec<_>>();
        (output.status.code(), lines)
    };
    // The agents fault in frame 2.
    assert_eq!(
        marks(&["--frames", "2"]),
        (
            Some(0),
            vec![
                "so far   the run: faults is at most 1: it is 0".to_owned(),
                "not due  the run: faults is at least 2: it is 0".to_owned()
            ]
        )
    );
    assert_eq!(
        marks(&[]),
        (
            Some(1),
            vec![
                "UNMET    the run: faults is at most 1: it is 2".to_owned(),
                "met      the run: faults is at least 2: it is 2".to_owned()
            ]
        )
    );
    let json = summary(&run(folder, expect, &["--frames", "2", "--summary", "json"]));
    assert_eq!((&json["expectations"][0]["met"], &json["expectations"][0]["due"]), (&true.into(), &false.into()));
}
