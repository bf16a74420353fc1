//! docs/ABI.md says what the code says: each table of it is compared with the definitions of this crate.

#![allow(missing_docs)]
#![expect(clippy::disallowed_methods, reason = "it reads the document that it compares with")]

use std::collections::BTreeMap;
use std::fmt::Debug;

use wasm_engine_abi::agent_id::{GENERATION_SHIFT, GROUP_MAX, GROUP_SHIFT};
use wasm_engine_abi::message::{sender, status};
use wasm_engine_abi::{
    ABI_VERSION, BounceReason, CallKind, Capability, EXPORT_EXCHANGE, EXPORT_EXPORT_STATE, EXPORT_IMPORT_STATE,
    EXPORT_INIT, EXPORT_MEMORY, EXPORT_RECEIVE, EXPORT_SHUTDOWN, EXPORT_STEP, EngineKind, ExchangeHeader, FaultNotice,
    FrameContext, IMPORT_MODULE, InferenceStatus, MAGIC, MessageHeader, Op, OutboxHeader, RecordType, RegionView,
    exchange, kind, name_id, philox4x32,
};

/// The cells of a row, without backticks.
type Row = Vec<String>;

/// The text, and the rows of the first table under each heading, without the table's head.
fn document() -> (String, BTreeMap<String, Vec<Row>>) {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/ABI.md");
    let text = std::fs::read_to_string(path).expect("docs/ABI.md is there");
    let mut tables = BTreeMap::new();
    for section in text.split("\n#").skip(1) {
        let (heading, body) = section.split_once('\n').unwrap_or((section, ""));
        let lines = body.lines().skip_while(|line| !line.starts_with("|---")).skip(1);
        let rows = lines.take_while(|line| line.starts_with('|')).map(cells).collect();
        tables.insert(heading.trim_start_matches(['#', ' ']).to_owned(), rows);
    }
    (text, tables)
}

fn cells(line: &str) -> Row {
    line.trim_matches('|').split('|').map(|cell| cell.trim().replace('`', "")).collect()
}

fn number(text: &str) -> u64 {
    let parsed = match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    };
    parsed.unwrap_or_else(|_| panic!("`{text}` isn't a number"))
}

/// Size of the field that a function reads.
const fn field_bytes<T, F>(_: fn(&T) -> &F) -> usize {
    size_of::<F>()
}

macro_rules! check_struct {
    ($tables:expr, $name:ident { $($field:ident),* $(,)? }) => {{
        let heading = format!("{}: {} bytes", stringify!($name), size_of::<$name>());
        let rows = $tables.get(&heading).unwrap_or_else(|| panic!("docs/ABI.md has no heading `{heading}`"));
        let expected = [$((
            stringify!($field),
            core::mem::offset_of!($name, $field),
            field_bytes::<$name, _>(|all| &all.$field),
        )),*];
        let last = expected.last().expect("a record has fields");
        assert_eq!(last.1 + last.2, size_of::<$name>(), "{heading}: this test doesn't list all fields");
        assert_eq!(rows.len(), expected.len(), "{heading}");
        for (row, (field, offset, bytes)) in rows.iter().zip(expected) {
            assert_eq!(row[3], field, "{heading}");
            assert_eq!(number(&row[0]), offset as u64, "offset of {field} in {heading}");
            assert_eq!(number(&row[1]), bytes as u64, "size of {field} in {heading}");
            assert_eq!(type_bytes(&row[2]), bytes as u64, "type of {field} in {heading}");
        }
    }};
}

/// Size of a type as the document writes it: `u32`, `u32[10]`.
fn type_bytes(text: &str) -> u64 {
    let (element, count) = text.split_once('[').unwrap_or((text, "1]"));
    let bits = number(element.strip_prefix('u').expect("fields are unsigned"));
    bits / 8 * number(count.trim_end_matches(']'))
}

