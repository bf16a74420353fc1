//! External events: what good lines mean, and what each kind of bad one is told. The messages are in
//! `tests/data/event_errors.txt`; `BLESS=1` writes them anew.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use miette::Diagnostic as _;
use wasm_engine_abi::name_id;
use wasm_engine_components::{
    Action, AgentId, EventCounts, ExternalEvent, FrameInputs, GroupId, LifecycleAction, Recipient, TopicId,
};
use wasm_engine_core::events::{EventSource, open};
use wasm_engine_core::frame_loop::FrameSource;
use wasm_engine_core::problem::ErrorKind;
use wasm_engine_core::scenario::{LoadOptions, Scenario, load};

const SCENARIO: &str = r#"
frames = 5
topics = ["desk-0"]
modules.a.path = "a.wasm"
[[groups]]
name = "readers"
module = "a"
agents = 3
limits = { payload_bytes_max = 8 }
[[groups]]
name = "ledger"
module = "a"
agents = 1
[[groups]]
name = "narrow"
module = "a"
agents = 1
limits = { mailbox_bytes_max = 63 }
[[groups]]
name = "off"
enabled = false
module = "a"
agents = 1
[[groups]]
name = "pool"
module = "a"
agents = 0
agents_max = 10
"#;

struct Case {
    folder: tempfile::TempDir,
    scenario: Scenario,
    interrupted: Arc<AtomicBool>,
}

impl Case {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.wasm"), b"\0asm").unwrap();
        let path = folder.path().join("x.toml");
        std::fs::write(&path, SCENARIO).unwrap();
        let input = Some(folder.path().join("e.jsonl"));
        let scenario = load(&path, &LoadOptions { input, ..LoadOptions::default() }).unwrap();
        Self { folder, scenario, interrupted: Arc::new(AtomicBool::new(false)) }
    }

    fn open(&self, events: &[u8]) -> Result<EventSource, String> {
        std::fs::write(self.folder.path().join("e.jsonl"), events).unwrap();
        open(&self.scenario, Arc::clone(&self.interrupted))
            .map_err(|problem| format!("{problem:#}").replace(&format!("{}/", self.folder.path().display()), ""))
    }
}

fn agent(group: u32, ordinal: u32) -> Recipient {
    Recipient::Agent(AgentId::new(GroupId(group), ordinal))
}

fn event(to: Recipient, payload: &[u8]) -> ExternalEvent {
    ExternalEvent { to, kind: 0, correlation: 0, payload: payload.to_vec() }
}

#[test]
fn each_bad_line_is_told_what_is_wrong_where_and_what_to_do() {
    let case = Case::new();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/event_errors.txt");
    let cases = std::fs::read_to_string(&file).unwrap();
    let mut seen = String::new();
    for text in cases.split("=== ").skip(1) {
        let (title, rest) = text.split_once('\n').unwrap();
        let (lines, _) = rest.split_once("---\n").unwrap();
        let told = case.open(lines.as_bytes()).map_or_else(|told| told, |_| "no error".to_owned());
        assert!(told == "no error" || told.lines().all(|line| line.contains("; help: ")), "{told}");
        write!(seen, "=== {title}\n{lines}---\n{told}\n\n").unwrap();
    }
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&file, seen.trim_end().to_owned() + "\n").unwrap();
    } else {
        assert_eq!(cases.trim_end(), seen.trim_end(), "run with BLESS=1 if this is meant");
    }
}

