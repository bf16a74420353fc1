//! What is said on standard error, by how much of it was asked for, and in which form.

use std::path::Path;
#[cfg(unix)]
use std::{io::Read as _, process::Stdio};

use serde_json::Value;

#[cfg(unix)]
use crate::common::terminal::Terminal;
use crate::common::{self, LINE_KEYS, RING, engine, path, said_as_json, stderr, summary};

const TOUR: &str = "agents/scenarios/kernel-tour.toml";

/// Runs a ring for 30 frames with snapshots before the frames 10 and 20.
fn ring(folder: &Path, out: &str, options: &[&str]) -> (Value, String) {
    let ring = path(RING);
    let args = ["run", &ring, "--frames", "30", "--snapshot-every", "10", "--summary", "json", "--out", out];
    let output = engine(folder, &[&args, options].concat());
    let mut summary = summary(&output);
    for key in ["wall_s", "run_dir", "threads", "frames_per_s", "steps_per_s"] {
        summary.as_object_mut().unwrap().remove(key);
    }
    (summary, stderr(&output).to_owned())
}

#[test]
fn more_is_said_where_it_is_asked_for_and_each_thing_once() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (quiet, told) = ring(folder, "default", &[]);
    assert_eq!(told, "", "a run that goes well has nothing to say");
    let (verbose, told) = ring(folder, "v", &["-v"]);
    assert_eq!(verbose["digest"], quiet["digest"]);
    assert!(told.lines().all(|line| line.starts_with("info: ")), "{told}");
    let once = |text: &str, words: &str| {
        assert_eq!(text.lines().filter(|line| line.contains(words)).count(), 1, "{words}: {text}");
    };
    for words in [
        "info: a simulation is built ",
        "info: a module",
        "info: a snapshot is written ",
        "info: a segment of the journal is sealed ",
        "info: the tables are closed ",
        "info: run ended first_frame=0 is_failed=false ms=",
    ] {
        // The last one is that of the end.
        let expected = if words.contains("snapshot") { 3 } else { 1 };
        assert_eq!(told.lines().filter(|line| line.starts_with(words)).count(), expected, "{words}: {told}");
    }
    let (frames, told) = ring(folder, "vv", &["-vv"]);
    assert_eq!(frames["digest"], quiet["digest"]);
    assert_eq!(told.lines().filter(|line| line.starts_with("debug: frame ended ")).count(), 30, "{told}");
    assert!(!told.contains("trace: "), "{told}");
    once(&told, " number=29");
    for threads in ["1", "2"] {
        let out = format!("vvv-{threads}");
        let (all, told) = ring(folder, &out, &["-vvv", "--threads", threads]);
        assert_eq!(all["digest"], quiet["digest"]);
        let systems = told.lines().filter(|line| line.starts_with("trace: system ended ")).count();
        assert_eq!(systems, 29 * 30);
        assert_eq!(told.lines().filter(|line| line.contains("name=step_agents")).count(), 30);
    }
}

#[test]
fn warnings_and_notes_can_be_left_out_and_errors_cannot() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    // A tour that ends before its expectations are met.
    let there = path("agents/scenarios");
    let text = std::fs::read_to_string(path(TOUR)).unwrap().replace("\nframes = 200\n", "\nframes = 170\n");
    let text = text.replace("../samples", &format!("{there}/../samples"));
    std::fs::write(folder.join("s.toml"), text.replace("kernel-tour/", &format!("{there}/kernel-tour/"))).unwrap();
    let run = |out: &str, more: &[&str]| engine(folder, &[&["run", "s.toml", "--out", out][..], more].concat());
    let (plain, bare) = (run("plain", &[]), run("bare", &["-q"]));
    assert_eq!((plain.status.code(), bare.status.code()), (Some(1), Some(1)));
    assert!(stderr(&plain).starts_with("warning: group `watchers` keeps its module"), "{}", stderr(&plain));
    let errors: Vec<&str> = stderr(&plain).lines().filter(|line| line.starts_with("error: ")).collect();
    let kept: Vec<&str> = stderr(&bare).lines().collect();
    assert!(!errors.is_empty(), "{}", stderr(&plain));
    assert_eq!(kept.len(), errors.len(), "{kept:?}");
    assert!(kept.iter().all(|line| line.starts_with("error: ")));
    assert!(!bare.stdout.is_empty(), "the result is printed");
    let goes_on = |name: &str, more: &[&str]| {
        let output = engine(folder, &[&["resume", name, "--frames", "171"], more].concat());
        stderr(&output).lines().filter(|line| line.contains("recorded")).count()
    };
    assert_eq!((goes_on("plain", &[]), goes_on("bare", &["-q"])), (1, 0), "a note says what `resume` runs");
    let bad = engine(folder, &["-q", "run", "no.toml"]);
    assert_eq!(bad.status.code(), Some(2));
    assert!(stderr(&bad).starts_with("error: the file `no.toml` doesn't exist\n  help: "), "{}", stderr(&bad));
    assert_eq!(engine(folder, &["doctor", "-q", "-v"]).status.code(), Some(2), "one or the other");
}

