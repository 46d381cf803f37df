#!/usr/bin/env bash
# Builds the release files in dist/: a tarball, an RPM and a software bill of materials for each architecture, and
# install.sh and SHA256SUMS. The same commit gives the same bytes.
#
#   package.sh [--arch x86_64|aarch64]... [--out DIRECTORY]
#
# Fails if a binary needs a newer C library than Amazon Linux 2 has, exceeds the size limit, or does not start.
set -euo pipefail

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
CACHE="${EMR_ECR_AGENT_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/emr-ecr-agent}"
TOOLS="$CACHE/package"
# Outside the tree: the flags differ from those of everyday builds.
TARGET_DIR="$CACHE/package-build"

GLIBC=2.26
LARGEST_BINARY=10485760
NAME=emr-ecr-agent
# File name of the bill of materials, which is generated beside each manifest.
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
    write_licenses
    write_extras
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
    local architecture="$1" out="$2" directory binary
    directory="$work/$NAME-$version-$architecture"
    build "$architecture"
    binary="$TARGET_DIR/$architecture-unknown-linux-gnu/release/$NAME"
    check_binary "$architecture" "$binary"

    mkdir "$directory"
    cp -R "$work/extras/." "$directory/"
    install -m 755 "$binary" bootstrap/install.sh bootstrap/uninstall.sh "$directory/"
    install -m 644 agent/agent.toml LICENSE "$work/THIRD-PARTY-LICENSES.txt" bootstrap/logpusher.config \
        systemd/$NAME.service systemd/$NAME.service.d/sandbox.conf systemd/keytab.conf README.md CHANGELOG.md SECURITY.md \
        "$directory/"
    install -m 755 systemd/keytab-generator "$directory/"
    git ls-files -z docs | xargs -0 cp --parents --target-directory "$directory" --
    (cd "$directory" && find . -type f -printf '%P\n' | sort | xargs -d '\n' sha256sum -- >"$work/SHA256SUMS")
    mv "$work/SHA256SUMS" "$directory/SHA256SUMS"
    tar --create --sort=name --format=ustar --owner=root:0 --group=root:0 --mtime="@$SOURCE_DATE_EPOCH" \
        --directory "$work" "$(basename "$directory")" | gzip -n -9 >"$out/$(basename "$directory").tar.gz"
    build_rpm "$architecture" "$directory" "$out"
    write_bill_of_materials "$architecture" "$out"
}

# --- the binary ----------------------------------------------------------------------------------------------------

build() {
    local architecture="$1" rustflags sources
    say "building for $architecture"
    # Frame pointers shorten the unwind tables by more than they add to the code. No local paths in the binary; crates
    # appear by name only.
    rustflags="-C force-frame-pointers=yes --remap-path-prefix=$TARGET_DIR=/build"
    for sources in "${CARGO_HOME:-$HOME/.cargo}"/registry/src/*; do
        rustflags+=" --remap-path-prefix=$sources/="
    done
    with_rust_for "$architecture" env CARGO_TARGET_DIR="$TARGET_DIR" RUSTFLAGS="$rustflags" \
        PYTHONPATH="$TOOLS/python" PATH="$TOOLS/python/bin:$PATH" \
        cargo zigbuild --quiet --release --locked --package "$NAME" --target "$architecture-unknown-linux-gnu.$GLIBC"
}

# The pinned toolchain if it has the architecture's standard library, otherwise Debian's.
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
    ((size <= LARGEST_BINARY)) || fail "$binary has $size bytes; the limit is $LARGEST_BINARY"

    newest="$(readelf --dyn-syms --wide "$binary" | grep -o 'GLIBC_[0-9.]*' | sort -Vu | tail -n 1)"
    [[ -n "$newest" ]] || fail "$binary requires no version of the C library"
    [[ "$(printf '%s\n' "$newest" "GLIBC_$GLIBC" | sort -V | tail -n 1)" == "GLIBC_$GLIBC" ]] ||
        fail "$binary needs $newest; Amazon Linux 2 has $GLIBC"
    say "$architecture: $size bytes, needs $newest, $(run_on "$architecture" "$binary" --version)"
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

# --- licenses, RPM, bill of materials ------------------------------------------------------------------------------

# From the crates alone, so that the same lock file gives the same bytes.
write_licenses() {
    say "collecting license texts"
    cargo fetch --quiet --locked
    "$TOOLS/bin/cargo-about" generate --frozen --fail --config bootstrap/about.toml \
        --manifest-path agent/Cargo.toml --output-file "$work/THIRD-PARTY-LICENSES.txt" bootstrap/about.hbs ||
        fail "some dependencies lack a license text"
}

# The extras are the same on every architecture.
write_extras() {
    say "writing manual pages and completions"
    mkdir "$work/extras"
    # With the features of everyday builds, so that nothing is compiled again.
    cargo build --quiet --locked --workspace --example extras
    "${CARGO_TARGET_DIR:-target}/debug/examples/extras" "$work/extras"
}

build_rpm() {
    local architecture="$1" directory="$2" out="$3"
    { cat bootstrap/$NAME.spec && changelog; } >"$work/$NAME.spec"
    rpmbuild -bb --quiet --target "$architecture-linux" \
        --define "_topdir $work/rpm-$architecture" --define "_rpmdir $out" \
        --define "_build_name_fmt %%{NAME}-%%{VERSION}-%%{RELEASE}.%%{ARCH}.rpm" \
        --define "version_ $version" --define "package_ $directory" --define "_buildhost reproducible" \
        --define "use_source_date_epoch_as_buildtime 1" --define "clamp_mtime_to_source_date_epoch 1" \
        "$work/$NAME.spec" >/dev/null
}

# One entry for each version in CHANGELOG.md, which the package contains in full.
changelog() {
    local number day
    printf '\n%%changelog\n'
    sed -n 's/^## \[\([0-9][^]]*\)\] - \([-0-9]*\)$/\1 \2/p' CHANGELOG.md | while read -r number day; do
        printf '* %s %s - %s-1\n' "$(date -d "$day" '+%a %b %d %Y')" "$NAME" "$number"
        printf -- '- Release %s; see /usr/share/doc/%s/CHANGELOG.md\n\n' "$number" "$NAME"
    done
}

# cargo-cyclonedx writes one beside each manifest of the workspace, with paths of this checkout.
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
