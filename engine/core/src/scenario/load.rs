//! Reads a [`Scenario`] from a file. Called by the command line and by everything else that runs scenarios.

use std::path::{Path, PathBuf};

use toml::de::DeTable;
use wasm_engine_components::limits::FRAMES_MAX;

use super::convert::{Converter, read_params, set_param};
use super::expect::expect;
use super::fields::{Context, Fields, readable};
use super::groups::{Names, groups, is_plain_name};
use super::node::Node;
use super::regions::regions;
use super::resources::{models, modules, topics};
use super::schedule::scheduler;
use super::source::{position, read};
use super::swaps::swaps;
use super::tenants::{check_starts, tenants};
use super::types::Scenario;
use crate::problem::{Problem, Problems, SourceText};

/// Largest number of problems that are reported of one scenario.
const PROBLEMS_MAX: usize = 10;

const KEYS: [&str; 15] = [
    "name",
    "seed",
    "frames",
    "frame_period_us",
    "input",
    "topics",
    "params",
    "modules",
    "models",
    "scheduler",
    "tenants",
    "groups",
    "swaps",
    "regions",
    "expect",
];

/// Options besides the file.
#[derive(Clone, Debug, Default)]
pub struct LoadOptions {
    /// `NAME=VALUE`: replaces the value of a parameter.
    pub set: Vec<String>,
    /// Replaces the key `input`; relative to the working directory.
    pub input: Option<PathBuf>,
    /// Whether the scenario is that of a recorded run: then its files needn't be there until they are needed.
    pub recorded: bool,
}

/// Reads and checks a scenario file, and that the files it names are there.
///
/// # Errors
/// Fails with what is wrong with it: the first ten problems, in the order of their lines.
pub fn load(path: &Path, options: &LoadOptions) -> Result<Scenario, Problems> {
    parse(read(path)?, path, options)
}

/// Reads and checks the text of a scenario whose file is, or will be, at `path`.
///
/// # Errors
/// As for [`load`].
pub fn parse(source: String, path: &Path, options: &LoadOptions) -> Result<Scenario, Problems> {
    let document = DeTable::parse(&source).map_err(|error| syntax_problem(&source, path, &error))?;
    let mut problems = Vec::new();
    let mut params = read_params(document.get_ref(), &mut problems);
    let unset: Vec<Problem> = options.set.iter().filter_map(|set| set_param(&mut params, set).err()).collect();
    if !unset.is_empty() {
        return Err(Problems(unset.into_iter().map(|problem| problem.file(path)).collect()));
    }
    let mut converter = Converter { params: Some(&params), problems };
    let kind = converter.table(document.get_ref(), "", Some("params"));
    let root = Node { kind, at: 0, param: None };
    let folder = path.parent().map_or_else(PathBuf::new, Path::to_path_buf);
    let mut cx = Context { folder, looks_for_files: !options.recorded, problems: converter.problems };
    let scenario = read_root(&mut cx, &root, &source, path, options);
    match scenario {
        Some(scenario) if cx.problems.is_empty() => Ok(Scenario { params: params.texts(), source, ..scenario }),
        _ => Err(located(cx.problems, &source, path)),
    }
}

fn read_root(cx: &mut Context, root: &Node, source: &str, path: &Path, options: &LoadOptions) -> Option<Scenario> {
    let top = Fields::open(cx, root, "", &KEYS)?;
    top.need(cx, "frames", "say how many frames to run, such as `frames = 200`");
    let (modules, models, topics) = (modules(cx, &top), models(cx, &top), topics(cx, &top));
    let (scheduler, tenants) = (scheduler(cx, &top), tenants(cx, &top));
    let groups = groups(cx, &top, &Names { modules: &modules, topics: &topics, tenants: &tenants });
    check_starts(cx, &top, &tenants, &groups);
    let swaps = swaps(cx, &top, &groups, &modules, &models);
    let regions = regions(cx, &top, &groups);
    let expect = expect(cx, &top, &groups, |at| position(source, at).0);
    Some(Scenario {
        name: name(cx, &top, path),
        path: path.to_path_buf(),
        source: String::new(),
        seed: top.integer(cx, "seed", 0..=u64::MAX, 0),
        frames: top.integer(cx, "frames", 1..=FRAMES_MAX, 1),
        frame_period_us: top.integer_u32(cx, "frame_period_us", 0..=u32::MAX, 0),
        params: Vec::new(),
        modules,
        models,
        topics,
        scheduler,
        tenants,
        regions,
        groups,
        input: input(cx, &top, options),
        expect,
        swaps,
    })
}

/// Returns the key `name`, or the file's stem with a `-` for what can't be in a folder's name.
fn name(cx: &mut Context, top: &Fields<'_>, path: &Path) -> String {
    if let Some((name, node)) = top.text(cx, "name") {
        if !is_plain_name(name) {
            let help = "it names the run's folder: use letters, digits, `_`, `-` and `.`";
            cx.report(node.at, "name", Problem::new(format!("{name:?} isn't a name")).help(help));
        }
        return name.to_owned();
    }
    let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '_' | '-') { c } else { '-' };
    let name: String = stem.chars().map(plain).take(64).collect();
    if name.is_empty() { "scenario".to_owned() } else { name }
}

/// Returns the path of the events file. [`crate::events`] checks its lines.
fn input(cx: &mut Context, top: &Fields<'_>, options: &LoadOptions) -> Option<PathBuf> {
    if options.input.is_some() {
        return options.input.clone();
    }
    let (name, node) = top.text(cx, "input")?;
    if name == "-" {
        return Some(PathBuf::from("-"));
    }
    let path = cx.resolve(name);
    if cx.looks_for_files
        && let Err(what) = readable(&path)
    {
        let help = "paths are relative to the scenario's folder; `-` is standard input";
        cx.report(node.at, "input", Problem::new(what).help(help));
    }
    Some(path)
}

/// Converts an error of the TOML parser, with its place.
fn syntax_problem(source: &str, path: &Path, error: &toml::de::Error) -> Problems {
    let help = "write `KEY = VALUE`, texts in quotes and tables as `[NAME]`; https://toml.io/en/v1.0.0 has all of it";
    let mut problem = Problem::new(format!("isn't TOML: {}", error.message())).file(path).help(help);
    if let Some(span) = error.span() {
        let (line, column) = position(source, span.start);
        problem = problem.line(line).column(column).in_text(source);
    }
    problem.into()
}

/// Converts offsets to lines and columns.
fn located(problems: Vec<(usize, Problem)>, source: &str, path: &Path) -> Problems {
    let text = SourceText::new(path, source);
    let mut located: Vec<Problem> = problems
        .into_iter()
        .map(|(at, problem)| {
            let (line, column) = position(source, at);
            problem.file(path).line(line).column(column).text(text.clone())
        })
        .collect();
    located.sort_by_key(Problem::position);
    located.dedup();
    let more = located.len().saturating_sub(PROBLEMS_MAX);
    located.truncate(PROBLEMS_MAX);
    if more > 0 {
        let s = if more == 1 { "" } else { "s" };
        let help = "put these right first";
        located.push(Problem::new(format!("and {more} more problem{s}")).file(path).help(help));
    }
    Problems(located)
}
