//! The numbers that an agent draws in the calls of a frame are different ones: in each message, in the step, in the frame of a swap,
//! after a restart and in the last call, on any number of threads and in a replay from a snapshot.

use crate::common;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::Value;
use wasm_engine_abi::{agent_key, random_u64};
use wasm_engine_components::{AgentId, GroupId};

const FRAMES: u64 = 8;
const SEED: u64 = 5;
/// The stream from which the sample `dice` draws.
const THROWS: u32 = 6;

/// Runs two agents: dice/1 gets three messages in frame 2, both get another module in frame 3, dice/1 is restarted in frame 5 and ends in
/// frame 7, where it has one more message. Gives the digest of the run in `out`.
fn run(folder: &Path, out: &str, threads: &str) -> String {
    let module = common::path("agents/samples/wasm/dice.wasm");
    let scenario = format!(
        "frames = {FRAMES}\nseed = {SEED}\nmodules.dice.path = {module:?}\nmodules.again.path = {module:?}\ninput = \"e.jsonl\"
         [[groups]]\nname = \"dice\"\nmodule = \"dice\"\nagents = 2
         [[swaps]]\nframe = 3\ngroup = \"dice\"\nmodule = \"again\"\n"
    );
    let event = |frame: u64| format!("{{\"frame\": {frame}, \"to\": \"dice/1\", \"kind\": 1}}\n");
    let command =
        |frame: u64, name: &str| format!("{{\"frame\": {frame}, \"command\": \"{name}\", \"agent\": \"dice/1\"}}\n");
    let events = [event(2), event(2), event(2), command(5, "restart"), command(7, "terminate"), event(7)].concat();
    fs::write(folder.join("dice.toml"), scenario).unwrap();
    fs::write(folder.join("e.jsonl"), events).unwrap();
    let args = ["run", "dice.toml", "--out", out, "--threads", threads, "--snapshot-every", "1", "--summary", "json"];
    let output = common::engine(folder, &args);
    common::told(&output)["digest"].as_str().unwrap().to_owned()
}

/// What each agent drew in each frame, as the run's outputs say it.
fn drawn(run: &Path) -> BTreeMap<(u64, String), Vec<i64>> {
    let mut drawn: BTreeMap<_, Vec<i64>> = BTreeMap::new();
    for line in fs::read_to_string(run.join("outputs.jsonl")).unwrap().lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let at = (line["frame"].as_u64().unwrap(), line["agent"].as_str().unwrap().to_owned());
        drawn.entry(at).or_default().push(line["value"].as_i64().unwrap());
    }
    drawn
}

#[test]
fn an_agent_draws_no_number_twice_in_a_frame() {
    let folder = tempfile::tempdir().unwrap();
    let digest = run(folder.path(), "one", "1");
    assert_eq!(run(folder.path(), "two", "2"), digest);
    let replayed = common::engine(folder.path(), &["replay", "one", "--from", "2"]);
    assert!(replayed.status.success(), "{}", common::stderr(&replayed));

    let numbers = |ordinal: u32, frame: u64, indices: std::ops::Range<u32>| -> Vec<i64> {
        let key = agent_key(SEED, AgentId::new(GroupId(1), ordinal).0);
        indices.map(|index| random_u64(key, frame, THROWS, index).cast_signed()).collect()
    };
    let mut expected = BTreeMap::new();
    for (ordinal, frame) in (0..2).flat_map(|ordinal| (0..FRAMES).map(move |frame| (ordinal, frame))) {
        // What the calls before the first step of a new module ask for is dropped, and they draw all the same.
        let indices = match (ordinal, frame) {
            (_, 3) => 2..3,
            (1, 2) => 0..4,
            (1, 7) => 0..2,
            _ => 0..1,
        };
        expected.insert((frame, format!("dice/{ordinal}")), numbers(ordinal, frame, indices));
    }
    assert_eq!(drawn(&folder.path().join("one")), expected);
}
