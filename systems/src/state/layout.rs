//! What the bytes of saved values are called, for whoever tells two of them apart. A component that isn't here is saved in its serde form, whose bytes
//! have no fixed places. A test holds the table against a world in which everything is under way.

use std::ops::Range;

use wasm_engine_components::{FaultKind, Lane, Lifecycle};

use super::agents::lifecycle;
use super::section::Reader;

/// What a field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A number of so many bytes.
    Number(usize),
    Agent,
    /// The number of a name.
    Name,
    Lifecycle,
    /// The rest of the value.
    Text,
    Bytes,
}

/// A field by its name, and what it holds.
type Field = (&'static str, Kind);

const U8: Kind = Kind::Number(1);
const U32: Kind = Kind::Number(4);
const U64: Kind = Kind::Number(8);

/// What a message is: its header and its payload.
const MESSAGE: [Field; 9] = [
    ("sender", Kind::Agent),
    ("topic", Kind::Name),
    ("correlation", U64),
    ("frame", U64),
    ("sequence", U32),
    ("kind", U32),
    ("status", U32),
    ("payload_bytes", U32),
    ("payload", Kind::Bytes),
];

/// The same with its address before it.
const ADDRESSED: [Field; 11] = [
    ("to.kind", U8),
    ("to.id", Kind::Name),
    MESSAGE[0],
    MESSAGE[1],
    MESSAGE[2],
    MESSAGE[3],
    MESSAGE[4],
    MESSAGE[5],
    MESSAGE[6],
    MESSAGE[7],
    MESSAGE[8],
];

/// The fields of a component: those that come once, and those that come again and again until the value's end.
const fn layout(component: &str) -> Option<(&'static [Field], &'static [Field])> {
    Some(match component.as_bytes() {
        b"FrameClock" => (&[("frame", U64)], &[]),
        b"Places" => (
            &[("first_agents", U32), ("used", U32), ("grows", U8)],
            &[("vacating.frame", U64), ("vacating.ordinal", U32)],
        ),
        b"Lifecycle" => (&[("lifecycle", Kind::Lifecycle)], &[]),
        b"FaultHistory" => (&[("faults", U32), ("restarts", U32), ("restart_frame", U64), ("uninitialised", U8)], &[]),
        b"GroupCounters" => {
            (&[("steps", U64), ("fuel", U64), ("messages", U64), ("inference_jobs", U64)], &[(FAULTS, U64)])
        }
        b"CurrentModules" => (&[("number", U32), ("module", Kind::Text)], &[]),
        b"ModelAnswers" => (&[("with", Kind::Name)], &[]),
        b"ModelsAlone" => (&[], &[("given_up.frame", U64), ("given_up.alone", U8)]),
        b"NextJob" => (&[("next", U64)], &[]),
        b"InferenceJob" => {
            (&[("agent", Kind::Agent), ("model", Kind::Name), ("correlation", U64), ("due_frame", U64)], &[])
        }
        b"Members" => (&[], &[("members", Kind::Agent)]),
        b"RegionState" => (&[("version", U64), ("since_frame", U64), ("bytes", Kind::Bytes)], &[]),
        b"MailboxCounters" => (&[("dropped", U64)], &[]),
        b"Backlog" => (&MESSAGE, &[]),
        b"Messages" | b"Bounces" | b"NativeMessages" => (&ADDRESSED, &[]),
        b"Timers" => (&[("frame", U64)], &[]),
        b"Deferred" => (&[("since", U64)], &[]),
        b"Cursor" => (&[("place", Kind::Agent)], &[]),
        b"GroupDebts" => (&[("debt", U64)], &[]),
        b"TenantDebts" => (&[("debt", U64), ("tenant", Kind::Text)], &[]),
        b"Requests" => (&[("correlation", U64), ("to", Kind::Agent), ("asked", U64), ("deadline", U64)], &[]),
        _ => return None,
    })
}

/// Groups' counts of faults: one for each kind.
const FAULTS: &str = "faults";

/// A field that two values don't share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldDifference {
    /// Its name: `steps`, `payload`, `members[3]`.
    pub name: String,
    /// Where it begins in the value.
    pub offset: usize,
    /// What the left value has in it; `None` where that has no such field.
    pub left: Option<FieldValue>,
    /// The same of the right one.
    pub right: Option<FieldValue>,
}

