//! What the walk finds in values of all sorts.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use wasm_engine_components::{Action, AgentId, Command, GroupId, Issuer, LifecycleAction};

use super::*;
use crate::codec::layout::{self, differing};

#[derive(Clone, Serialize, Deserialize)]
struct Shop {
    open: bool,
    stock: BTreeMap<String, i64>,
    shelf: Option<Shelf>,
    mood: Mood,
    prices: Vec<f32>,
    at: (u8, char),
    owner: AgentId,
    note: String,
    big: u128,
}

#[derive(Clone, Serialize, Deserialize)]
struct Shelf(u16, i8);

#[derive(Clone, Serialize, Deserialize)]
enum Mood {
    Calm,
    Angry { since: u64 },
    Sold(String),
}

fn shop() -> Shop {
    Shop {
        open: true,
        stock: BTreeMap::from([("apples".to_owned(), -3), ("pears".to_owned(), 400)]),
        shelf: Some(Shelf(900, -1)),
        mood: Mood::Angry { since: 70_000 },
        prices: vec![0.1, f32::NAN],
        at: (7, 'ß'),
        owner: AgentId(5),
        note: "open on sundays".to_owned(),
        big: u128::MAX,
    }
}

fn saved(value: &impl Serialize) -> Vec<u8> {
    postcard::to_allocvec(value).unwrap()
}

/// The fields in which two values differ: names and both sides.
fn told<T: Serialize + DeserializeOwned>(left: &T, right: &T) -> Vec<(String, String, String)> {
    let (a, b) = (saved(left), saved(right));
    let from = crate::state::ByteDifference::of(Some(&a), Some(&b)).map_or(0, |difference| difference.offset);
    let (of_a, of_b) = (fields::<T>(&a, from), fields::<T>(&b, from));
    assert!(layout::name_at(&of_a, from).is_some(), "the first byte that differs has a name");
    let text = |value: Option<FieldValue>| value.map_or("-".to_owned(), |value| value.to_string());
    let found = differing((&of_a, Some(&a)), (&of_b, Some(&b)), 9).into_iter();
    found.map(|field| (field.name, text(field.left), text(field.right))).collect()
}

#[test]
fn each_byte_of_a_value_has_a_name_and_no_other_value_fits() {
    let value = saved(&shop());
    let all = fields::<Shop>(&value, 0);
    let mut at = 0;
    for field in &all {
        assert_eq!(field.range.start, at, "{field:?}");
        at = field.range.end;
    }
    assert_eq!(at, value.len());
    let names: Vec<_> = all.iter().map(|field| field.name.as_str()).collect();
    let expected = "open stock.length stock[apples].key.length stock[apples].key stock[apples] stock[pears].key.length \
        stock[pears].key stock[pears] shelf? shelf.0 shelf.1 mood mood.Angry.since prices.length prices[0] prices[1] at[0] \
        at[1] owner note.length note big";
    assert_eq!(names.join(" "), expected.split_whitespace().collect::<Vec<_>>().join(" "));
    for cut in 0..value.len() {
        assert!(fields::<Shop>(&value[..cut], 0).is_empty(), "{cut}");
    }
    assert!(fields::<Shop>(&[&value[..], &[0]].concat(), 0).is_empty());
}

#[test]
fn fields_that_differ_are_named_on_both_sides() {
    let differ = |change: &dyn Fn(&mut Shop)| {
        let mut other = shop();
        change(&mut other);
        let found = told(&shop(), &other);
        found.iter().map(|(name, a, b)| format!("{name}: {a}, {b}")).collect::<Vec<_>>().join("; ")
    };
    assert_eq!(differ(&|shop| shop.open = false), "open: true, false");
    assert_eq!(differ(&|shop| shop.prices[0] = -2.5), "prices[0]: 0.1, -2.5");
    assert_eq!(differ(&|shop| *shop.stock.get_mut("pears").unwrap() = 2), "stock[pears]: 400, 2");
    // What comes behind lies elsewhere then, and is the same.
    assert_eq!(
        differ(&|shop| _ = shop.stock.insert("figs".to_owned(), 1)),
        "stock.length: 2, 3; stock[figs].key.length: -, 4; stock[figs].key: -, figs; stock[figs]: -, 1"
    );
    assert_eq!(differ(&|shop| shop.shelf = None), "shelf?: some, none; shelf.0: 900, -; shelf.1: -1, -");
    assert_eq!(differ(&|shop| shop.mood = Mood::Angry { since: 3 }), "mood.Angry.since: 70000, 3");
    assert_eq!(
        differ(&|shop| shop.mood = Mood::Sold("it".to_owned())),
        "mood: Angry, Sold; mood.Angry.since: 70000, -; mood.Sold.length: -, 2; mood.Sold: -, it"
    );
    assert_eq!(differ(&|shop| shop.mood = Mood::Calm), "mood: Angry, Calm; mood.Angry.since: 70000, -");
    assert_eq!(differ(&|shop| shop.at = (7, 'x')), "at[1]: ß, x");
    assert_eq!(differ(&|shop| shop.owner = AgentId(6)), "owner: 5, 6");
    assert_eq!(differ(&|shop| shop.note = "x".repeat(99)), {
        let long = format!("{}...", "x".repeat(64));
        format!("note.length: 15, 99; note: open on sundays, {long}")
    });
    assert_eq!(differ(&|shop| shop.big = 0), format!("big: {}, 0", u128::MAX));
}

#[test]
fn a_field_behind_very_many_has_its_name() {
    let value: Vec<u32> = (0..300_000).collect();
    let mut other = value.clone();
    other[299_999] = 1;
    assert_eq!(told(&value, &other), [("[299999]".to_owned(), "299999".to_owned(), "1".to_owned())]);
    // So many are looked at, from the first one on that differs.
    let (a, b) = (saved(&value), saved(&vec![7_u32; 300_000]));
    assert_eq!((fields::<Vec<u32>>(&a, 3).len(), fields::<Vec<u32>>(&b, 3).len()), (FIELDS_MAX, FIELDS_MAX));
}

#[test]
fn agents_of_the_engines_own_values_are_agents() {
    let issuer = Issuer::Agent { id: AgentId::new(GroupId(2), 3), correlation: 1, sequence: 0 };
    let command = Command { issuer, action: Action::Agent(AgentId::new(GroupId(1), 0), LifecycleAction::Pause) };
    let found = own_fields::<Command>(&saved(&command), 0);
    let value = |name: &str| match found.iter().find(|field| field.name == name).map(|field| &field.held) {
        Some(Held::Value { value, .. }) => value.clone(),
        other => panic!("{name}: {other:?} in {found:?}"),
    };
    assert_eq!(value("issuer.Agent.id"), FieldValue::Agent(AgentId::new(GroupId(2), 3).0));
    assert_eq!(value("action"), FieldValue::Text("Agent".to_owned()));
    assert_eq!(value("action.Agent.0"), FieldValue::Agent(AgentId::new(GroupId(1), 0).0));
    assert_eq!(value("action.Agent.1"), FieldValue::Text("Pause".to_owned()));
}
