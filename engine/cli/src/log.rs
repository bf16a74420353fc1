//! The listener to events and spans of `tracing`: what of them is said on standard error, and how. Set up by `main` alone.
//!
//! Libraries emit, and say nothing themselves. Warnings, and what is of the targets [`NOTE`] and [`DOWNLOAD`], are said without being asked for;
//! `-v` asks for more, and `-q` for less.

use std::fmt;
use std::time::Instant;

use clap::{ArgAction, Args, ValueEnum};
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::registry::{LookupSpan, Registry, Scope};
use wasm_engine_components::text::{DOWNLOAD, NOTE};

use super::progress;
use super::said::Said;
use super::terminal::{self, Form};

/// What is said on standard error.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct LogArgs {
    /// Say more on standard error: what takes time; twice: each frame, too; three times: each stage and system
    #[arg(short, long, action = ArgAction::Count)]
    verbose: u8,
    /// Say nothing but errors on standard error; results are printed as ever
    #[arg(short = 'q', long, conflicts_with = "verbose")]
    errors_only: bool,
    /// The form of what is said on standard error: lines for people, or a JSON object a line [default: text]
    #[arg(long, value_name = "FORM", value_enum)]
    log: Option<LogForm>,
}

/// A command with the options that every command has.
#[derive(Debug, Args)]
pub(super) struct Logged<A: Args> {
    #[command(flatten)]
    pub args: A,
    #[command(flatten)]
    pub log: LogArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum LogForm {
    Text,
    Json,
}

impl LogArgs {
    /// Adds what was asked for at another place of the command line: before the name of the command, or after it.
    ///
    /// # Errors
    /// Both can't be had, and why, in the words that clap has for that at one place.
    pub fn and(self, other: &Self) -> Result<Self, &'static str> {
        let both = Self {
            verbose: self.verbose.saturating_add(other.verbose),
            errors_only: self.errors_only || other.errors_only,
            log: self.log.or(other.log),
        };
        if both.errors_only && both.verbose > 0 {
            return Err("the argument '--errors-only' cannot be used with '--verbose...'");
        }
        if self.errors_only && other.errors_only {
            return Err("the argument '--errors-only' cannot be used multiple times");
        }
        if self.log.is_some() && other.log.is_some() {
            return Err("the argument '--log <FORM>' cannot be used multiple times");
        }
        Ok(both)
    }

    fn form(&self) -> Form {
        match self.log {
            None | Some(LogForm::Text) => Form::Text,
            Some(LogForm::Json) => Form::Json,
        }
    }

    /// Returns what is listened to, by where it comes from.
    fn targets(&self) -> Targets {
        let level = match (self.errors_only, self.verbose) {
            (true, _) => LevelFilter::ERROR,
            (false, 0) => LevelFilter::WARN,
            (false, 1) => LevelFilter::INFO,
            (false, 2) => LevelFilter::DEBUG,
            (false, _) => LevelFilter::TRACE,
        };
        let notes = if self.errors_only { level } else { level.max(LevelFilter::INFO) };
        // Nothing is downloaded unsaid, whatever was asked for.
        Targets::new().with_default(level).with_target(NOTE, notes).with_target(DOWNLOAD, level.max(LevelFilter::INFO))
    }

    /// Listens from now on. In a program that has a listener of its own, that one goes on, and only the form of what the command line says itself is set.
    pub fn listen(&self) {
        terminal::begin(self.form(), self.errors_only);
        let listener = Registry::default().with(self.targets()).with(Listener);
        let _ = tracing::subscriber::set_global_default(listener);
    }
}

/// Returns the form that a command line which can't be understood asks for.
pub(super) fn form_of(arguments: impl IntoIterator<Item = std::ffi::OsString>) -> Form {
    let mut is_named = false;
    for argument in arguments {
        if argument == "--log=json" || (is_named && argument == "json") {
            return Form::Json;
        }
        is_named = argument == "--log";
    }
    Form::Text
}

/// Says what is listened to.
struct Listener;

/// Fields of a span that is open, and its start.
struct Open {
    fields: Fields,
    since: Instant,
}

impl<S: Subscriber + for<'s> LookupSpan<'s>> Layer<S> for Listener {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(Open { fields, since: Instant::now() });
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(open) = span.extensions_mut().get_mut::<Open>()
        {
            values.record(&mut open.fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        say(event.metadata(), fields, context.event_scope(event));
    }

    /// Says how long a span was open.
    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let Some(span) = context.span(&id) else { return };
        let extensions = span.extensions();
        let Some(open) = extensions.get::<Open>() else { return };
        let took = open.since.elapsed();
        let mut fields = Fields { message: format!("{} ended", span.name()), others: open.fields.others.clone() };
        fields.others.insert("ms".to_owned(), (took.as_micros() as f64 / 1e3).into());
        say(span.metadata(), fields, span.parent().map(|parent| parent.scope()));
    }
}

/// Says what an event or a span tells, beside what is drawn. `around` are the spans that it is in, if any.
fn say<'s, S: for<'l> LookupSpan<'l>>(meta: &Metadata<'_>, fields: Fields, around: Option<Scope<'s, S>>) {
    let spans = around.into_iter().flat_map(Scope::from_root);
    let spans = spans.map(|span| with_name(span.name(), span.extensions().get::<Open>())).collect();
    let Fields { message, others: fields } = fields;
    let said = Said { level: *meta.level(), target: meta.target(), message, help: None, fields, spans };
    progress::beside(|| terminal::say(&said));
}

/// Returns a span in JSON.
fn with_name(name: &str, open: Option<&Open>) -> Map<String, Value> {
    let mut span = open.map(|open| open.fields.others.clone()).unwrap_or_default();
    span.insert("span".to_owned(), name.into());
    span
}

/// The fields of an event or a span.
#[derive(Default)]
struct Fields {
    message: String,
    others: Map<String, Value>,
}

impl Fields {
    fn add(&mut self, field: &Field, value: impl Into<Value>) {
        self.others.insert(field.name().to_owned(), value.into());
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match field.name() {
            "message" => self.message = format!("{value:?}"),
            _ => self.add(field, format!("{value:?}")),
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => value.clone_into(&mut self.message),
            _ => self.add(field, value),
        }
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, value);
    }
}