/// What a field holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FieldValue {
    /// A number.
    Number(u64),
    /// An agent, or another sender of a message.
    Agent(u64),
    /// The number of a topic's, region's or model's name.
    Name(u64),
    /// A word, or a text of an author's or a user's.
    Text(String),
    /// So many bytes.
    Bytes(usize),
}

/// A field at its place.
#[derive(Clone, Debug)]
pub(super) struct Placed {
    name: String,
    range: Range<usize>,
    kind: Kind,
}

/// The fields of a value. None where its layout isn't known, or doesn't fit.
pub(super) fn fields(component: &str, lane: Lane, value: &[u8]) -> Vec<Placed> {
    let Some((once, again)) = layout(component).filter(|_| lane != Lane::Native) else { return Vec::new() };
    let (mut placed, mut at) = (Vec::new(), 0);
    let mut place = |name: String, kind: Kind, at: &mut usize| {
        let bytes = match kind {
            Kind::Number(bytes) => bytes,
            Kind::Agent | Kind::Name => 8,
            Kind::Lifecycle => 1,
            Kind::Text | Kind::Bytes => value.len() - *at,
        };
        let fits = *at + bytes <= value.len();
        if fits {
            placed.push(Placed { name, range: *at..*at + bytes, kind });
            *at += bytes;
        }
        fits
    };
    for &(name, kind) in once {
        if !place(name.to_owned(), kind, &mut at) {
            return Vec::new();
        }
    }
    for number in 0.. {
        if at == value.len() || again.is_empty() {
            break;
        }
        for &(name, kind) in again {
            if !place(numbered(name, number), kind, &mut at) {
                return Vec::new();
            }
        }
    }
    if at == value.len() { placed } else { Vec::new() }
}

/// The name of a field that comes several times.
fn numbered(name: &str, number: usize) -> String {
    match (name.split_once('.'), FaultKind::ALL.get(number)) {
        (None, Some(kind)) if name == FAULTS => format!("{name}.{}", kind.name()),
        (Some((list, field)), _) => format!("{list}[{number}].{field}"),
        _ => format!("{name}[{number}]"),
    }
}

impl Placed {
    fn value(&self, value: &[u8]) -> Option<FieldValue> {
        let bytes = value.get(self.range.clone())?;
        let mut wide = [0; 8];
        let number = |wide: &mut [u8; 8]| {
            wide[..bytes.len()].copy_from_slice(bytes);
            u64::from_le_bytes(*wide)
        };
        Some(match self.kind {
            Kind::Number(_) => FieldValue::Number(number(&mut wide)),
            Kind::Agent => FieldValue::Agent(number(&mut wide)),
            Kind::Name => FieldValue::Name(number(&mut wide)),
            Kind::Lifecycle => {
                let name = Reader(bytes).u8().and_then(lifecycle).map_or("unknown", Lifecycle::name);
                FieldValue::Text(name.to_owned())
            }
            Kind::Text => FieldValue::Text(String::from_utf8_lossy(bytes).into_owned()),
            Kind::Bytes => FieldValue::Bytes(bytes.len()),
        })
    }
}

/// The name of the byte at an offset, for values with known fields: that of its field, and its place in it where that is a text or bytes.
pub(super) fn name_at(fields: &[Placed], offset: usize) -> Option<String> {
    let field = fields.iter().find(|field| field.range.contains(&offset))?;
    Some(match field.kind {
        Kind::Text | Kind::Bytes => format!("{}[{}]", field.name, offset - field.range.start),
        _ => field.name.clone(),
    })
}

/// The fields in which two values differ, at most `max` of them: of one that is alone, all.
pub(super) fn differing(
    (a, left): (&[Placed], Option<&[u8]>),
    (b, right): (&[Placed], Option<&[u8]>),
    max: usize,
) -> Vec<FieldDifference> {
    let bytes = |value: Option<&[u8]>, field: Option<&Placed>| {
        field.and_then(|field| value?.get(field.range.clone())).map(<[u8]>::to_vec)
    };
    let differing = (0..a.len().max(b.len())).filter_map(|at| {
        let (one, other) = (a.get(at), b.get(at));
        if bytes(left, one) == bytes(right, other) {
            return None;
        }
        let field = one.or(other)?;
        let value = |field: Option<&Placed>, value: Option<&[u8]>| field.and_then(|field| field.value(value?));
        let (left, right) = (value(one, left), value(other, right));
        Some(FieldDifference { name: field.name.clone(), offset: field.range.start, left, right })
    });
    differing.take(max).collect()
}