#[test]
fn events_reach_their_frame_in_the_order_of_the_file() {
    let case = Case::new();
    let events = concat!(
        "\u{feff}\n",
        "{\"frame\":0,\"to\":\"readers/2\",\"kind\":2147483647,\"correlation\":18446744073709551615,\"text\":\"hé\"}\r\n",
        "{\"frame\":0,\"topic\":\"desk-0\",\"numbers\":[1,-2.5]}\n",
        "\n",
        "{\"frame\":1,\"to\":\"readers/*\",\"text\":\"all\"}\n",
        "{\"frame\":2,\"to\":\"ledger\",\"base64\":\"AQI=\"}\n",
        "{\"frame\":2,\"to\":\"off/0\",\"text\":\"nobody\"}\n",
        "{\"frame\":2,\"to\":\"ledger/0\"}\n",
        "{\"frame\":9,\"to\":\"ledger/0\"}", // after the last frame, and without a line's end
    );
    let mut source = case.open(events.as_bytes()).unwrap();
    let mut frames = Vec::new();
    let mut sum = EventCounts::default();
    while let Some(FrameInputs { events, counts, .. }) = source.next_frame(frames.len() as u64).unwrap() {
        frames.push(events);
        sum.add(&counts);
    }
    let first =
        ExternalEvent { to: agent(1, 2), kind: 0x7fff_ffff, correlation: u64::MAX, payload: "hé".as_bytes().to_vec() };
    let floats: Vec<u8> = [1.0_f32, -2.5].iter().flat_map(|n| n.to_le_bytes()).collect();
    let topic = event(Recipient::Topic(TopicId(name_id("desk-0"))), &floats);
    let all = event(Recipient::Group(GroupId(1)), b"all");
    assert_eq!(
        frames,
        [vec![first, topic], vec![all], vec![event(agent(2, 0), &[1, 2]), event(agent(2, 0), &[])], vec![], vec![],]
    );
    assert_eq!((sum, source.late_lines()), (EventCounts { delivered: 5, disabled: 1 }, 1));
}

#[test]
fn commands_reach_their_frame_in_the_order_of_the_file() {
    let case = Case::new();
    let lines = concat!(
        "{\"frame\":1,\"command\":\"pause\",\"agent\":\"readers/2\"}\n",
        "{\"frame\":1,\"to\":\"readers/2\",\"text\":\"waits\"}\n",
        "{\"frame\":1,\"command\":\"spawn\",\"group\":\"pool\",\"count\":2,\"kind\":7,\"numbers\":[1],\"type\":\"u8\"}\n",
        "{\"frame\":1,\"command\":\"resume\",\"agent\":\"readers/2#0\"}\n",
        "{\"frame\":2,\"command\":\"terminate\",\"agent\":\"pool/9#1048575\"}\n",
        "{\"frame\":2,\"command\":\"restart\",\"agent\":\"ledger\"}\n",
        "{\"frame\":2,\"command\":\"spawn\",\"group\":\"off\",\"count\":1000000}\n",
        "{\"frame\":2,\"command\":\"pause\",\"agent\":\"off/0\"}\n",
        "{\"frame\":2,\"command\":\"spawn\",\"group\":\"ledger\"}\n",
        "{\"frame\":2,\"to\":\"pool/3#2\"}\n",
        "{\"frame\":5,\"command\":\"spawn\",\"group\":\"pool\"}\n",
    );
    let mut source = case.open(lines.as_bytes()).unwrap();
    let inputs: Vec<FrameInputs> = (0..3).map(|frame| source.next_frame(frame).unwrap().unwrap()).collect();
    let order = |agent, order| Action::Agent(agent, order);
    let (reader, ledger) = (AgentId::new(GroupId(1), 2), AgentId::new(GroupId(2), 0));
    let spawn = Action::Spawn { group: GroupId(5), kind: 7, payload: vec![1] };
    assert_eq!(inputs[0], FrameInputs::default());
    assert_eq!(inputs[1].events, [event(agent(1, 2), b"waits")]);
    assert_eq!(
        inputs[1].commands,
        [order(reader, LifecycleAction::Pause), spawn.clone(), spawn, order(reader, LifecycleAction::Resume)],
        "in the order of the file"
    );
    let last = AgentId::of_generation(GroupId(5), 9, AgentId::GENERATION_MAX);
    let bare = Action::Spawn { group: GroupId(2), kind: 0, payload: Vec::new() };
    assert_eq!(
        inputs[2].commands,
        [order(last, LifecycleAction::Terminate), order(ledger, LifecycleAction::Restart), bare]
    );
    let third = AgentId::of_generation(GroupId(5), 3, 2);
    assert_eq!(inputs[2].events, [event(Recipient::Agent(third), b"")]);
    let counts = |delivered, disabled| EventCounts { delivered, disabled };
    let found: Vec<EventCounts> = inputs.iter().map(|inputs| inputs.counts).collect();
    assert_eq!(found, [counts(0, 0), counts(4, 0), counts(4, 2)], "a line counts once");
    assert_eq!(source.late_lines(), 1);
}

