//! What a group, a region, a topic and a model are written as by serde, field by field, and that they come back as they were.

#![allow(missing_docs, clippy::unwrap_used)]

use std::fmt::Debug;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use wasm_engine_abi::{Capabilities, Capability};
use wasm_engine_components::limits::LimitKey;
use wasm_engine_components::{
    FaultPolicy, GroupId, GroupLimits, GroupSpec, ModelSpec, ModuleLimits, OverflowPolicy, RegionOwner, RegionSpec,
    Schedule, TenantId, TopicId, TopicSpec, Trigger,
};

/// Checks that a spec is written as `written` and is read from it again; that a field that isn't there is told by its name, unless it is one of
/// `optional`, which is none then; and that a field that nobody knows is told, too.
fn check<T: Serialize + DeserializeOwned + PartialEq + Debug>(spec: &T, written: &Value, optional: &[&str]) {
    assert_eq!(serde_json::to_value(spec).unwrap(), *written);
    let read = |value: Value| serde_json::from_value::<T>(value);
    assert_eq!(read(written.clone()).unwrap(), *spec);
    for key in written.as_object().unwrap().keys() {
        let mut without = written.clone();
        without.as_object_mut().unwrap().remove(key);
        match read(without) {
            Ok(read) => {
                assert!(optional.contains(&key.as_str()), "{key} may be left out");
                assert!(serde_json::to_value(&read).unwrap()[key].is_null(), "{key} is none");
                assert_ne!(read, *spec, "{key} is a part of it");
            }
            Err(error) => {
                assert!(!optional.contains(&key.as_str()), "{key} may not be left out");
                assert_eq!(error.to_string(), format!("missing field `{key}`"));
            }
        }
    }
    let mut with_another = written.clone();
    with_another["farmes"] = json!(1);
    let told = read(with_another).unwrap_err().to_string();
    assert!(told.starts_with("unknown field `farmes`, expected "), "{told}");
}

/// Limits as they are written: a number for each key.
fn limits<L: 'static>(limits: &L, keys: &[LimitKey<L>]) -> Value {
    keys.iter().map(|key| (key.name.to_owned(), json!((key.of)(limits)))).collect::<serde_json::Map<_, _>>().into()
}

/// Numbers that differ from key to key.
fn counting<L>() -> impl FnMut(&LimitKey<L>) -> u64 {
    let mut last = 100;
    move |_| {
        last += 1;
        last
    }
}

#[test]
fn a_group_is_written_field_by_field() {
    let (group_limits, module_limits) = (GroupLimits::of_keys(counting()), ModuleLimits::of_keys(counting()));
    let group = GroupSpec::new(GroupId(3), "clerks", 5).with(|group| {
        group.enabled = false;
        group.module = 2;
        group.agents_max = 9;
        group.params = vec![7, 8];
        group.subscribe = vec![TopicId(11)];
        group.capabilities = Capabilities::NONE.with(Capability::Send).with(Capability::Regions);
        group.accepts = Some(vec![GroupId(1)]);
        group.overflow = OverflowPolicy::DropOldest;
        (group.limits, group.module_limits) = (group_limits, module_limits);
        group.on_fault = FaultPolicy::Restart { restarts_max: 4, backoff_frames: 6 };
        group.schedule = Schedule { trigger: Trigger::Every { period: 3, phase: 1 }, priority: 12 };
        (group.after, group.controls) = (vec![GroupId(1)], vec![GroupId(2), GroupId(4)]);
        (group.supervisor, group.tenant) = (Some(GroupId(2)), Some(TenantId(1)));
    });
    let written = json!({
        "id": 3,
        "name": "clerks",
        "enabled": false,
        "module": 2,
        "agents": 5,
        "agents_max": 9,
        "params": [7, 8],
        "subscribe": [11],
        "capabilities": ["send", "regions"],
        "accepts": [1],
        "overflow": "DropOldest",
        "limits": limits(&group_limits, GroupLimits::KEYS),
        "module_limits": limits(&module_limits, ModuleLimits::KEYS),
        "on_fault": { "Restart": { "restarts_max": 4, "backoff_frames": 6 } },
        "schedule": { "trigger": { "Every": { "period": 3, "phase": 1 } }, "priority": 12 },
        "after": [1],
        "controls": [2, 4],
        "supervisor": 2,
        "tenant": 1,
    });
    check(&group, &written, &["accepts", "supervisor", "tenant"]);
    check(&group_limits, &written["limits"], &[]);
    check(&module_limits, &written["module_limits"], &[]);

    let mut unknown = written;
    unknown["capabilities"] = json!(["send", "fly"]);
    let told = serde_json::from_value::<GroupSpec>(unknown).unwrap_err().to_string();
    assert_eq!(told, "there is no capability `fly`");
}

#[test]
fn a_region_is_written_field_by_field() {
    let written = |region: &RegionSpec, writer: Value| json!({ "id": region.id.0, "name": "map", "bytes": 48, "writer": writer, "readers": [2, 5] });
    let region =
        |writer| RegionSpec::new("map", 48, writer).with(|region| region.readers = vec![GroupId(2), GroupId(5)]);
    let (of_group, native) = (region(RegionOwner::Group(GroupId(1))), region(RegionOwner::Native));
    check(&of_group, &written(&of_group, json!({ "Group": 1 })), &[]);
    check(&native, &written(&native, json!("Native")), &[]);
}

#[test]
fn a_topic_is_written_field_by_field() {
    let topic = TopicSpec::new("news");
    check(&topic, &json!({ "id": topic.id.0, "name": "news" }), &[]);
}

#[test]
fn a_model_is_written_field_by_field() {
    let model = ModelSpec::new("speech", "models/speech.onnx").with(|model| {
        model.sha256 = Some([9; 32]);
        (model.batch_rows_max, model.latency_frames, model.refuse_non_finite) = (7, 2, false);
        model.dims = vec![("seq".to_owned(), 16)];
        (model.run_ms_max, model.run_memory_bytes_max, model.load_ms_max) = (11, 12, 13);
        model.batch_axes = vec![("logits".to_owned(), 1)];
    });
    let written = json!({
        "name": "speech",
        "id": model.id.0,
        "path": "models/speech.onnx",
        "sha256": vec![9; 32],
        "batch_rows_max": 7,
        "latency_frames": 2,
        "refuse_non_finite": false,
        "dims": [["seq", 16]],
        "run_ms_max": 11,
        "run_memory_bytes_max": 12,
        "load_ms_max": 13,
        "batch_axes": [["logits", 1]],
    });
    check(&model, &written, &["sha256"]);
}
