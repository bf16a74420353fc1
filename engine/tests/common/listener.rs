//! A listener of a test's own to what the engine tells while it does some work.

use std::fmt;
use std::sync::{Arc, Mutex};

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::registry::Registry;

/// Returns what the work gives, and the lines that a person would be told without asking for more.
pub fn listen<R>(work: impl FnOnce() -> R) -> (R, Vec<String>) {
    let lines = Arc::<Mutex<Vec<String>>>::default();
    let listener = Registry::default().with(LevelFilter::INFO).with(Told(Arc::clone(&lines)));
    let result = tracing::subscriber::with_default(listener, work);
    let lines = std::mem::take(&mut *lines.lock().expect("no test has failed with it"));
    (result, lines)
}

struct Told(Arc<Mutex<Vec<String>>>);

impl<S: Subscriber> Layer<S> for Told {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut message = Message(String::new());
        event.record(&mut message);
        let meta = event.metadata();
        let line = match *meta.level() {
            Level::WARN => format!("warning: {}", message.0),
            Level::INFO if !meta.target().starts_with("wasm_engine::") => return,
            _ => message.0,
        };
        self.0.lock().expect("no test has failed with it").push(line);
    }
}

struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }
}
