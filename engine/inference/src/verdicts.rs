//! Keeps verdicts of the probe from run to run, so that a model is probed once on a machine and not before each run. [`super::registry`]
//! uses it.
//!
//! It only saves time. A file that isn't exactly as it was written is a miss, and is written anew; if a file can't be written, the model is
//! probed again next time. A file is JSON in the form of [`wasm_engine_files::cache_file`].

use std::error::Error;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use wasm_engine_components::limits::SCENARIO_BYTES_MAX;

use super::admission::PROBE_VERSION;
use super::layout::Said;
use wasm_engine_components::BatchForm;
use wasm_engine_files::cache_file::{self, CacheFolder, FileForm, FileKey};
use wasm_engine_files::cpu;
use wasm_engine_files::hex;

/// Name of the folder of verdicts in the engine's cache folder.
const FOLDER: &str = "verdicts";
/// Kind of its files.
const VERDICT: FileForm =
    FileForm { magic: *b"weverd\r\n", version: 1, suffix: ".verdict", bytes_max: SCENARIO_BYTES_MAX };

/// A folder of verdicts, or none, so that nothing is kept.
#[derive(Clone, Debug)]
pub(crate) struct Verdicts {
    folder: Option<PathBuf>,
}

/// Key of a verdict: everything that may change it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct VerdictKey {
    model_sha256: String,
    dims: Vec<(String, u32)>,
    batch_axes: Vec<(String, u32)>,
    form: BatchForm,
    batch_rows_max: u32,
    /// Most memory of a run in bytes: rows that have no room in it aren't probed.
    memory_bytes: u64,
    /// The library, by version and hash.
    onnx_runtime: String,
    /// SHA-256 of the padded model, if it was padded.
    padded: Option<String>,
    cpu: String,
    engine: String,
    probe: u32,
}

/// The form that held, and why it isn't the one that the graph asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Kept {
    pub form: BatchForm,
    /// Number of the form's sizes of runs that have room in the memory, from the smallest on.
    pub sizes: usize,
    pub reasons: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct Entry {
    key: VerdictKey,
    kept: Kept,
}

impl VerdictKey {
    /// Returns the key of a model that is probed in `form`.
    pub(crate) fn new(
        sha256: [u8; 32],
        said: Said<'_>,
        form: BatchForm,
        (batch_rows_max, memory_bytes): (u32, u64),
        onnx_runtime: &str,
        padded: Option<String>,
    ) -> Self {
        Self {
            model_sha256: hex(&sha256),
            dims: said.dims.to_vec(),
            batch_axes: said.batch_axes.to_vec(),
            form,
            batch_rows_max,
            memory_bytes,
            onnx_runtime: onnx_runtime.to_owned(),
            padded,
            cpu: cpu::class().to_owned(),
            engine: env!("CARGO_PKG_VERSION").to_owned(),
            probe: PROBE_VERSION,
        }
    }

    fn file_key(&self) -> FileKey {
        let environment = cache_file::environment((&self.engine, self.probe, &self.onnx_runtime, &self.cpu));
        FileKey::new(environment, &serde_json::to_vec(self).unwrap_or_default())
    }
}

impl Verdicts {
    /// Returns the verdicts in the engine's cache folder, if there is one.
    pub(crate) fn new(cache_folder: Option<&Path>) -> Self {
        Self { folder: cache_folder.map(|folder| folder.join(FOLDER)) }
    }

    /// Returns whether verdicts are kept.
    pub(crate) const fn are_kept(&self) -> bool {
        self.folder.is_some()
    }

    /// Returns the verdict that was kept.
    pub(crate) fn find(&self, key: &VerdictKey) -> Option<Kept> {
        let folder = CacheFolder::existing(self.folder.as_ref()?, VERDICT).ok()??;
        let file = folder.find(&key.file_key()).ok()??;
        let entry: Entry = serde_json::from_slice(file.content()).ok()?;
        (entry.key == *key).then_some(entry.kept)
    }

