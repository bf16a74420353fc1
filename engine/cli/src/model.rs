//! `wasm-engine model check`: shows the rows of a model, how they share runs, and which nodes of its graph decide that.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde::Serialize;
use wasm_engine_components::limits::{MODEL_AXIS_MAX, MODEL_DIM_MAX};
use wasm_engine_components::text::{Lines, shown_path};

use super::log::{LogArgs, Logged};
use super::status::Status;
use super::terminal::{fail, print, print_json};
use super::{machine, progress};
use wasm_engine_core::problem::counted;
use wasm_engine_core::scenario::ModelSpec;
use wasm_engine_core::simulation::SimulationError;
use wasm_engine_files::hex;
use wasm_engine_inference::{InferenceError, ModelInfo, ModelLoadOptions, OnnxRuntime, TensorInfo};

#[derive(Debug, Args)]
pub(super) struct ModelArgs {
    #[command(subcommand)]
    command: ModelCommand,
}

#[derive(Debug, Subcommand)]
enum ModelCommand {
    /// Open and probe a model, and say how its rows share runs, and why
    Check(Logged<CheckArgs>),
}

#[derive(Debug, Args)]
struct CheckArgs {
    /// The .onnx file
    file: PathBuf,
    /// The size of a dynamic dimension other than the batch, such as `seq=32` or `state[1]=32`, as a scenario's `dims`
    #[arg(long, value_name = "NAME=SIZE", value_parser = dimension)]
    dims: Vec<(String, u32)>,
    /// The dimension of an input or output that holds the rows, such as `state=1`, as a scenario's `batch_axes`
    #[arg(long, value_name = "TENSOR=DIMENSION", value_parser = axis)]
    batch_axes: Vec<(String, u32)>,
    /// Print one line of JSON
    #[arg(long)]
    json: bool,
}

/// Result of the check.
#[derive(Debug, Serialize)]
struct Report {
    sha256: String,
    onnx_runtime: String,
    cpu: &'static str,
    inputs: Vec<Tensor>,
    outputs: Vec<Tensor>,
    row_bytes: u32,
    output_bytes: u32,
    /// The form, as in a run's manifest.
    form: String,
    /// The form in words.
    meaning: String,
    /// Reasons why it isn't `any`.
    reasons: Vec<String>,
    nodes: Vec<Node>,
}

#[derive(Debug, Serialize)]
struct Tensor {
    name: String,
    dtype: String,
    /// Sizes of the dimensions; `null` for the dimension of the rows.
    shape: Vec<Option<u32>>,
}

/// A node that decides the form.
#[derive(Debug, Serialize)]
struct Node {
    name: String,
    operator: String,
    needs: String,
    reason: String,
}

impl Node {
    /// Returns the node's reason, as it is among `reasons`.
    fn reason(&self) -> String {
        format!("of `{}` ({}): {}", self.name, self.operator, self.reason)
    }
}

impl ModelArgs {
    /// Returns the options of every command that were given after the name of the last one.
    pub const fn log(&self) -> &LogArgs {
        let ModelCommand::Check(Logged { log, .. }) = &self.command;
        log
    }
}

/// Runs the command.
pub(super) fn main(args: &ModelArgs) -> Status {
    let ModelCommand::Check(Logged { args, .. }) = &args.command;
    let report = match report(args) {
        Ok(report) => report,
        Err(error) => return fail(&SimulationError::from(error).into()),
    };
    let printed = match args.json {
        true => print_json(&serde_json::to_string(&report).unwrap_or_default()),
        false => print(&text(&report)),
    };
    match printed {
        Ok(()) => Status::Done,
        Err(error) => fail(&error),
    }
}

fn report(args: &CheckArgs) -> Result<Report, InferenceError> {
    let name = shown_path(&args.file).to_string();
    let sorted = |pairs: &[(String, u32)]| {
        let mut pairs = pairs.to_vec();
        pairs.sort();
        pairs
    };
    let entry = ModelSpec::new(name, &args.file).with(|model| {
        model.dims = sorted(&args.dims);
        model.batch_axes = sorted(&args.batch_axes);
    });
    let cache_dir = machine::cache_dir();
    let options = ModelLoadOptions { cache_dir, progress: progress::loading(args.json), ..ModelLoadOptions::default() };
    let (runtime, infos) = OnnxRuntime::load(&[entry], &options)?;
    let version = runtime.version().unwrap_or_default().to_owned();
    // One entry gives one model.
    Ok(Report::new(&infos[0], version))
}

impl Report {
    fn new(info: &ModelInfo, onnx_runtime: String) -> Self {
        let tensors = |tensors: &[TensorInfo]| tensors.iter().map(Tensor::new).collect();
        let nodes = info.deciders.iter().map(|decider| Node {
            name: decider.node.clone(),
            operator: decider.operator.clone(),
            needs: if decider.is_padded { "padding inside the graph".into() } else { decider.form.name() },
            reason: decider.reason.clone(),
        });
        Self {
            sha256: hex(&info.sha256),
            onnx_runtime,
            cpu: wasm_engine_files::cpu::class(),
            inputs: tensors(&info.inputs),
            outputs: tensors(&info.outputs),
            row_bytes: info.row_bytes,
            output_bytes: info.output_bytes,
            form: info.form.name(),
            meaning: info.form.to_string(),
            reasons: info.reasons.clone(),
            nodes: nodes.collect(),
        }
    }
}

impl Tensor {
    fn new(info: &TensorInfo) -> Self {
        Self { name: info.name.clone(), dtype: info.dtype.to_string(), shape: info.shape.clone() }
    }

    fn text(&self) -> String {
        let size = |size: &Option<u32>| size.map_or_else(|| "batch".to_owned(), |size| size.to_string());
        let sizes: Vec<String> = self.shape.iter().map(size).collect();
        format!("{} {}[{}]", self.name, self.dtype, sizes.join(", "))
    }
}

fn text(report: &Report) -> Lines {
    let mut text = Lines::default();
    for (role, tensors) in [("input", &report.inputs), ("output", &report.outputs)] {
        for tensor in tensors {
            text.line(format_args!("{role:<8}{}", tensor.text()));
        }
    }
    let (given, got) = (counted(report.row_bytes, "byte"), counted(report.output_bytes, "byte"));
    text.line(format_args!("row     {given} in, {got} out"));
    text.line(format_args!("form    {}: {}", report.form, report.meaning));
    let of_nodes: Vec<String> = report.nodes.iter().map(Node::reason).collect();
    for reason in report.reasons.iter().filter(|reason| !of_nodes.contains(reason)) {
        text.line(format_args!("        because {reason}"));
    }
    for node in &report.nodes {
        text.line(format_args!("node    {} ({}) needs {}: {}", node.name, node.operator, node.needs, node.reason));
    }
    text.line(format_args!("on      ONNX Runtime {}, {}", report.onnx_runtime, report.cpu));
    text
}

fn dimension(text: &str) -> Result<(String, u32), String> {
    pair(text, 1..=MODEL_DIM_MAX)
}

fn axis(text: &str) -> Result<(String, u32), String> {
    pair(text, 0..=MODEL_AXIS_MAX)
}

fn pair(text: &str, range: std::ops::RangeInclusive<u32>) -> Result<(String, u32), String> {
    let (name, number) = text.rsplit_once('=').ok_or("write it as NAME=NUMBER")?;
    let number = number.parse().ok().filter(|number| range.contains(number));
    let number = number.ok_or_else(|| format!("the number is from {} to {}", range.start(), range.end()))?;
    Ok((name.to_owned(), number))
}
