#!/usr/bin/env bash
# Makes this machine able to build Rust agents for wasm32-unknown-unknown.
#
#   agents/toolchain.sh          make it so, and say what is used
#   agents/toolchain.sh --env    the same, and print the environment for a shell:
#                                eval "$(agents/toolchain.sh --env)"
#   agents/toolchain.sh --find   like --env, but installs nothing: fails if it would have to
#
# The environment: RUSTC, GUEST_CARGO (the cargo that goes with it), GUEST_LINKER_VERSION, and,
# where rustc brings no linker, CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER.
#
# The compiler in PATH is used when it has the target (`rustup target add wasm32-unknown-unknown`).
# Else, on Debian and as root, the packages rustc-web, cargo-web, rust-web-src and lld-NN are
# installed beside it, and the target's std is built from them into their own sysroot, once.
# Only building agents needs this. Running them and the tests doesn't: the .wasm are committed.
set -euo pipefail

target=wasm32-unknown-unknown

say() { printf 'toolchain: %s\n' "$*" >&2; }
fail() {
    say "error: $1"
    shift
    for line in "$@"; do say "  $line"; done
    exit 1
}
advice='with rustup, run: rustup target add wasm32-unknown-unknown'

usage() { sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "$0"; }

# True when $1 (a rustc) has core and std for the target.
has_target() {
    local libdir
    libdir=$("$1" --print target-libdir --target "$target" 2>/dev/null) || return 1
    compgen -G "$libdir/libcore-*.rlib" >/dev/null && compgen -G "$libdir/libstd-*.rlib" >/dev/null
}

# What std in Debian's sysroot was built from; another answer means that it must be built again.
std_stamp() {
    "$debian_rustc" -V
    dpkg-query -W -f '${Package} ${Version}\n' rust-web-src
}

# Debian's packages ---------------------------------------------------------------------------