/// Compares a table of numbers and names.
fn check_numbers<T: Debug>(tables: &BTreeMap<String, Vec<Row>>, heading: &str, expected: &[(u64, T)]) {
    let rows = tables.get(heading).unwrap_or_else(|| panic!("docs/ABI.md has no heading `{heading}`"));
    let found: Vec<_> = rows.iter().map(|row| (number(&row[0]), row[1].clone())).collect();
    let expected: Vec<_> =
        expected.iter().map(|(number, name)| (*number, format!("{name:?}").replace('"', ""))).collect();
    assert_eq!(found, expected, "{heading}");
}

#[test]
fn records_are_laid_out_as_documented() {
    let (_, tables) = document();
    check_struct!(
        tables,
        ExchangeHeader {
            magic,
            abi_version,
            inbox_offset,
            inbox_bytes_max,
            outbox_offset,
            outbox_bytes_max,
            regions_address,
            regions_bytes_max,
            reserved,
        }
    );
    check_struct!(tables, RegionView { region, version, address, bytes });
    check_struct!(
        tables,
        FrameContext {
            frame,
            agent,
            random_key,
            group,
            ordinal,
            inbox_records,
            inbox_bytes,
            call,
            frame_period_us,
            credits,
            refused,
            outbox_records,
            outbox_bytes,
        }
    );
    check_struct!(tables, MessageHeader { sender, topic, correlation, frame, sequence, kind, status, payload_bytes });
    check_struct!(tables, OutboxHeader { target, correlation, op, kind, payload_bytes, deadline_frames });
    check_struct!(tables, FaultNotice { agent, frame, fault, detail, faults, escalated });
}

#[test]
fn numbers_have_the_documented_names() {
    let (_, tables) = document();
    let calls = [CallKind::Init, CallKind::Step, CallKind::Shutdown];
    check_numbers(&tables, "CallKind", &calls.map(|call| (call as u64, call)));
    // STATE stands with what a swap adds.
    let kinds = EngineKind::ALL.into_iter().filter(|&kind| kind != EngineKind::State);
    let kinds: Vec<_> = kinds.map(|kind| (u64::from(kind as u32), kind.name().to_uppercase())).collect();
    check_numbers(&tables, "MessageKind", &kinds);
    let statuses = [
        (status::PLAIN, "PLAIN"),
        (status::REQUEST, "REQUEST"),
        (status::REPLY, "REPLY"),
        (status::BROADCAST, "BROADCAST"),
    ];
    check_numbers(&tables, "MessageStatus", &statuses.map(|(number, name)| (u64::from(number), name)));
    let senders = [(sender::ENGINE, "ENGINE"), (sender::EXTERNAL, "EXTERNAL"), (sender::NATIVE, "NATIVE")];
    check_numbers(&tables, "Sender", &senders);
    check_numbers(&tables, "InferenceStatus", &InferenceStatus::ALL.map(|status| (status as u64, status)));
    check_numbers(&tables, "BounceReason", &BounceReason::ALL.map(|reason| (reason as u64, reason)));
    let ops: Vec<_> = (0..100).filter_map(|op| Some((u64::from(op), Op::from_number(op)?))).collect();
    check_numbers(&tables, "Op", &ops);
    let records: Vec<_> = (0..100).filter_map(|kind| Some((u64::from(kind), RecordType::from_number(kind)?))).collect();
    check_numbers(&tables, "RecordType", &records);
    let bits: Vec<_> = Capability::ALL.iter().map(|&c| (u64::from((c as u32).trailing_zeros()), c.name())).collect();
    check_numbers(&tables, "Capabilities", &bits);
}

