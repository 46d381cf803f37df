#!/usr/bin/env bash
# Builds what is given to users, into dist/: for each architecture a tarball and an RPM, install.sh on its own, a
# software bill of materials, and SHA256SUMS over all of it. The same commit gives the same bytes.
#
#   package.sh [--arch x86_64|aarch64]... [--out FOLDER]
#
# Fails if a binary asks for a newer C library than Amazon Linux 2 has, is larger than promised, or does not start.
set -euo pipefail

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
CACHE="${EMR_ECR_AGENT_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/emr-ecr-agent}"
TOOLS="$CACHE/package"
# Outside the tree: other flags than those of everyday builds.
TARGET_DIR="$CACHE/package-build"

GLIBC=2.26
LARGEST_BINARY=10000000
NAME=emr-ecr-agent
# How the bill of materials is called beside each manifest, where it is made.
BILL=$NAME-bom

main() {
    local architectures=() out="$ROOT/dist" architecture
    while (($#)); do
        case "$1 ${2-}" in
            "--arch x86_64" | "--arch aarch64") architectures+=("$2") ;;
            "--out "?*) out="$(realpath -m "$2")" ;;
            *) usage ;;
        esac
        shift 2
    done
    ((${#architectures[@]})) || architectures=(x86_64 aarch64)

    cd "$ROOT"
    tests/parts/install.sh --only package
    umask 022
    export TZ=UTC LC_ALL=C SOURCE_DATE_EPOCH
    SOURCE_DATE_EPOCH="$(git log -1 --format=%ct)"
    version="$(cargo pkgid --package "$NAME" | sed 's/.*[#@]//')"
    # For the metric build_info.
    export EMR_ECR_AGENT_COMMIT
    EMR_ECR_AGENT_COMMIT="$(git describe --always --dirty --abbrev=12 --exclude='*')"
    work="$(mktemp -d)"
    trap clean_up EXIT

    mkdir -p "$out"
    rm -f -- "$out/$NAME"-* "$out/install.sh" "$out/SHA256SUMS"
    write_licences
    for architecture in "${architectures[@]}"; do
        package "$architecture" "$out"
    done
    install -m 755 bootstrap/install.sh "$out/install.sh"
    (cd "$out" && sha256sum -- "$NAME"-* install.sh >SHA256SUMS)
    say "$out:"
    (cd "$out" && ls -l) >&2
}

clean_up() {
    rm -rf "$work"
    git -C "$ROOT" clean --quiet --force -x -- "**/$BILL.json"
}

usage() {
    sed -n '5s/^# */usage: /p' "${BASH_SOURCE[0]}" >&2
    exit 64
}

package() {
    local architecture="$1" out="$2" folder binary
    folder="$work/$NAME-$version-$architecture"
    build "$architecture"
    binary="$TARGET_DIR/$architecture-unknown-linux-gnu/release/$NAME"
    check_binary "$architecture" "$binary"

    mkdir "$folder"
    install -m 755 "$binary" bootstrap/install.sh bootstrap/uninstall.sh "$folder/"
    install -m 644 agent/agent.toml LICENSE "$work/THIRD-PARTY-LICENSES.txt" bootstrap/logpusher.config \
        systemd/$NAME.service systemd/$NAME.service.d/sandbox.conf systemd/docker-configs-of-others.conf "$folder/"
    (cd "$folder" && sha256sum -- * >SHA256SUMS)
    tar --create --sort=name --format=ustar --owner=root:0 --group=root:0 --mtime="@$SOURCE_DATE_EPOCH" \
        --directory "$work" "$(basename "$folder")" | gzip -n -9 >"$out/$(basename "$folder").tar.gz"
    build_rpm "$architecture" "$folder" "$out"
    write_bill_of_materials "$architecture" "$out"
}

# --- the binary ----------------------------------------------------------------------------------------------------

build() {
    local architecture="$1" rustflags sources
    say "building for $architecture"
    # No path of this machine in the binary, and none where crates come from: each is told by its name alone.
    rustflags="--remap-path-prefix=$TARGET_DIR=/build"
    for sources in "${CARGO_HOME:-$HOME/.cargo}"/registry/src/*; do
        rustflags+=" --remap-path-prefix=$sources/="
    done
    with_rust_for "$architecture" env CARGO_TARGET_DIR="$TARGET_DIR" RUSTFLAGS="$rustflags" \
        PYTHONPATH="$TOOLS/python" PATH="$TOOLS/python/bin:$PATH" \
        cargo zigbuild --quiet --release --locked --package "$NAME" --target "$architecture-unknown-linux-gnu.$GLIBC"
}

# The pinned toolchain where it has the architecture's standard library, otherwise Debian's.
with_rust_for() {
    local architecture="$1" rust="$TOOLS/rust/usr"
    shift
    if [[ -d "$(rustc --print sysroot)/lib/rustlib/$architecture-unknown-linux-gnu" ]]; then
        "$@"
    else
        RUSTC="$rust/bin/rustc" LD_LIBRARY_PATH="$rust/lib/x86_64-linux-gnu" "$@"
    fi
}

check_binary() {
    local architecture="$1" binary="$2" size newest
    size="$(stat --format=%s "$binary")"
    ((size <= LARGEST_BINARY)) || fail "$binary has $size bytes, more than $LARGEST_BINARY"

    newest="$(readelf --dyn-syms --wide "$binary" | grep -o 'GLIBC_[0-9.]*' | sort -Vu | tail -n 1)"
    [[ -n "$newest" ]] || fail "$binary names no version of the C library"
    [[ "$(printf '%s\n' "$newest" "GLIBC_$GLIBC" | sort -V | tail -n 1)" == "GLIBC_$GLIBC" ]] ||
        fail "$binary asks for $newest; Amazon Linux 2 has $GLIBC"
    say "$architecture: $size bytes, asks for $newest at most, $(run_on "$architecture" "$binary" --version)"
}

run_on() {
    local architecture="$1"
    shift
    if [[ "$architecture" == "$(uname -m)" ]]; then
        "$@"
    else
        "$TOOLS/$architecture/usr/bin/qemu-$architecture-static" -L "$TOOLS/$architecture" "$@"
    fi
}

# --- what goes with it ---------------------------------------------------------------------------------------------

# From the crates themselves and nothing else, so that the same lock file gives the same bytes.
write_licences() {
    say "collecting licence texts"
    cargo fetch --quiet --locked
    "$TOOLS/bin/cargo-about" generate --frozen --fail --config bootstrap/about.toml \
        --manifest-path agent/Cargo.toml --output-file "$work/THIRD-PARTY-LICENSES.txt" bootstrap/about.hbs ||
        fail "the licence texts of the dependencies are not complete"
}

build_rpm() {
    local architecture="$1" folder="$2" out="$3"
    rpmbuild -bb --quiet --target "$architecture-linux" \
        --define "_topdir $work/rpm-$architecture" --define "_rpmdir $out" \
        --define "_build_name_fmt %%{NAME}-%%{VERSION}-%%{RELEASE}.%%{ARCH}.rpm" \
        --define "version_ $version" --define "package_ $folder" --define "_buildhost reproducible" \
        --define "use_source_date_epoch_as_buildtime 1" --define "clamp_mtime_to_source_date_epoch 1" \
        bootstrap/$NAME.spec >/dev/null
}

# cargo-cyclonedx writes one beside each manifest of the workspace, with the paths of this checkout.
write_bill_of_materials() {
    local architecture="$1" out="$2"
    "$TOOLS/bin/cargo-cyclonedx" cyclonedx --quiet --manifest-path agent/Cargo.toml --format json --spec-version 1.5 \
        --target "$architecture-unknown-linux-gnu" --override-filename "$BILL"
    sed "s|file://$ROOT/|file:///|g" "agent/$BILL.json" >"$out/$NAME-$version-$architecture.cdx.json"
}

say() {
    printf 'package: %s\n' "$*" >&2
}

fail() {
    say "$@"
    exit 1
}

main "$@"
