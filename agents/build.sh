#!/usr/bin/env bash
# Builds the sample agents of agents/samples and keeps the result in agents/samples/wasm; and the
# large agent of agents/large in agents/large/wasm.
#
#   agents/build.sh                build, copy the .wasm, write wasm/manifest.toml
#   agents/build.sh --check        rebuild in a temporary folder and compare with the manifest:
#                                  the bytes when compiler and linker are the manifest's, else
#                                  only that the committed files are the manifest's
#   agents/build.sh --check-files  only the latter; needs no compiler
#
# The compiler comes from agents/toolchain.sh. Equal sources, compiler and linker give equal bytes
# in any folder. Another compiler gives other bytes and the same behaviour, which the Rust tests
# check, not this script.
set -euo pipefail

agents=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
repo=$(dirname "$agents")
sets=(samples large)
target=wasm32-unknown-unknown

# Makes one of the sets the one that is built and compared.
choose() {
    sources=$agents/$1
    wasm=$sources/wasm
    manifest=$wasm/manifest.toml
}

say() { printf 'agents: %s\n' "$*" >&2; }
fail() { say "error: $*"; exit 1; }

sha256() {
    if command -v sha256sum >/dev/null; then sha256sum <"$1"; else shasum -a 256 <"$1"; fi | cut -d' ' -f1
}
bytes() { wc -c <"$1" | tr -d ' '; }

# The manifest ----------------------------------------------------------------------------------

