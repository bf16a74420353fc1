//! Reads when agents are stepped: the key `schedule` of a group, and the table `[scheduler]`.

use wasm_engine_components::limits::{AGEING_FRAMES_MAX, PERIOD_FRAMES_MAX, PRIORITY_MAX};
use wasm_engine_components::{GroupLimits, Schedule, SchedulerMode, SchedulerSettings, Trigger};

use super::fields::{Context, Fields};
use super::node::Kind;
use crate::problem::{Problem, thousands};

/// Reads a group's `schedule`.
pub(super) fn schedule(cx: &mut Context, fields: &Fields<'_>) -> Schedule {
    let default = Schedule::default();
    let Some(node) = fields.get("schedule") else { return default };
    let path = fields.path("schedule");
    if let Kind::Text(_) = &node.kind {
        let help = "write `{ every = 4 }`, `{ on = \"message\" }` or `{ on = \"timer\" }`";
        cx.report(node.at, &path, Problem::new("is a string, a table is needed").help(help));
        return default;
    }
    let Some(table) = Fields::open(cx, node, &path, &["every", "phase", "on", "priority"]) else { return default };
    Schedule {
        trigger: trigger(cx, &table),
        priority: table.integer_u32(cx, "priority", 0..=PRIORITY_MAX, default.priority),
    }
}

fn trigger(cx: &mut Context, table: &Fields<'_>) -> Trigger {
    if table.get("on").is_some() {
        for key in ["every", "phase"] {
            if let Some(node) = table.get(key) {
                let problem = Problem::new("`on` is there, too").help("keep one of them");
                cx.report(node.at, &table.path(key), problem);
            }
        }
        let choices = [("message", Trigger::Message), ("timer", Trigger::Timer)];
        return table.choice(cx, "on", &choices, Trigger::default());
    }
    let period = table.integer_u32(cx, "every", 1..=PERIOD_FRAMES_MAX, 1);
    let phase = table.integer_u32(cx, "phase", 0..=PERIOD_FRAMES_MAX - 1, 0);
    if let Some(node) = table.get("phase").filter(|_| phase >= period) {
        let what = format!("{} isn't below `every`, which is {}", thousands(phase), thousands(period));
        let help = match period {
            1 => "add a larger `every`, or remove `phase`".to_owned(),
            period => format!("use 0 to {}", thousands(period - 1)),
        };
        cx.report(node.at, &table.path("phase"), Problem::new(what).help(help));
    }
    Trigger::Every { period, phase }
}

/// Reads `[scheduler]`.
pub(super) fn scheduler(cx: &mut Context, top: &Fields<'_>) -> SchedulerSettings {
    let default = SchedulerSettings::default();
    let Some(node) = top.get("scheduler") else { return default };
    let known = [
        "mode",
        "steps_per_frame_max",
        "fuel_per_frame_max",
        "ageing_frames",
        "deliveries_per_frame_max",
        "host_deliveries_per_frame_max",
        "log_bytes_per_frame_max",
        "output_bytes_per_frame_max",
    ];
    let Some(table) = Fields::open(cx, node, "scheduler", &known) else { return default };
    let choices = [("priority", SchedulerMode::Priority), ("round_robin", SchedulerMode::RoundRobin)];
    let mode = table.choice(cx, "mode", &choices, default.mode);
    if let Some(node) = table.get("ageing_frames").filter(|_| mode == SchedulerMode::RoundRobin) {
        let problem = Problem::new("belongs to the mode `priority` only").help("remove it");
        cx.report(node.at, &table.path("ageing_frames"), problem);
    }
    let mut bound =
        |key: &str, least: u64, default: u64| table.integer(cx, key, least..=GroupLimits::UNBOUNDED, default);
    SchedulerSettings {
        mode,
        deliveries_per_frame_max: bound(known[4], 0, default.deliveries_per_frame_max),
        host_deliveries_per_frame_max: bound(known[5], 0, default.host_deliveries_per_frame_max),
        log_bytes_per_frame_max: bound(known[6], 0, default.log_bytes_per_frame_max),
        output_bytes_per_frame_max: bound(known[7], 0, default.output_bytes_per_frame_max),
        steps_per_frame_max: bound(known[1], 1, default.steps_per_frame_max),
        fuel_per_frame_max: bound(known[2], 1, default.fuel_per_frame_max),
        ageing_frames: table.integer_u32(cx, "ageing_frames", 0..=AGEING_FRAMES_MAX, default.ageing_frames),
    }
}