installed() { [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

# Sets debian_rustc, debian_cargo, debian_linker, stamp_file; fails when a package is missing.
find_debian() {
    local package llvm
    command -v dpkg-query >/dev/null || return 1
    for package in rustc-web cargo-web rust-web-src; do installed "$package" || return 1; done
    debian_rustc=$(dpkg -L rustc-web | grep -m1 '/bin/rustc$') || return 1
    debian_cargo=$(dpkg -L cargo-web | grep -m1 '/bin/cargo$') || return 1
    llvm=$("$debian_rustc" -vV | sed -n 's/^LLVM version: \([0-9]*\).*/\1/p')
    lld_package=lld-$llvm
    debian_linker=$(command -v "wasm-ld-$llvm") || return 1
    stamp_file=$("$debian_rustc" --print target-libdir --target "$target")/built-from.txt
}

# A std without our stamp came another way, from a package or by hand: it is left as it is.
debian_ready() {
    find_debian && has_target "$debian_rustc" || return 1
    [ ! -e "$stamp_file" ] || [ "$(std_stamp)" = "$(cat "$stamp_file")" ]
}

install_packages() {
    local log
    log=$(mktemp)
    say "installing packages: $*"
    if ! { apt-get update && DEBIAN_FRONTEND=noninteractive \
        apt-get install -y --no-install-recommends "$@"; } >"$log" 2>&1; then
        tail -n 20 "$log" >&2
        rm -f "$log"
        fail "apt-get could not install: $*" "$advice" 'or look at the messages above and run this again'
    fi
    rm -f "$log"
}

# Builds std for the target and puts its rlibs into the sysroot. Offline: the packages bring the
# sources of std's own dependencies.
build_std() {
    local sysroot source libdir
    sysroot=$("$debian_rustc" --print sysroot)
    source=$sysroot/lib/rustlib/src/rust/library
    [ -d "$source/vendor" ] || fail "no sources of std in $source" 'reinstall rust-web-src'
    command -v cc >/dev/null || fail 'no C linker (cc) for build scripts' 'run: apt-get install gcc libc6-dev'
    libdir=$(dirname "$stamp_file")
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT # global: the trap runs after this function
    say "building std for $target (a minute, once)"
    mkdir -p "$work/std/src"
    printf '[package]\nname = "only_std"\nversion = "0.0.0"\nedition = "2021"\n' >"$work/std/Cargo.toml"
    printf '#![no_std]\n' >"$work/std/src/lib.rs"
    # The real path too: the package's source folder is reached through a link.
    if ! (cd "$work/std" && env -u RUSTUP_TOOLCHAIN -u CARGO_ENCODED_RUSTFLAGS -u RUSTC_WRAPPER \
        -u RUSTC_WORKSPACE_WRAPPER -u CARGO_BUILD_TARGET -u CARGO_INCREMENTAL \
        CARGO_HOME="$work/home" CARGO_TARGET_DIR="$work/target" RUSTC="$debian_rustc" RUSTC_BOOTSTRAP=1 \
        RUSTFLAGS="-C embed-bitcode=yes -Z force-unstable-if-unmarked \
--remap-path-prefix=$(readlink -f "$source")=/rustc/library --remap-path-prefix=$source=/rustc/library" \
        "$debian_cargo" build --offline --release -Z build-std=std,panic_abort --target "$target" \
        --config 'source.crates-io.replace-with="v"' \
        --config "source.v.directory='$source/vendor'") >"$work/log" 2>&1; then
        tail -n 40 "$work/log" >&2
        fail "std for $target did not build" "$advice"
    fi
    # Beside its final place first, so that a killed run leaves nothing half done.
    rm -rf "$libdir.new" "$libdir"
    mkdir -p "$libdir.new"
    rm -f "$work/target/$target/release/deps/"*only_std*
    cp "$work/target/$target/release/deps/"*.rlib "$libdir.new/"
    std_stamp >"$libdir.new/$(basename "$stamp_file")"
    mkdir -p "$(dirname "$libdir")"
    mv -T "$libdir.new" "$libdir"
}

make_debian() {
    command -v apt-get >/dev/null || fail "the compiler in PATH lacks the target $target" "$advice"
    if [ "$(id -u)" != 0 ]; then
        fail "the compiler in PATH lacks the target $target" "$advice" \
            'or run this script as root, which installs Debian packages beside it'
    fi
    exec 9</var/lib/dpkg
    flock 9 # one at a time: another run may be building the same thing
    if ! find_debian; then
        for package in rustc-web cargo-web rust-web-src; do
            installed "$package" || { install_packages rustc-web cargo-web rust-web-src; break; }
        done
        # The linker must be of the compiler's LLVM, whose version only the compiler knows.
        find_debian || install_packages "$lld_package"
        find_debian || fail "the packages are installed, but $lld_package brings no wasm-ld" "$advice"
    fi
    debian_ready || build_std
    debian_ready || fail "std for $target was built, but rustc does not find it" "$advice"
    exec 9<&-
}

# The answer ----------------------------------------------------------------------------------

# Prints the environment. $1 rustc, $2 cargo, $3 the linker or nothing, $4 the linker's version.
print_env() {
    echo 'unset RUSTUP_TOOLCHAIN RUSTFLAGS CARGO_ENCODED_RUSTFLAGS RUSTC_WRAPPER RUSTC_WORKSPACE_WRAPPER'
    printf 'export RUSTC=%q GUEST_CARGO=%q GUEST_LINKER_VERSION=%q\n' "$1" "$2" "$4"
    if [ -n "$3" ]; then
        printf 'export CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER=%q\n' "$3"
    else
        echo 'unset CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER'
    fi
}

answer() {
    [ "$mode" = make ] || print_env "$@"
    [ "$mode" != make ] || say "ready: $("$1" -V), linker: $4"
}

mode="make"
case "${1-}" in
'') ;;
--env) mode="env" ;;
--find) mode="find" ;;
-h | --help) usage; exit 0 ;;
*) usage >&2; exit 2 ;;
esac

lld_package=lld
# Asked from /, so that a rust-toolchain.toml of the engine doesn't choose the agents' compiler.
if rustc_in_path=$(command -v rustc) && sysroot=$(cd / && "$rustc_in_path" --print sysroot 2>/dev/null) &&
    [ -x "$sysroot/bin/rustc" ] && [ -x "$sysroot/bin/cargo" ] && has_target "$sysroot/bin/rustc" &&
    { compgen -G "$sysroot/lib/rustlib/*/bin/rust-lld*" || command -v rust-lld; } >/dev/null; then
    # Past rustup's proxies: the compiler itself, whatever RUSTUP_TOOLCHAIN says later.
    answer "$sysroot/bin/rustc" "$sysroot/bin/cargo" '' "the compiler's rust-lld"
    exit 0
fi
if ! debian_ready; then
    [ "$mode" != find ] || fail "no compiler for $target is ready" 'run: agents/toolchain.sh' "or, $advice"
    make_debian
fi
answer "$debian_rustc" "$debian_cargo" "$debian_linker" "$("$debian_linker" --version | head -n 1)"
