#!/usr/bin/env bash
# Checks a release: its signature, its digests, and that this checkout builds the same bytes.
#
#   verify-release.sh [--public-key FILE] [--against DIRECTORY] [DIRECTORY]
#
# DIRECTORY holds the release, dist/ by default. Check out its commit first. --against compares with an existing
# build instead of making one. The signature of an RPM is not part of the comparison.
set -euo pipefail

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"

main() {
    local public_key='' against='' release=dist
    while (($#)); do
        case "$1" in
            --public-key) public_key="$(realpath -- "${2:?}")" && shift ;;
            --against) against="$(realpath -- "${2:?}")" && shift ;;
            -*) usage ;;
            *) release="$1" ;;
        esac
        shift
    done
    release="$(realpath -- "$release")"
    work="$(mktemp -d)"
    trap 'rm -rf "$work"' EXIT

    check_signature
    check_digests
    [[ -n "$against" ]] || build
    compare
    say "$release matches what $(git -C "$ROOT" describe --always --dirty --abbrev=12 --exclude='*') builds"
}

check_signature() {
    if [[ -z "$public_key" ]]; then
        say "WARNING: no --public-key given; the signature is not checked"
        return
    fi
    openssl dgst -sha256 -verify "$public_key" -signature "$release/SHA256SUMS.sig" "$release/SHA256SUMS" >/dev/null ||
        fail "SHA256SUMS.sig is not a signature of SHA256SUMS by $public_key"
    say "the signature is good"
}

check_digests() {
    local name
    (cd "$release" && sha256sum --check --quiet --strict SHA256SUMS) || fail "files differ from SHA256SUMS"
    for name in "$release"/*; do
        name="${name##*/}"
        [[ "$name" == SHA256SUMS || "$name" == SHA256SUMS.sig ]] || awk -v name="$name" '$2 == name { found = 1 } END { exit !found }' "$release/SHA256SUMS" ||
            fail "SHA256SUMS does not name $name"
    done
}

build() {
    local architecture arguments=()
    for architecture in x86_64 aarch64; do
        ! compgen -G "$release/*-$architecture.tar.gz" >/dev/null || arguments+=(--arch "$architecture")
    done
    against="$work/build"
    "$ROOT/bootstrap/package.sh" "${arguments[@]}" --out "$against"
}

compare() {
    local name differing=() theirs ours
    while read -r _ name; do
        if [[ "$name" == *.rpm ]]; then
            theirs="$(content_of "$release/$name")" || fail "cannot read $release/$name"
            ours="$(content_of "$against/$name")" || fail "cannot read $against/$name"
            [[ "$theirs" == "$ours" ]] || differing+=("$name")
        else
            cmp -s -- "$release/$name" "$against/$name" || differing+=("$name")
        fi
    done <"$release/SHA256SUMS"
    ((!${#differing[@]})) || fail "differs from what this checkout builds: ${differing[*]}"
}

# Digests of the header and the payload, which are everything but the signature.
content_of() {
    rpm --query --package --nosignature --queryformat '%{SHA256HEADER} %{PAYLOADDIGEST}\n' "$1"
}

say() {
    printf 'verify-release: %s\n' "$*" >&2
}

fail() {
    say "$@"
    exit 1
}

usage() {
    sed -n '4s/^# */usage: /p' "${BASH_SOURCE[0]}" >&2
    exit 64
}

main "$@"