    /// Keeps a verdict, if that is possible.
    pub(crate) fn keep(&self, key: VerdictKey, kept: Kept) {
        if let Some(folder) = &self.folder {
            // Without it, the model is probed again, and nothing else happens.
            let _ = write(folder, &Entry { key, kept });
        }
    }
}

fn write(folder: &Path, entry: &Entry) -> Result<(), Box<dyn Error>> {
    let content = serde_json::to_vec(entry)?;
    Ok(CacheFolder::open(folder, VERDICT)?.keep(&entry.key.file_key(), &content)?)
}

#[cfg(test)]
mod tests {
    use super::super::{InferenceError, ModelInfo, ModelLoadOptions, OnnxRuntime};
    use super::*;
    use wasm_engine_components::ModelSpec;

    fn seq(size: u32) -> [(String, u32); 1] {
        [("seq".into(), size)]
    }

    fn key() -> VerdictKey {
        of([7; 32], 3, BatchForm::Any, (64, 1 << 30), "1.31.1")
    }

    fn of(model: [u8; 32], size: u32, form: BatchForm, limits: (u32, u64), library: &str) -> VerdictKey {
        VerdictKey::new(model, Said { dims: &seq(size), batch_axes: &[] }, form, limits, library, None)
    }

    fn file_name(key: &VerdictKey) -> String {
        VERDICT.file_name(&key.file_key())
    }

    fn kept() -> Kept {
        Kept { form: BatchForm::Multiple(16), sizes: 3, reasons: vec!["a \"row\"\n".into()] }
    }

    #[test]
    fn a_verdict_is_found_for_the_same_model_machine_and_probe_alone() {
        let folder = tempfile::tempdir().unwrap();
        let verdicts = Verdicts::new(Some(folder.path()));
        assert_eq!(verdicts.find(&key()), None);
        verdicts.keep(key(), kept());
        assert_eq!(verdicts.find(&key()), Some(kept()));
        for other in [
            of([8; 32], 3, BatchForm::Any, (64, 1 << 30), "1.31.1"),
            of([7; 32], 4, BatchForm::Any, (64, 1 << 30), "1.31.1"),
            of([7; 32], 3, BatchForm::Multiple(16), (64, 1 << 30), "1.31.1"),
            of([7; 32], 3, BatchForm::Any, (65, 1 << 30), "1.31.1"),
            of([7; 32], 3, BatchForm::Any, (64, 1 << 29), "1.31.1"),
            of([7; 32], 3, BatchForm::Any, (64, 1 << 30), "1.31.2"),
            VerdictKey { padded: Some("another".into()), ..key() },
            VerdictKey { cpu: "another".into(), ..key() },
            VerdictKey { probe: PROBE_VERSION + 1, ..key() },
        ] {
            assert_eq!(verdicts.find(&other), None, "{other:?}");
        }
        let nowhere = Verdicts::new(None);
        nowhere.keep(key(), kept());
        assert_eq!(nowhere.find(&key()), None);
    }

