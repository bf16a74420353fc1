//! What kind of CPU this is, as far as results of models may depend on it.

/// The widest vector instructions: float results of a model are bit-exact on one ONNX Runtime build and one such class.
pub fn class() -> &'static str {
    #[cfg(target_arch = "x86_64")]
    {
        let class = [
            (is_x86_feature_detected!("avx512vnni"), "AVX-512 with VNNI"),
            (is_x86_feature_detected!("avx512f"), "AVX-512"),
            (is_x86_feature_detected!("avx2"), "AVX2"),
            (is_x86_feature_detected!("avx"), "AVX"),
        ];
        class.iter().find(|(there, _)| *there).map_or("SSE2", |(_, name)| name)
    }
    #[cfg(target_arch = "aarch64")]
    {
        if std::arch::is_aarch64_feature_detected!("i8mm") { "NEON with I8MM" } else { "NEON" }
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    {
        "CPU features not known"
    }
}
