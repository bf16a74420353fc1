//! The parts that the views of a run share: how they are shown, the head of a text, and the names of kinds.

use serde::Serialize;
use wasm_engine_abi::EngineKind;
use wasm_engine_components::FrameRecord;
use wasm_engine_components::text::{Lines, shown_path};

use wasm_engine_core::run_dir::OpenRun;

/// View of a run, which is shown as text or JSON.
pub(super) trait View: Serialize {
    fn text(&self) -> Lines;
}

/// Returns a message's kind: the engine's have names.
pub(super) fn kind_name(kind: u32) -> String {
    EngineKind::from_number(kind).map_or_else(|| kind.to_string(), |kind| kind.name().to_owned())
}

/// Returns the frame's run, for the head of a text.
pub(super) fn head(run: &OpenRun, record: &FrameRecord) -> Lines {
    let mut head = Lines::default();
    head.line(format_args!("{}, after frame {}", shown_path(&run.path), record.frame));
    head.line(format_args!("digest     {}", record.digest));
    head
}