    #[test]
    fn a_file_with_any_byte_changed_or_cut_is_a_miss() {
        let folder = tempfile::tempdir().unwrap();
        let verdicts = Verdicts::new(Some(folder.path()));
        verdicts.keep(key(), kept());
        let path = folder.path().join(FOLDER).join(file_name(&key()));
        let whole = std::fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << (at % 8);
            std::fs::write(&path, &bytes).unwrap();
            assert_eq!(verdicts.find(&key()), None, "byte {at}");
            std::fs::write(&path, &whole[..at]).unwrap();
            assert_eq!(verdicts.find(&key()), None, "cut at {at}");
        }
        // The entry of another key under this one's name.
        verdicts.keep(VerdictKey { probe: 0, ..key() }, kept());
        std::fs::rename(folder.path().join(FOLDER).join(file_name(&VerdictKey { probe: 0, ..key() })), &path).unwrap();
        assert_eq!(verdicts.find(&key()), None);
        verdicts.keep(key(), kept());
        assert_eq!(verdicts.find(&key()), Some(kept()));
        // Only whole files are in the folder.
        assert_eq!(std::fs::read_dir(folder.path().join(FOLDER)).unwrap().count(), 1);
    }

    /// A model isn't probed again where a verdict is kept, and a damaged one is put right.
    #[test]
    fn a_load_takes_what_was_kept() {
        let folder = tempfile::tempdir().unwrap();
        let entry = entry("gemm");
        let sha256 = wasm_engine_files::sha256(&std::fs::read(&entry.path).unwrap());
        let load = |cache: Option<&Path>| {
            let (runtime, info) = load(&entry, cache).unwrap();
            (runtime.version().unwrap().to_owned(), info)
        };
        let (_, plain) = load(None);
        assert_eq!(load(Some(folder.path())).1, plain);
        let library = super::super::runtime::start().unwrap().identity();
        let key = VerdictKey::new(sha256, Said::default(), plain.form, (64, 1 << 30), library, None);
        assert_eq!(Verdicts::new(Some(folder.path())).find(&key).unwrap().form, plain.form);
        // Another verdict shows that it is taken.
        let other = Kept { form: BatchForm::Alone, sizes: 1, reasons: vec!["somebody said so".into()] };
        Verdicts::new(Some(folder.path())).keep(key.clone(), other);
        let kept = load(Some(folder.path())).1;
        assert_eq!((kept.form, kept.reasons.last().unwrap().as_str()), (BatchForm::Alone, "somebody said so"));
        let file = folder.path().join(FOLDER).join(file_name(&key));
        std::fs::write(&file, "damaged").unwrap();
        assert_eq!(load(Some(folder.path())).1, plain);
        assert!(Verdicts::new(Some(folder.path())).find(&key).is_some());
    }

    /// How much memory there is makes no form safer, and what was found with less of it isn't taken for more.
    #[test]
    fn a_form_follows_from_no_memory() {
        let folder = tempfile::tempdir().unwrap();
        let load = |megabytes: u64| {
            let loaded =
                load(&entry("waves").with(|model| model.run_memory_bytes_max = megabytes << 20), Some(folder.path()));
            loaded.map(|(_, info)| (info.form, info.reasons.len())).map_err(|error| error.to_string())
        };
        let plenty = load(1 << 10);
        assert_eq!(plenty.as_ref().unwrap().0, BatchForm::Multiple(16));
        // A run of 16 rows has no room, though one of a row has.
        let refused = load(3).unwrap_err();
        assert!(refused.contains("needs more than 3145728 bytes of memory for what it computes"), "{refused}");
        assert!(refused.contains("`run_memory_bytes_max`"), "{refused}");
        // With room for 16, and not for 64. The second time, that is kept.
        assert_eq!((load(12), load(12), load(1 << 10)), (plenty.clone(), plenty.clone(), plenty));
        let files = std::fs::read_dir(folder.path().join(FOLDER)).unwrap();
        let mut sizes: Vec<usize> = files
            .map(|file| {
                let found = std::fs::read(file.unwrap().path()).unwrap();
                let text = String::from_utf8_lossy(&found).into_owned();
                text.split_once("\"sizes\":").unwrap().1[..1].parse().unwrap()
            })
            .collect();
        sizes.sort_unstable();
        assert!(sizes.len() == 2 && sizes[0] < sizes[1] && sizes[1] == 3, "{sizes:?}");
    }

    fn load(entry: &ModelSpec, cache: Option<&Path>) -> Result<(OnnxRuntime, ModelInfo), InferenceError> {
        let options = ModelLoadOptions { cache_dir: cache.map(Path::to_path_buf), ..ModelLoadOptions::default() };
        let (runtime, mut infos) = OnnxRuntime::load(std::slice::from_ref(entry), &options)?;
        Ok((runtime, infos.remove(0)))
    }

    fn entry(name: &str) -> ModelSpec {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../tests/models/{name}.onnx"));
        ModelSpec::new(name, path)
    }
}
