//! `wasm-engine doctor`: what this machine has, and what to do about what it lacks.

use std::path::Path;
use std::process::{Command, Stdio};

use clap::Args;
use serde::Serialize;
use wasm_engine_components::causes::with_causes;
use wasm_engine_components::text::{Lines, shown_path};

use super::machine;
use super::status::Status;
use super::terminal::{fail, print, print_json};
use wasm_engine_core::code_cache::{CODE_FOLDER, CacheSurvey, check_code_cache, survey_code_cache};
use wasm_engine_core::problem::{ErrorKind, counted, thousands};
use wasm_engine_files::unfinished::Unfinished;
use wasm_engine_wasm::{WASMTIME_RELEASE, check_machine};

/// The check of the cache of compiled modules.
const CODE_CACHE: &str = "code cache";

/// Advice where there is no folder for caches.
const NO_CACHE: &str =
    "name a folder of yours with WASM_ENGINE_CACHE_DIR, or set HOME: until then, modules are compiled in each run";

#[derive(Debug, Args)]
pub(super) struct DoctorArgs {
    /// Print one line of JSON
    #[arg(long)]
    json: bool,
    /// Check each entry of the cache of compiled modules; one that is damaged is never used
    #[arg(long)]
    verify: bool,
    /// Remove the damaged entries
    #[arg(long, requires = "verify")]
    remove_damaged: bool,
}

#[derive(Debug, Serialize)]
struct Report {
    /// Whether a scenario without models can run here.
    ok: bool,
    /// Whether all that was to be verified is whole.
    whole: bool,
    checks: Vec<Check>,
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Check {
    name: &'static str,
    ok: bool,
    value: String,
    /// Advice about it; empty where there is nothing to do.
    #[serde(skip_serializing_if = "str::is_empty")]
    advice: &'static str,
}

impl Check {
    /// Returns the check of something that was found.
    fn there(name: &'static str, value: impl Into<String>) -> Self {
        Self { name, ok: true, value: value.into(), advice: "" }
    }

    /// Returns the check of something that was looked for: where it isn't there, `advice` says what to do.
    fn of(name: &'static str, found: Result<String, String>, advice: &'static str) -> Self {
        match found {
            Ok(value) => Self::there(name, value),
            Err(value) => Self { name, ok: false, value, advice },
        }
    }
}

/// Runs the command.
pub(super) fn main(args: &DoctorArgs) -> Status {
    let report = report(args);
    let printed = match args.json {
        true => print_json(&serde_json::to_string(&report).unwrap_or_default()),
        false => print(&text(&report)),
    };
    match printed {
        Err(error) => fail(&error),
        Ok(()) if report.ok && report.whole => Status::Done,
        Ok(()) => ErrorKind::Machine.into(),
    }
}

fn report(args: &DoctorArgs) -> Report {
    let wasm = Check::of("webassembly", webassembly(), "this machine can't run compiled WebAssembly");
    let (ok, mut whole) = (wasm.ok, true);
    let mut checks = vec![
        Check::there("engine", env!("CARGO_PKG_VERSION")),
        Check::there(
            "system",
            format!("{} {}, {}", std::env::consts::OS, std::env::consts::ARCH, wasm_engine_files::cpu::class()),
        ),
        Check::there("cores", std::thread::available_parallelism().map_or_else(|e| e.to_string(), |n| n.to_string())),
        Check::of("memory", memory().ok_or_else(|| "not known".to_owned()), "nothing depends on it"),
        wasm,
        Check::of("cache", cache(args.verify), NO_CACHE),
        Check::of("onnx runtime", machine::onnx_runtime(), "only scenarios with models need it"),
        Check::of(
            "python pip",
            first_line("python3", &["-m", "pip", "--version"]),
            "it fetches ONNX Runtime once: install python3 with pip, or set ORT_DYLIB_PATH",
        ),
        Check::of(
            "guest target",
            guest_target(),
            "to build agents in Rust: rustup target add wasm32-unknown-unknown, or agents/toolchain.sh",
        ),
    ];
    if args.verify {
        let code = code_cache(args.remove_damaged);
        whole = code.ok;
        checks.push(code);
    }
    Report { ok, whole, checks }
}

fn text(report: &Report) -> Lines {
    let name_width = report.checks.iter().map(|check| check.name.len()).max().unwrap_or(0);
    let mut text = Lines::default();
    for check in &report.checks {
        let mark = match (check.ok, check.name) {
            (true, _) => "ok",
            (false, CODE_CACHE) => "damaged",
            (false, "cache") => "unused",
            (false, _) => "missing",
        };
        text.line(format_args!("{mark:<8}{:<name_width$}  {}", check.name, check.value));
        if !check.advice.is_empty() {
            text.line(format_args!("{:<8}{:<name_width$}  {}", "", "", check.advice));
        }
    }
    text.blank();
    text.line(if report.ok { "Scenarios can run here." } else { "Scenarios can't run here: see above." });
    text
}

fn webassembly() -> Result<String, String> {
    check_machine().map_err(|error| match error.help() {
        Some(help) => format!("{}; {help}", with_causes(&error)),
        None => with_causes(&error),
    })?;
    let without =
        if cfg!(feature = "cranelift") { "" } else { ", without a compiler: modules run whose code is in the cache" };
    Ok(format!("wasmtime {WASMTIME_RELEASE}{without}"))
}

/// Total and available memory, as Linux says it.
fn memory() -> Option<String> {
    let info = std::fs::read_to_string("/proc/meminfo").ok()?;
    let mebibytes = |key: &str| {
        let line = info.lines().find_map(|line| line.strip_prefix(key))?;
        line.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kibibytes| kibibytes / 1024)
    };
    let (total, available) = (mebibytes("MemTotal:")?, mebibytes("MemAvailable:")?);
    Some(format!("{} MiB, {} MiB available", thousands(total), thousands(available)))
}

