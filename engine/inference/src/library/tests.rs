//! The resolution with a fake wheel: who is asked, in which order, and what is done with bad answers.

use std::io::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tracing::field::Field;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::registry::Registry;
use wasm_engine_components::text::shown_path;

use super::fetch::{NotFetched, command_line, said_by_system};
use super::*;
use wasm_engine_files::{hex, sha256};

const LIBRARY: &[u8] = b"the library";

/// A wheel that holds `library`, and the pin of the wheel that holds [`LIBRARY`].
fn wheel(library: &[u8]) -> Vec<u8> {
    let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default();
    archive.start_file("onnxruntime/capi/other", options).unwrap();
    archive.write_all(b"something else").unwrap();
    archive.start_file("onnxruntime/capi/library.so", options).unwrap();
    archive.write_all(library).unwrap();
    archive.finish().unwrap().into_inner()
}

fn pin() -> Pin {
    let hash = |bytes: &[u8]| hex(&sha256(bytes));
    Pin {
        tag: "this_platform".into(),
        wheel_sha256: hash(&wheel(LIBRARY)),
        member: "library.so".into(),
        library_sha256: hash(LIBRARY),
    }
}

/// What the work gives, and what is told of downloads.
fn listen<R>(work: impl FnOnce() -> R) -> (R, Vec<String>) {
    let lines = Arc::<Mutex<Vec<String>>>::default();
    let listener = Registry::default().with(Downloads(Arc::clone(&lines)));
    let result = tracing::subscriber::with_default(listener, work);
    let lines = std::mem::take(&mut *lines.lock().unwrap());
    (result, lines)
}

struct Downloads(Arc<Mutex<Vec<String>>>);

impl<S: Subscriber> Layer<S> for Downloads {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        assert_eq!((event.metadata().target(), *event.metadata().level()), (DOWNLOAD, Level::INFO));
        let lines = &mut *self.0.lock().unwrap();
        let mut add = |field: &Field, value: &dyn std::fmt::Debug| {
            assert_eq!(field.name(), "message");
            lines.push(format!("{value:?}"));
        };
        event.record(&mut add);
    }
}

/// A user with an empty cache.
struct Fixture {
    folder: tempfile::TempDir,
    settings: Settings,
}

impl Fixture {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let cache = folder.path().join("not made yet");
        Self { settings: Settings { override_path: None, cache: Some(cache), pin: Some(pin()) }, folder }
    }

    fn cached(&self) -> PathBuf {
        self.settings.cached().unwrap().1
    }

    /// Resolves with a download that leaves such wheels: the result, what was said, and how often it was asked.
    fn resolve(&self, wheels: &[Vec<u8>]) -> (Result<ResolvedLibrary, LibraryError>, Vec<String>, usize) {
        let mut asked = 0;
        let mut download = |_: &Pin, folder: &Path| {
            asked += 1;
            for (number, wheel) in wheels.iter().enumerate() {
                std::fs::write(folder.join(format!("onnxruntime-{number}.whl")), wheel).unwrap();
            }
            Ok(())
        };
        let (result, said) = listen(|| resolve_with(&self.settings, &mut download));
        (result, said, asked)
    }

    /// The files in the cache's folder, but for the lock.
    fn left(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.cached().parent().unwrap()).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name != ".lock").collect()
    }
}

#[test]
fn the_first_run_fetches_and_the_second_finds() {
    let user = Fixture::new();
    let (first, said, asked) = user.resolve(&[wheel(LIBRARY)]);
    assert_eq!(first.unwrap(), ResolvedLibrary { path: user.cached(), source: LibrarySource::Fetched });
    assert_eq!(asked, 1);
    let [line] = &said[..] else { panic!("{said:?}") };
    assert!(line.contains("isn't on this machine yet: fetching it once with pip (about 20 MB) into"), "{line}");
    assert_eq!(std::fs::read(user.cached()).unwrap(), LIBRARY);
    assert_eq!(user.left(), ["library.so"]);

    let (second, said, asked) = user.resolve(&[]);
    assert_eq!(second.unwrap().source, LibrarySource::Cache);
    assert!(said.is_empty() && asked == 0, "{said:?}");
}

