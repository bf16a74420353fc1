//! The pinned build of ONNX Runtime: its version, and for each platform the wheel that holds it, with both hashes.
//! [`super`] uses it.

/// Version of ONNX Runtime for which results are promised. Another one may give other last bits.
pub const ONNX_RUNTIME_VERSION: &str = "1.31.1";

/// Oldest minor version that has the functions which the engine calls (API 24).
pub(crate) const ONNX_RUNTIME_MINOR_MIN: u32 = 24;

/// The build for one platform.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pin {
    /// The wheel's platform tag.
    pub tag: String,
    /// SHA-256 of the wheel, in hexadecimal digits.
    pub wheel_sha256: String,
    /// File name of the library, which is in [`Pin::FOLDER`] of the wheel.
    pub member: String,
    /// SHA-256 of the library, in hexadecimal digits.
    pub library_sha256: String,
}

impl Pin {
    /// The folder of the library in the wheel.
    pub(crate) const FOLDER: &'static str = "onnxruntime/capi";

    /// Returns the pin of the platform for which this program was built, if there is one.
    pub(crate) fn of_this_platform() -> Option<Self> {
        // A library for glibc can't be loaded into a program with musl.
        if cfg!(all(target_os = "linux", not(target_env = "gnu"))) {
            return None;
        }
        Self::of(std::env::consts::OS, std::env::consts::ARCH)
    }

    /// Returns the pin of a platform, by Rust's names of operating system and architecture.
    pub(crate) fn of(os: &str, arch: &str) -> Option<Self> {
        PINS.iter().find(|pin| pin.0 == os && pin.1 == arch).map(|&(_, _, tag, wheel, member, library)| Self {
            tag: tag.into(),
            wheel_sha256: wheel.into(),
            member: member.into(),
            library_sha256: library.into(),
        })
    }

    /// Returns the arguments of `python -m pip` that fetch the wheel, whatever Python and machine pip runs on. The caller adds
    /// the requirement and the folder.
    pub(crate) fn pip_arguments(&self) -> Vec<&str> {
        let mut arguments = vec!["download", "--no-deps", "--only-binary=:all:", "--platform", &self.tag];
        arguments.extend(["--implementation", "cp", "--python-version", "3.12", "--abi", "cp312"]);
        arguments
    }

    /// Returns the line of a requirements file, with the hash.
    pub(crate) fn requirement(&self) -> String {
        format!("onnxruntime=={ONNX_RUNTIME_VERSION} --hash=sha256:{}\n", self.wheel_sha256)
    }
}

/// Operating system, architecture, tag, sha256 of the wheel, member, sha256 of the member.
const PINS: [(&str, &str, &str, &str, &str, &str); 4] = [
    (
        "linux",
        "x86_64",
        "manylinux_2_28_x86_64",
        "1f3dea47f2f0e5117c2404cea7d21fd253ae7836a3bf167a501cdfbb2600d536",
        "libonnxruntime.so.1.31.1",
        "fc44112fbe06d7d689c57e11d3862031f64711007e4ee020f8eed5185fd2c1d3",
    ),
    (
        "linux",
        "aarch64",
        "manylinux_2_28_aarch64",
        "0b9a492176886992e0e875f06bc0367e333f5fff11711a2d642e18b02f3009cc",
        "libonnxruntime.so.1.31.1",
        "8aa3b76b28c778a2b1dd660d34161adb1d508c9ccd04ff9dc80e26eca5df8467",
    ),
    (
        "macos",
        "aarch64",
        "macosx_14_0_arm64",
        "96dd2564b10ea7153ad9c207e7cd8e5917cb3ba521e0e0a62ac03486fdc8d56c",
        "libonnxruntime.1.31.1.dylib",
        "d586cbe89effc085a09d3341b3cfbd5c322517f9d397aeb20814af21433f2b36",
    ),
    (
        "windows",
        "x86_64",
        "win_amd64",
        "ae8a9a351efda685cc59a66226cdefaa37a126c1d66872ca23a2de9425326130",
        "onnxruntime.dll",
        "e45f61e50d8650885452be538a00bb14a715e46a1bc3691000ce947e89ed0306",
    ),
];