/// Returns where the cache is, and its size. Another check looks at the entries, which takes as long as reading them.
fn cache(verify: bool) -> Result<String, String> {
    let path = machine::cache_dir().ok_or_else(|| "no home folder".to_owned())?;
    let shown = shown_path(&path);
    if !path.exists() {
        return Ok(format!("{shown} (made by the first run)"));
    }
    if !path.is_dir() {
        return Err(format!("{shown} can't be used: it isn't a folder"));
    }
    let code = path.join(CODE_FOLDER);
    check_code_cache(&code).map_err(|why| format!("{} {}", shown_path(&code), with_causes(&why)))?;
    let (files, bytes) = folder_size(&path);
    let note = if verify { "" } else { "; what is in it wasn't verified: --verify checks compiled modules" };
    Ok(format!("{shown}, {}, {} MiB{note}", counted(files, "file"), thousands(bytes >> 20)))
}

/// Returns whether the cache of compiled modules holds what was written there.
fn code_cache(remove: bool) -> Check {
    let Some(folder) = machine::cache_dir().map(|folder| folder.join(CODE_FOLDER)) else {
        return Check::of(CODE_CACHE, Err("no home folder".to_owned()), NO_CACHE);
    };
    let survey = match survey_code_cache(&folder) {
        Ok(survey) => survey,
        Err(why) => {
            let value = format!("{}: {}", shown_path(&folder), with_causes(&why));
            return Check::of(CODE_CACHE, Err(value), "see docs/CLI.md; until then, modules are compiled in each run");
        }
    };
    let CacheSurvey { whole, outdated, damaged, .. } = &survey;
    let removed = if remove { damaged.iter().filter(|file| std::fs::remove_file(file).is_ok()).count() } else { 0 };
    let value = format!(
        "{}: {} whole, {} of other versions, {} damaged{}",
        shown_path(&folder),
        thousands(*whole),
        thousands(*outdated),
        thousands(damaged.len() as u64),
        if remove { format!(", {removed} of them removed") } else { String::new() }
    );
    if damaged.len() == removed {
        return Check::there(CODE_CACHE, value);
    }
    let advice = "they aren't used, and are written anew when they are needed; --remove-damaged removes them. Look after the disk";
    Check::of(CODE_CACHE, Err(value), advice)
}

/// Returns the number and size of the files under a folder; links aren't followed.
fn folder_size(folder: &Path) -> (u64, u64) {
    let (mut files, mut bytes) = (0, 0);
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(metadata) if metadata.is_dir() => folders.push(entry.path()),
                Ok(metadata) => {
                    files += 1;
                    bytes += metadata.len();
                }
                Err(_) => {}
            }
        }
    }
    (files, bytes)
}

/// Returns whether rustc has the guests' target.
fn guest_target() -> Result<String, String> {
    // As cargo does: another compiler may be named.
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    let folder = first_line(&rustc, &["--print", "target-libdir", "--target", "wasm32-unknown-unknown"])?;
    if Path::new(&folder).is_dir() { Ok(folder) } else { Err("rustc has no wasm32-unknown-unknown".to_owned()) }
}

/// Returns the first line that a program prints.
fn first_line(program: &str, arguments: &[&str]) -> Result<String, String> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    // A signal ends it, too.
    let output = Unfinished::child(&mut command).and_then(|(child, _unfinished)| child.wait_with_output());
    let output = output.map_err(|_| format!("{program} isn't there"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    match text.lines().next() {
        Some(line) if output.status.success() => Ok(line.to_owned()),
        _ => Err(format!("{program} {} fails", arguments.join(" "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_can_run_scenarios() {
        let report = report(&DoctorArgs { json: false, verify: false, remove_damaged: false });
        assert!(report.ok);
        assert!(text(&report).as_str().ends_with("\nScenarios can run here.\n"));
    }
}