/// Each operation stands with the capability that it needs, and with no other.
#[test]
fn capabilities_allow_the_documented_operations() {
    let (_, tables) = document();
    for (row, capability) in tables["Capabilities"].iter().zip(Capability::ALL) {
        let allowed: Vec<_> =
            row[2].split([' ', ',', ';']).filter(|word| word.starts_with(char::is_uppercase)).collect();
        let ops = (0..100).filter_map(Op::from_number).filter(|op| op.capability() == capability);
        assert_eq!(allowed, ops.map(|op| format!("{op:?}")).collect::<Vec<_>>(), "{}", capability.name());
    }
    let denied = tables["Faults"].iter().find(|row| row[1] == "denied").expect("a row of the fault `denied`");
    let powers = Capability::ALL.map(|capability| format!("{} {}", capability as u32, capability.name())).join(", ");
    assert!(denied[2].ends_with(&powers), "the fault `denied` doesn't say `{powers}`");
}

#[test]
fn ids_are_put_together_as_documented() {
    let (text, tables) = document();
    let bits: Vec<_> = tables["Agents' ids"].iter().map(|row| (row[0].as_str(), row[1].as_str())).collect();
    let expected = [
        (format!("0 to {}", GROUP_SHIFT - 1), "ordinal"),
        (format!("{GROUP_SHIFT} to {}", GENERATION_SHIFT - 1), "group"),
        (format!("{GENERATION_SHIFT} to {}", u64::BITS - 1), "generation"),
    ];
    assert_eq!(bits, expected.each_ref().map(|(bits, name)| (bits.as_str(), *name)));
    assert!(text.contains(&format!("rotated left by {} bits", u64::BITS - GENERATION_SHIFT)));
    assert!(text.contains(&format!("GROUP_MAX = {GROUP_MAX:#x}")), "the example in C masks another group");
    assert!(text.contains(&format!("sender >> {GROUP_SHIFT} & GROUP_MAX")), "the example in C shifts another way");
}

/// Faults are defined in components, where a test compares the names. Here: each number and each name is there once.
#[test]
fn faults_are_numbered_from_0() {
    let (_, tables) = document();
    let rows = &tables["Faults"];
    assert!(rows.iter().map(|row| number(&row[0])).eq(0..rows.len() as u64));
    let mut names: Vec<_> = rows.iter().map(|row| &row[1]).collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), rows.len());
}

#[test]
fn exports_and_constants_are_documented() {
    let (text, tables) = document();
    let exports: Vec<_> = tables["Exports"].iter().map(|row| row[0].as_str()).collect();
    let expected = [
        EXPORT_MEMORY,
        EXPORT_EXCHANGE,
        EXPORT_INIT,
        EXPORT_STEP,
        EXPORT_RECEIVE,
        EXPORT_SHUTDOWN,
        EXPORT_EXPORT_STATE,
        EXPORT_IMPORT_STATE,
    ];
    assert_eq!(exports, expected);

    let header = &tables["ExchangeHeader: 64 bytes"];
    assert_eq!(number(header[0][4].split(',').next().expect("a number")), u64::from(MAGIC));
    assert_eq!(number(&header[1][4]), u64::from(ABI_VERSION));
    assert_eq!(number(&tables["The exchange block"][1][0]), u64::from(exchange::CONTEXT_OFFSET));

    let mut said = vec![
        format!("`{IMPORT_MODULE}`"),
        format!("`\"\"` is {:#x}, `\"a\"` is {:#x}", name_id(""), name_id("a")),
        format!("{:#x} or more", kind::RESERVED),
    ];
    for words in [philox4x32([0; 4], [0; 2]), philox4x32([u32::MAX; 4], [u32::MAX; 2])] {
        said.push(words.map(|word| format!("{word:08x}")).join(" "));
    }
    // Lines are broken anywhere.
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    for words in said {
        assert!(text.contains(&words), "docs/ABI.md doesn't say `{words}`");
    }
}

#[test]
fn what_a_swap_adds_is_documented() {
    let (_, tables) = document();
    let calls = [CallKind::Export, CallKind::Import].map(|call| (call as u64, format!("{call:?}")));
    let kinds = [(u64::from(kind::STATE), "STATE".to_owned())];
    check_numbers(&tables, "Hot swap", &[&calls[..], &kinds].concat());
}
