//! The kind of this CPU, as far as results of models and compiled code may depend on it.

/// Returns the name of the widest vector instructions of this CPU. Float results of a model are bit-exact on one build of ONNX Runtime and one such
/// class.
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

/// Returns the names of the CPU's features that compiled code of modules may use, those that are there.
pub fn features() -> Vec<&'static str> {
    #[cfg(target_arch = "x86_64")]
    let all = [
        (is_x86_feature_detected!("sse3"), "sse3"),
        (is_x86_feature_detected!("ssse3"), "ssse3"),
        (is_x86_feature_detected!("sse4.1"), "sse4.1"),
        (is_x86_feature_detected!("sse4.2"), "sse4.2"),
        (is_x86_feature_detected!("popcnt"), "popcnt"),
        (is_x86_feature_detected!("lzcnt"), "lzcnt"),
        (is_x86_feature_detected!("bmi1"), "bmi1"),
        (is_x86_feature_detected!("bmi2"), "bmi2"),
        (is_x86_feature_detected!("fma"), "fma"),
        (is_x86_feature_detected!("avx"), "avx"),
        (is_x86_feature_detected!("avx2"), "avx2"),
        (is_x86_feature_detected!("avx512bitalg"), "avx512bitalg"),
        (is_x86_feature_detected!("avx512dq"), "avx512dq"),
        (is_x86_feature_detected!("avx512f"), "avx512f"),
        (is_x86_feature_detected!("avx512vl"), "avx512vl"),
        (is_x86_feature_detected!("avx512vbmi"), "avx512vbmi"),
    ];
    #[cfg(target_arch = "aarch64")]
    let all = [
        (std::arch::is_aarch64_feature_detected!("lse"), "lse"),
        (std::arch::is_aarch64_feature_detected!("paca"), "paca"),
        (std::arch::is_aarch64_feature_detected!("fp16"), "fp16"),
    ];
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let all: [(bool, &str); 0] = [];
    all.into_iter().filter(|(there, _)| *there).map(|(_, name)| name).collect()
}