#[test]
fn as_json_each_line_is_an_object_and_nothing_else_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let tour = path(TOUR);
    let args = ["run", &tour, "--frames", "170", "--out", "run", "--log", "json"];
    let output = engine(folder, &args);
    let lines = said_as_json(stderr(&output));
    let warned = lines.iter().find(|line| line["level"] == "WARN").unwrap();
    assert!(warned["message"].as_str().unwrap().starts_with("group `watchers` keeps its module"), "{warned}");
    // Errors, with what to do, of each sort: of a command, of the command line itself, and of many at once.
    let cases: [(&[&str], &str); 4] = [
        (&["run", "no.toml", "--log", "json"], "the file `no.toml` doesn't exist"),
        (&["--log=json", "run"], "the following required arguments were not provided"),
        (&["run", &tour, "--log", "json", "--frames", "none"], "invalid value 'none'"),
        (&["inspect", "nowhere", "--log=json"], "nowhere"),
    ];
    for (args, message) in cases {
        let output = engine(folder, args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        let lines = said_as_json(stderr(&output));
        assert_eq!(lines.len(), 1, "{args:?}: {lines:?}");
        assert_eq!(lines[0]["level"], "ERROR");
        assert!(lines[0]["help"].is_string(), "{args:?}: {lines:?}");
        assert!(lines[0]["message"].as_str().unwrap().starts_with(message), "{args:?}: {lines:?}");
    }
    let unknown = engine(folder, &["run", "no.toml", "--colour", "--log", "json"]);
    let line = &said_as_json(stderr(&unknown))[0];
    assert_eq!(line["message"], "unexpected argument '--colour' found");
    assert!(line["help"].as_str().is_some_and(|help| help.contains("Usage: wasm-engine run")), "{line}");
    let missing = engine(folder, &["run", "no.toml", "--log", "json"]);
    assert_eq!(said_as_json(stderr(&missing))[0]["help"], "name a scenario file, such as my-scenario.toml");
    let (_, told) = ring(folder, "all", &["--log", "json", "-vvv"]);
    let lines = said_as_json(&told);
    let step = lines.iter().find(|line| line["fields"]["name"] == "step_agents").unwrap();
    assert_eq!((&step["message"], &step["level"]), (&"system ended".into(), &"TRACE".into()));
    assert!(step["fields"]["ms"].as_f64().is_some_and(|ms| ms >= 0.0), "{step}");
    let spans: Vec<_> = step["spans"].as_array().unwrap().iter().map(|span| span["span"].as_str().unwrap()).collect();
    assert_eq!(spans, ["run", "frame", "stage"], "{step}");
    assert_eq!((&step["spans"][1]["number"], &step["spans"][2]["name"]), (&0.into(), &"step".into()), "{step}");
}