#[test]
fn a_torn_file_in_the_cache_is_said_and_fetched_again() {
    let user = Fixture::new();
    user.resolve(&[wheel(LIBRARY)]).0.unwrap();
    std::fs::write(user.cached(), &LIBRARY[..4]).unwrap();
    assert!(matches!(locate(&user.settings), LibraryLocation::ToBeFetched { damaged: true, .. }));
    let (again, said, asked) = user.resolve(&[wheel(LIBRARY)]);
    assert_eq!((again.unwrap().source, asked), (LibrarySource::Fetched, 1));
    assert!(said[0].contains("isn't what it was") && said[0].contains("again"), "{said:?}");
    assert_eq!(std::fs::read(user.cached()).unwrap(), LIBRARY);
}

#[test]
fn what_isnt_pinned_is_never_used() {
    let user = Fixture::new();
    let (result, _, _) = user.resolve(&[wheel(b"another library")]);
    let error = result.unwrap_err().to_string();
    assert!(error.starts_with("the wheel of ONNX Runtime 1.31.1 has the sha256"), "{error}");
    assert!(error.contains(&pin().wheel_sha256), "{error}");
    assert!(user.left().is_empty());

    // The right wheel by its hash, but with another library in it.
    let mut user = Fixture::new();
    let other = wheel(b"another library");
    user.settings.pin.as_mut().unwrap().wheel_sha256 = hex(&sha256(&other));
    let error = user.resolve(&[other]).0.unwrap_err();
    assert!(matches!(error, LibraryError::WrongHash { what: "the library", .. }), "{error}");
    assert!(user.left().is_empty());
}

#[test]
fn a_wheel_that_isnt_there_or_isnt_one_is_an_error() {
    let user = Fixture::new();
    assert!(matches!(user.resolve(&[]).0, Err(LibraryError::Unpack { .. })));
    assert!(matches!(user.resolve(&[wheel(LIBRARY), wheel(LIBRARY)]).0, Err(LibraryError::Unpack { .. })));

    let mut user = Fixture::new();
    let text = b"not a zip file".to_vec();
    user.settings.pin.as_mut().unwrap().wheel_sha256 = hex(&sha256(&text));
    assert!(matches!(user.resolve(&[text]).0, Err(LibraryError::Unpack { .. })));
}

#[test]
fn without_pip_the_error_says_what_was_tried_and_what_to_run() {
    let user = Fixture::new();
    let mut download = |_: &Pin, _: &Path| {
        let attempt = |program: &str| Attempt { program: program.into(), problem: "there is no such program".into() };
        Err(NotFetched::Attempts(vec![attempt("python3 -m pip"), attempt("pip")]))
    };
    let error = resolve_with(&user.settings, &mut download).unwrap_err().to_string();
    for part in [
        "python3 -m pip: there is no such program; ",
        "; pip: there is no such program)",
        "python3 -m pip download --no-deps --only-binary=:all: --platform this_platform",
        "onnxruntime==1.31.1",
        "onnxruntime/capi/library.so",
        "set ORT_DYLIB_PATH",
    ] {
        assert!(error.contains(part), "{part} isn't in: {error}");
    }
    assert!(user.left().is_empty());
}

/// What pip says at the end of a traceback.
#[cfg(unix)]
#[test]
fn what_the_machine_lacks_is_told_from_a_pip_that_fails() {
    let of = |text| said_by_system(text).and_then(|error| error.raw_os_error());
    assert_eq!(of("Traceback\nOSError: [Errno 28] No space left on device"), Some(libc::ENOSPC));
    assert_eq!(of("('Connection broken', OSError(27, 'File too large'))"), Some(libc::EFBIG));
    assert_eq!(of("OSError: [Errno 24] Too many open files: '/x'\n"), Some(libc::EMFILE));
    assert_eq!(of("[Errno 111] Connection refused"), None, "another pip, or another day");
    assert_eq!(of("[Errno ] OSError(x) no matching distribution"), None);
}

