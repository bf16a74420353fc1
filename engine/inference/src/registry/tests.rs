//! What a load that takes too long comes to.

use super::*;

/// However slow a machine is, it gives a model no other form.
#[test]
fn a_model_whose_padded_graph_takes_too_long_at_load_is_refused() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/models/mixed-sum.onnx");
    let content = std::fs::read(path).unwrap();
    let graph = graph::read_graph(&content).unwrap();
    let runtime = runtime::start().unwrap();
    let within = |load_s| ModelLimits {
        load: Deadline::after(Duration::from_secs(load_s)),
        run: Duration::from_secs(60),
        unhurried: false,
        memory_bytes: 1 << 30,
    };
    let open = || session::open(runtime, &content, Said::default(), within(600)).unwrap_or_else(|_| panic!("it loads"));
    let decided = decide(runtime, &graph, open(), Said::default(), within(600));
    let (_, decided) = decided.unwrap_or_else(|problem| panic!("{problem}"));
    assert_eq!((decided.form, decided.padded.is_some()), (BatchForm::Any, true));
    // The model as it is was opened in time; of what it may take, nothing is left for the padded one.
    let problem = decide(runtime, &graph, open(), Said::default(), within(0)).err().unwrap();
    assert!(matches!(problem, ModelProblem::SlowLoad { .. }), "{problem}");
}