#[test]
fn the_keys_of_a_line_are_those_that_the_documents_explain() {
    let text = std::fs::read_to_string(common::root().join("docs/CLI.md")).unwrap();
    let (_, table) = text.split_once("An object of `--log json` has these keys").unwrap();
    let rows = table.lines().skip_while(|line| !line.starts_with("| `")).take_while(|line| line.starts_with("| `"));
    let keys: Vec<&str> = rows.map(|row| row.split('`').nth(1).unwrap()).collect();
    let (always, maybe) = LINE_KEYS;
    assert_eq!(keys, [&always[..], &maybe[..]].concat());
}

/// Before the name of the command and after it, they are the same options.
#[test]
fn what_is_asked_for_in_two_places_adds_up_or_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let ring = path(RING);
    let run = |before: &[&str], after: &[&str]| {
        let args = ["run", &ring, "--frames", "3", "--no-record"];
        let output = engine(folder, &[before, &args, after].concat());
        (output.status.code(), stderr(&output).to_owned())
    };
    let has = |(status, told): (Option<i32>, String), what: &str| {
        assert!(matches!(status, Some(0 | 1)), "{told}");
        told.lines().any(|line| line.starts_with(what))
    };
    for (before, after, level) in [
        (&["-v"][..], &[][..], 1),
        (&[], &["-v"], 1),
        (&["-v"], &["-v"], 2),
        (&["-vv"], &[], 2),
        (&["-v"], &["-vv"], 3),
        (&["-vv", "--verbose"], &["-v"], 3),
    ] {
        let told = run(before, after);
        for (at, what) in [(1, "info: "), (2, "debug: "), (3, "trace: ")] {
            assert_eq!(has(told.clone(), what), level >= at, "{before:?} {after:?}: {what}");
        }
    }
    for (before, after, why) in [
        (&["-v"][..], &["-q"][..], "the argument '--errors-only' cannot be used with '--verbose...'"),
        (&["-q"], &["-v"], "the argument '--errors-only' cannot be used with '--verbose...'"),
        (&[], &["-q", "-v"], "cannot be used with"),
        (&["-q", "-v"], &[], "cannot be used with"),
        (&["-q"], &["-q"], "the argument '--errors-only' cannot be used multiple times"),
        (&["--log", "text"], &["--log", "text"], "the argument '--log <FORM>' cannot be used multiple times"),
    ] {
        let (status, told) = run(before, after);
        assert!(status == Some(2) && told.starts_with("error: ") && told.contains(why), "{before:?} {after:?}: {told}");
    }
    #[cfg(feature = "inference")]
    for args in [["-v", "model", "check", "-q"], ["model", "-v", "check", "-q"], ["-q", "model", "-v", "check"]] {
        let output = engine(folder, &[&args[..], &["m.onnx"]].concat());
        assert!(output.status.code() == Some(2) && stderr(&output).contains("cannot be used"), "{args:?}");
    }
}

/// Where ONNX Runtime must be fetched and can't be, `-q` leaves what is fetched and the one error that comes of it.
#[test]
#[cfg(feature = "inference")]
fn a_fetch_that_fails_is_one_error_whatever_is_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let [module, model] = ["agents/samples/wasm/ring.wasm", "engine/tests/models/seq.onnx"].map(path);
    let text = format!(
        "frames = 1\nmodules.ring.path = '{module}'\nmodels.m.path = '{model}'\n[[groups]]\nname = \"ring\"\nmodule = \"ring\"\nagents = 4\n"
    );
    std::fs::write(folder.join("s.toml"), text).unwrap();
    for (form, options) in [("text", ["-q", "--log", "text"]), ("json", ["-q", "--log", "json"])] {
        let mut command = common::wasm_engine(folder);
        command.args(["run", "s.toml", "--no-record"]).args(options).env_remove("ORT_DYLIB_PATH");
        let output = command.env("PATH", "").env("WASM_ENGINE_CACHE_DIR", folder.join(form)).output().unwrap();
        assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
        let told: Vec<String> = match form {
            "text" => stderr(&output).lines().map(str::to_owned).collect(),
            _ => said_as_json(stderr(&output))
                .iter()
                .map(|line| format!("{}: {}", line["level"], line["message"]))
                .collect(),
        };
        let [note, error] = &told[..] else { panic!("{told:?}") };
        assert!(note.contains("fetching it once with pip"), "{told:?}");
        assert!(error.contains("couldn't be fetched into") && error.contains("on a machine that has pip"), "{told:?}");
        assert!(error.to_lowercase().trim_start_matches('"').starts_with("error"), "{told:?}");
    }
}

