//! Models: ONNX Runtime behind the port `ModelRuntime`.
