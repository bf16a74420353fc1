//! What the bytes of saved values are called, for whoever tells two of them apart. Where they have fixed places, a table says it, and a test holds it
//! against a world in which everything is under way; what is saved in its serde form is walked through.

use std::collections::BTreeMap;

use bevy_ecs::world::World;
use wasm_engine_components::{Action, Command, FaultKind, JobData, Lane, Lifecycle, Swap};

use super::agents::lifecycle;
use super::field::{FieldValue, Held, Kind, Placed};
use super::registry::StateRegistry;
use super::section::Reader;
use super::walk::{Walk, own_fields};

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

/// The engine's own components that are saved in their serde form.
fn walk(component: &str) -> Option<Walk> {
    Some(match component {
        "JobData" => own_fields::<JobData>,
        "AgentCommands" => own_fields::<Command>,
        "NativeCommands" => own_fields::<Action>,
        "RequestedSwaps" => own_fields::<Swap>,
        _ => return None,
    })
}

/// What authors registered as state, by name: how its fields are found.
#[derive(Clone, Debug, Default)]
pub struct Layouts(BTreeMap<&'static str, Walk>);

impl Layouts {
    /// The layouts of what was registered in a world.
    pub fn of(world: &World) -> Self {
        let registry = world.get_resource::<StateRegistry>();
        let parts = registry.into_iter().flat_map(|registry| &registry.parts);
        Self(parts.map(|(&name, part)| (name, part.walk)).collect())
    }
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

/// The fields of a value; of one in its serde form, those that don't end before the byte `from`. None where its layout isn't known, or doesn't
/// fit.
pub(super) fn fields((component, lane): (&str, Lane), value: &[u8], from: usize, authors: &Layouts) -> Vec<Placed> {
    let walk = if lane == Lane::Native { authors.0.get(component).copied() } else { walk(component) };
    match (walk, layout(component)) {
        (Some(walk), _) => walk(value, from),
        (None, Some((once, again))) if lane != Lane::Native => at_fixed_places(once, again, value),
        _ => Vec::new(),
    }
}

/// The fields of a value: those that come once, and those that come again and again until its end.
fn at_fixed_places(once: &[Field], again: &[Field], value: &[u8]) -> Vec<Placed> {
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
            placed.push(Placed { name, range: *at..*at + bytes, held: Held::Kind(kind) });
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
        let kind = match &self.held {
            Held::Value { value, .. } => return Some(value.clone()),
            Held::Kind(kind) => kind,
        };
        Some(match kind {
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
    let is_indexed = matches!(field.held, Held::Kind(Kind::Text | Kind::Bytes) | Held::Value { is_indexed: true, .. });
    let name = field.name.clone();
    Some(if is_indexed { format!("{name}[{}]", offset - field.range.start) } else { name })
}

/// The fields in which two values differ, at most `max` of them: of one that is alone, all. A field is that of the same name in the other value,
/// wherever it lies there.
pub(super) fn differing(
    (a, left): (&[Placed], Option<&[u8]>),
    (b, right): (&[Placed], Option<&[u8]>),
    max: usize,
) -> Vec<FieldDifference> {
    let mut pairs: BTreeMap<(&str, usize), [Option<&Placed>; 2]> = BTreeMap::new();
    for (side, fields) in [a, b].into_iter().enumerate() {
        let mut seen = BTreeMap::new();
        for field in fields {
            let times = seen.entry(field.name.as_str()).or_insert(0);
            pairs.entry((&field.name, *times)).or_default()[side] = Some(field);
            *times += 1;
        }
    }
    let bytes_of = |value: Option<&[u8]>, field: Option<&Placed>| {
        field.and_then(|field| value?.get(field.range.clone())).map(<[u8]>::to_vec)
    };
    let mut differ: Vec<_> =
        pairs.into_values().filter(|[one, other]| bytes_of(left, *one) != bytes_of(right, *other)).collect();
    let start = |[one, other]: &[Option<&Placed>; 2]| one.or(*other).map_or(0, |field| field.range.start);
    // What begins later in both may be elsewhere in each: the left one's order counts.
    differ.sort_by_key(start);
    let found = differ.into_iter().take(max).filter_map(|[one, other]| {
        let field = one.or(other)?;
        let value = |field: Option<&Placed>, value: Option<&[u8]>| field.and_then(|field| field.value(value?));
        let (left, right) = (value(one, left), value(other, right));
        Some(FieldDifference { name: field.name.clone(), offset: field.range.start, left, right })
    });
    found.collect()
}