#[cfg(unix)]
#[test]
fn what_to_do_about_the_cache_follows_from_what_the_machine_lacks() {
    let user = Fixture::new();
    for (raw, parts) in [
        (libc::ENOSPC, ["make room on that disk", "WASM_ENGINE_CACHE_DIR names another folder"]),
        (libc::EFBIG, ["`ulimit -f`", "WASM_ENGINE_CACHE_DIR names another folder"]),
        (libc::EMFILE, ["(os error 24)", "raise the limit of open files (`ulimit -n`)"]),
        (libc::EAGAIN, ["(os error 11)", "raise the limit of threads and processes (`ulimit -u`)"]),
        (libc::EACCES, ["make it writable", "WASM_ENGINE_CACHE_DIR to another folder"]),
    ] {
        let mut download = |_: &Pin, _: &Path| Err(NotFetched::Machine(std::io::Error::from_raw_os_error(raw)));
        let error = resolve_with(&user.settings, &mut download).unwrap_err().to_string();
        assert!(!error.contains("pip") && parts.iter().all(|part| error.contains(part)), "{error}");
        assert!(user.left().is_empty());
    }
    let file = user.folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let settings = Settings { cache: Some(file.clone()), ..user.settings };
    let error = resolve_with(&settings, &mut |_, _| Ok(())).unwrap_err().to_string();
    let told = format!("{} is no folder: move it away, or name another folder", shown_path(&file));
    assert!(
        error.contains(&told) && error.ends_with("WASM_ENGINE_CACHE_DIR names the folder for the cache"),
        "{error}"
    );
}

/// Its hash says what the file was, and it is loaded after that.
#[cfg(unix)]
#[test]
fn a_library_that_others_could_swap_is_not_loaded() {
    use std::os::unix::fs::PermissionsExt as _;

    let user = Fixture::new();
    user.resolve(&[wheel(LIBRARY)]).0.unwrap();
    let (file, cache) = (user.cached(), user.settings.cache.clone().unwrap());
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert!(file.ancestors().skip(1).take_while(|path| path.starts_with(&cache)).all(|path| mode(path) == 0o700));
    let set = |path: &Path, mode| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    for path in [&*file, file.parent().unwrap(), &cache] {
        let before = mode(path);
        set(path, 0o777);
        let (result, _, asked) = user.resolve(&[wheel(LIBRARY)]);
        let error = result.unwrap_err();
        assert!(matches!(&error, LibraryError::OthersMayWrite { path: found, .. } if found == path), "{error}");
        let told = format!("anybody may write {}, and with it what would be run", shown_path(path));
        assert!(
            asked == 0 && error.to_string().contains(&told) && error.to_string().contains("`chmod go-w`"),
            "{error}"
        );
        assert!(matches!(locate(&user.settings), LibraryLocation::Nowhere(LibraryError::OthersMayWrite { .. })));
        set(path, before);
    }
    // One that is shared can only be read; in a folder such as /tmp nobody removes what others have made.
    set(&file, 0o444);
    set(file.parent().unwrap(), 0o555);
    set(&cache, 0o1777);
    assert_eq!(user.resolve(&[]).0.unwrap().source, LibrarySource::Cache);
    set(file.parent().unwrap(), 0o755);
}

#[test]
fn the_override_comes_first_and_is_never_passed_over() {
    let mut user = Fixture::new();
    let file = user.folder.path().join("mine.so");
    user.settings.override_path = Some(file.clone().into());
    for make in [|_: &Path| (), |file: &Path| std::fs::create_dir(file).unwrap()] {
        make(&file);
        let (result, said, asked) = user.resolve(&[wheel(LIBRARY)]);
        let error = result.unwrap_err().to_string();
        assert!(error.starts_with(&format!("ORT_DYLIB_PATH is set to {}, which", shown_path(&file))), "{error}");
        assert!(said.is_empty() && asked == 0);
        assert!(matches!(locate(&user.settings), LibraryLocation::Nowhere(_)));
    }
    std::fs::remove_dir(&file).unwrap();
    std::fs::write(&file, "any content: the user's own word").unwrap();
    let found = user.resolve(&[]).0.unwrap();
    assert_eq!(found, ResolvedLibrary { path: file, source: LibrarySource::Override });

    // An empty variable is an unset one.
    user.settings.override_path = Some(OsString::new());
    assert_eq!(user.resolve(&[wheel(LIBRARY)]).0.unwrap().source, LibrarySource::Fetched);
}