#[test]
fn numbers_are_packed_little_endian_in_their_type() {
    let case = Case::new();
    let cases: [(&str, &str, &[u8]); 7] = [
        ("u8", "0,255", &[0, 255]),
        ("i8", "-128,127", &[0x80, 0x7f]),
        ("i32", "-2147483648", &[0, 0, 0, 0x80]),
        ("u32", "4294967295", &[255, 255, 255, 255]),
        ("i64", "-2", &[254, 255, 255, 255, 255, 255, 255, 255]),
        ("f32", "0.1", &[0xcd, 0xcc, 0xcc, 0x3d]),
        ("f64", "1", &[0, 0, 0, 0, 0, 0, 0xf0, 0x3f]),
    ];
    for (number_type, numbers, bytes) in cases {
        let line = format!("{{\"frame\":0,\"to\":\"readers/0\",\"type\":\"{number_type}\",\"numbers\":[{numbers}]}}");
        let inputs = case.open(line.as_bytes()).unwrap().next_frame(0).unwrap().unwrap();
        assert_eq!(inputs.events[0].payload, bytes, "{number_type}");
    }
}

/// A mailbox of 63 bytes holds a header of 48 and a payload of 8, which padding makes of any from 1 to 8.
#[test]
fn an_event_fits_its_recipients_mailbox() {
    let case = Case::new();
    for text in ["", "1", "12345678"] {
        let line = format!("{{\"frame\":0,\"to\":\"narrow\",\"text\":\"{text}\"}}");
        let inputs = case.open(line.as_bytes()).unwrap().next_frame(0).unwrap().unwrap();
        assert_eq!(inputs.events, [event(agent(3, 0), text.as_bytes())]);
    }
    let told = case.open(b"{\"frame\":0,\"to\":\"narrow\",\"text\":\"123456789\"}").map(|_| ()).unwrap_err();
    let help = "its recipient takes at most 8, because of its group's `mailbox_bytes_max`";
    assert_eq!(told, format!("e.jsonl:1: text: the payload has 9 bytes, more than the limit; help: {help}"));
}

#[test]
fn a_line_that_turns_bad_after_the_check_ends_the_run_as_bad_input() {
    let case = Case::new();
    let mut source = case.open(b"{\"frame\":0,\"to\":\"ledger\"}\n{\"frame\":3,\"to\":\"ledger\"}\n").unwrap();
    std::fs::write(case.folder.path().join("e.jsonl"), b"{\"frame\":0,\"to\":\"ledger\"}\n{\"frame\":\n").unwrap();
    let error = source.next_frame(0).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Input, "{error:?}");
    assert!(format!("{error:#}").contains("e.jsonl:2"), "{error}");
    // A printer of diagnostics shows the line, which is the second of the file.
    let label = error.labels().and_then(|mut labels| labels.next()).unwrap();
    let shown = error.source_code().unwrap().read_span(label.inner(), 0, 0).unwrap();
    assert_eq!(shown.line(), 1);
    assert!(shown.name().unwrap().ends_with("e.jsonl"));
}

#[test]
fn a_line_that_is_too_long_is_not_held() {
    let case = Case::new();
    let mut line = b"{\"frame\":0,\"to\":\"ledger\",\"text\":\"".to_vec();
    line.resize((16 << 20) + 10, b'x');
    let told = case.open(&line).map(|_| ()).unwrap_err();
    assert_eq!(told, "e.jsonl:1: the line is longer than 16,777,216 bytes; help: send less in one event");
}

#[test]
fn a_source_ends_when_the_run_is_asked_to() {
    let case = Case::new();
    let mut source = case.open(b"").unwrap();
    assert_eq!(source.next_frame(0), Ok(Some(FrameInputs::default())));
    case.interrupted.store(true, Ordering::Relaxed);
    assert_eq!(source.next_frame(1), Ok(None));
}

#[test]
fn an_events_file_must_be_a_file() {
    let mut case = Case::new();
    case.scenario.input = Some(case.folder.path().to_path_buf());
    let told = format!("{:#}", open(&case.scenario, Arc::default()).map(|_| ()).unwrap_err());
    assert!(
        told.ends_with(": is a folder, an events file is needed; help: name an events file, or `-` for standard input")
    );
    case.scenario.input = Some(case.folder.path().join("no.jsonl"));
    let told = format!("{:#}", open(&case.scenario, Arc::default()).map(|_| ()).unwrap_err());
    assert!(told.ends_with("no.jsonl: doesn't exist; help: name an events file, or `-` for standard input"), "{told}");
}