/// Each wrong scenario of the goldens is told in JSON as it is in lines.
#[test]
fn problems_are_the_same_in_both_forms() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    std::fs::copy(common::root().join("agents/samples/wasm/ring.wasm"), folder.join("ring.wasm")).unwrap();
    let good =
        "frames = 2\nmodules.ring.path = \"ring.wasm\"\n[[groups]]\nname = \"ring\"\nmodule = \"ring\"\nagents = 4\n";
    for (from, to) in [
        ("frames = 2", "farmes = 2"),
        ("frames = 2", "frames = \"two\""),
        ("frames = 2", "frames = 2\n= 3"),
        ("ring.wasm\"", "r\\u001b[2J\\n.wasm\""),
        ("module = \"ring\"", "module = \"rong\""),
        ("agents = 4", "agents = 0\nagents_max = -1"),
        ("name = \"ring\"", "name = \"\\u202e\""),
    ] {
        std::fs::write(folder.join("s.toml"), good.replace(from, to)).unwrap();
        let lines = engine(folder, &["run", "s.toml"]);
        let json = engine(folder, &["run", "s.toml", "--log", "json"]);
        assert_eq!((lines.status.code(), json.status.code()), (Some(2), Some(2)), "{to}: {}", stderr(&lines));
        let json: Vec<Value> = said_as_json(stderr(&json));
        let errors = stderr(&lines).lines().filter(|line| line.starts_with("error: ")).count();
        assert!(errors > 0 && json.len() == errors, "{to}: {json:?}: {}", stderr(&lines));
        for line in json {
            let message = line["message"].as_str().unwrap();
            assert!(stderr(&lines).contains(&format!("error: {message}\n")), "{to}: {message}: {}", stderr(&lines));
        }
    }
}

/// What a terminal gets to see of a run of the ring, as standard error.
#[cfg(unix)]
fn on_a_terminal(folder: &Path, frames: &str, options: &[&str]) -> String {
    let mut command = common::wasm_engine(folder);
    command.args(["run", &path(RING), "--frames", frames]).args(options);
    let terminal = Terminal::open();
    command.env("TERM", "xterm").stdin(Stdio::null()).stdout(Stdio::null()).stderr(terminal.stdio());
    let mut child = command.spawn().unwrap();
    drop(command);
    let (mut screen, mut seen) = (terminal.into_screen(), Vec::new());
    // A terminal whose programs have ended has no more to read, which is an error.
    let _ = screen.read_to_end(&mut seen);
    assert!(child.wait().unwrap().success());
    String::from_utf8(seen).unwrap()
}

/// What is said while a bar is drawn stands on lines of its own above it. Where errors alone or JSON are asked for, there is no bar.
#[test]
#[cfg(unix)]
fn the_bar_makes_room_for_what_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let said = "info: a snapshot is written ";
    let seen = on_a_terminal(folder, "400", &["--snapshot-every", "50", "-v", "--out", "bar"]);
    assert!(seen.contains("frames/s"), "{seen:?}");
    assert_eq!(seen.matches(said).count(), 8, "{seen:?}");
    for (at, _) in seen.match_indices(said) {
        // What was before it on its line has been cleared.
        let before = seen[..at].trim_end_matches("\u{1b}[2K");
        assert!(before.is_empty() || before.ends_with(['\r', '\n']), "{at}: {seen:?}");
        assert!(seen[at..].lines().next().unwrap().contains(" ms="), "{seen:?}");
    }
    for (out, options) in [("bare", ["-q", "--no-record"]), ("json", ["--log=json", "--no-record"])] {
        let seen = on_a_terminal(folder, "60", &[&options[..], &["--out", out]].concat());
        assert_eq!(seen, "", "{options:?}");
    }
}