#[test]
fn without_a_pin_or_a_home_the_error_says_so() {
    let mut user = Fixture::new();
    user.settings.cache = None;
    assert!(matches!(user.resolve(&[]).0, Err(LibraryError::NoCacheFolder)));
    user.settings.pin = None;
    assert!(matches!(user.resolve(&[]).0, Err(LibraryError::UnknownPlatform { .. })));
    assert!(matches!(locate(&user.settings), LibraryLocation::Nowhere(LibraryError::UnknownPlatform { .. })));

    // A cache that can't be made: a file is in its place.
    let mut user = Fixture::new();
    let file = user.folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    user.settings.cache = Some(file);
    let error = user.resolve(&[]).0.unwrap_err().to_string();
    assert!(error.contains("WASM_ENGINE_CACHE_DIR"), "{error}");
}

#[test]
fn looking_fetches_nothing() {
    let user = Fixture::new();
    assert!(matches!(locate(&user.settings), LibraryLocation::ToBeFetched { damaged: false, .. }));
    assert!(!user.settings.cache.as_ref().unwrap().exists());
    user.resolve(&[wheel(LIBRARY)]).0.unwrap();
    assert!(matches!(locate(&user.settings), LibraryLocation::Here(_)));
}

#[test]
fn of_many_at_once_one_fetches() {
    let user = Fixture::new();
    let asked = AtomicUsize::new(0);
    let start = std::sync::Barrier::new(8);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                start.wait();
                let mut download = |_: &Pin, folder: &Path| {
                    asked.fetch_add(1, Ordering::Relaxed);
                    std::thread::sleep(std::time::Duration::from_millis(20));
                    std::fs::write(folder.join("a.whl"), wheel(LIBRARY)).unwrap();
                    Ok(())
                };
                let found = resolve_with(&user.settings, &mut download).unwrap();
                assert_eq!(std::fs::read(found.path).unwrap(), LIBRARY);
            });
        }
    });
    assert_eq!(asked.load(Ordering::Relaxed), 1);
    assert_eq!(user.left(), ["library.so"]);
}

/// Where locks don't work, all fetch; each reader sees a whole file.
#[test]
fn writers_without_a_lock_leave_a_whole_file() {
    let user = Fixture::new();
    let target = user.cached();
    std::fs::create_dir_all(target.parent().unwrap()).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut download = |_: &Pin, folder: &Path| {
                    std::fs::write(folder.join("a.whl"), wheel(LIBRARY)).unwrap();
                    Ok(())
                };
                fetch(&pin(), &target, &mut download).unwrap();
                assert_eq!(check(&pin(), &target), Cached::Good);
            });
        }
    });
    assert_eq!(user.left(), ["library.so"]);
}

#[test]
fn the_four_platforms_are_pinned() {
    for (os, arch) in [("linux", "x86_64"), ("linux", "aarch64"), ("macos", "aarch64"), ("windows", "x86_64")] {
        let pin = Pin::of(os, arch).unwrap();
        assert_eq!((pin.wheel_sha256.len(), pin.library_sha256.len()), (64, 64));
        assert!(command_line(&pin).contains(&pin.tag));
        assert_eq!(pin.requirement(), format!("onnxruntime==1.31.1 --hash=sha256:{}\n", pin.wheel_sha256));
    }
    assert_eq!(Pin::of("macos", "x86_64"), None);
}

/// The real wheel, into an empty cache.
#[test]
#[ignore = "fetches 20 MB; the other tests use what the user's cache holds"]
fn pip_fetches_the_real_wheel() {
    let mut user = Fixture::new();
    user.settings.pin = Some(Pin::of_this_platform().unwrap());
    let (found, said) = listen(|| resolve_with(&user.settings, &mut download_with_pip));
    assert_eq!((found.unwrap().source, said.len()), (LibrarySource::Fetched, 1));
    assert_eq!(user.left().len(), 1);
}