# Prints the manifest of the .wasm files in folder $1.
write_manifest() {
    local file
    echo '# Written by agents/build.sh, compared by agents/build.sh --check. Not to be edited.'
    printf 'compiler = "%s"\nlinker = "%s"\n' "$compiler" "$GUEST_LINKER_VERSION"
    for file in "$1"/*.wasm; do
        [ -e "$file" ] || continue
        printf '\n[modules.%s]\nsha256 = "%s"\nbytes = %s\n' \
            "$(basename "$file" .wasm)" "$(sha256 "$file")" "$(bytes "$file")"
    done
}

# The value of a key at the top of the manifest.
manifest_key() { sed -n "s/^$1 = \"\(.*\)\"\$/\1/p" "$manifest" | head -n 1; }

# Lines `NAME SHA256 BYTES` of the manifest.
manifest_modules() {
    awk '/^\[modules\./ { name = substr($0, 10, length($0) - 10) }
         /^sha256 = / { gsub(/"/, "", $3); sha = $3 }
         /^bytes = / { print name, sha, $3 }' "$manifest"
}

# Compares the .wasm files of folder $1 (called $2 in messages) with the manifest; says each
# difference, and fails when there is one.
compare() {
    local name sha size file differs=0
    while read -r name sha size; do
        file=$1/$name.wasm
        if [ ! -e "$file" ]; then
            say "$name: in the manifest, but not among the $2"
            differs=1
        elif [ "$(sha256 "$file")" != "$sha" ]; then
            say "$name: the $2 file differs from the manifest ($(bytes "$file") bytes, manifest $size)"
            differs=1
        fi
    done < <(manifest_modules)
    for file in "$1"/*.wasm; do
        [ -e "$file" ] || continue
        name=$(basename "$file" .wasm)
        if ! manifest_modules | cut -d' ' -f1 | grep -qxF -- "$name"; then
            say "$name: among the $2, but not in the manifest"
            differs=1
        fi
    done
    return "$differs"
}

# The build -------------------------------------------------------------------------------------

find_compiler() {
    local environment
    environment=$("$agents/toolchain.sh" --env)
    eval "$environment"
    compiler=$("$RUSTC" -V)
}

# Writes the compiler's wrapper to $1. Cargo derives each crate's id (rustc's -C metadata) from
# its absolute path when it lies outside the workspace, as the SDK and the ABI do. The id is part
# of every symbol's name, and names decide the order of functions: two folders would give two
# modules. The wrapper puts name and version in its place.
write_wrapper() {
    cat >"$1" <<'WRAPPER'
#!/usr/bin/env bash
arguments=()
for argument in "$@"; do
    case $argument in
    metadata=*) argument="metadata=$CARGO_PKG_NAME-$CARGO_PKG_VERSION" ;;
    -Cmetadata=*) argument="-Cmetadata=$CARGO_PKG_NAME-$CARGO_PKG_VERSION" ;;
    esac
    arguments+=("$argument")
done
exec "${arguments[@]}"
WRAPPER
    chmod +x "$1"
}

# Builds all crates with cargo's target folder $1 and copies their .wasm into folder $2. Further
# arguments are cargo's.
build() {
    local target_dir=$1 out=$2 sysroot cargo_home log files file
    shift 2
    sysroot=$("$RUSTC" --print sysroot)
    cargo_home=${CARGO_HOME:-$HOME/.cargo}
    case $repo$target_dir$cargo_home in *"'"*) fail "paths with a ' in them don't work here: $repo" ;; esac
    log=$(mktemp)
    write_wrapper "$work/rustc-wrapper"
    # The folders of this machine, under names that are the same on any. Later ones win.
    if ! (cd "$sources" && env -u CARGO_BUILD_TARGET -u CARGO_BUILD_RUSTFLAGS -u CARGO_INCREMENTAL \
        RUSTC_WRAPPER="$work/rustc-wrapper" \
        "$GUEST_CARGO" build --release "$@" --target "$target" --target-dir "$target_dir" \
        --message-format json-render-diagnostics \
        --config "target.$target.rustflags=['--remap-path-prefix=$cargo_home=/cargo',
'--remap-path-prefix=$sysroot/lib/rustlib/src/rust=/rustc',
'--remap-path-prefix=$repo=/wasm-engine', '--remap-path-prefix=$target_dir=/target']") >"$log"; then
        rm -f "$log"
        fail 'the agents did not build (messages above)'
    fi
    # Only what cargo names: the target folder may hold modules of crates that are gone.
    files=$(grep -o '"[^"]*/'"$target"'/release/[^"/]*\.wasm"' "$log" | tr -d '"' | sort -u) || true
    rm -f "$log"
    [ -n "$files" ] || fail 'no crate made a .wasm: is its crate-type cdylib?'
    # Data, not programs: without the linker's x bit, which git would record.
    while read -r file; do install -m 644 "$file" "$out/"; done <<<"$files"
}

do_build() {
    local built=$work/$1
    say "building $1 with $compiler"
    mkdir "$built"
    build "$repo/target/guests-$1" "$built"
    write_manifest "$built" >"$built/manifest.toml"
    mkdir -p "$wasm"
    rm -f "$wasm"/*.wasm
    cp "$built"/*.wasm "$built/manifest.toml" "$wasm/"
    manifest_modules | while read -r name _ size; do say "$name: $size bytes"; done
}

check_files() {
    [ -e "$manifest" ] || fail "$manifest is missing: run agents/build.sh"
    compare "$wasm" committed || fail 'the committed modules and their manifest differ: run agents/build.sh'
}

do_check() {
    check_files
    if [ "$compiler" != "$(manifest_key compiler)" ] || [ "$GUEST_LINKER_VERSION" != "$(manifest_key linker)" ]; then
        say "another compiler: here $compiler, $GUEST_LINKER_VERSION;" \
            "in the manifest $(manifest_key compiler), $(manifest_key linker)"
        say 'bytes not compared; the committed files are the manifest'"'"'s'
        return
    fi
    mkdir "$work/$1"
    build "$work/target-$1" "$work/$1" --locked
    compare "$work/$1" rebuilt || fail 'the sources give other modules than are committed: run agents/build.sh'
    say "rebuilt $(manifest_modules | wc -l | tr -d ' ') modules: the same bytes as committed"
}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
each() {
    for set in "${sets[@]}"; do
        choose "$set"
        "$1" "$set"
    done
}

case "${1-}" in
'') find_compiler; each do_build ;;
--check) find_compiler; each do_check ;;
--check-files) each check_files; say "the committed modules are the manifests'" ;;
-h | --help) sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "$0" ;;
*) fail "unknown option $1: see agents/build.sh --help" ;;
esac
