# shellcheck shell=bash
# The part "package": the build tools of `make package`. Sourced by install.sh, which provides listed, apt_install,
# apt_unpack and cargo_install.
#
# Contents:
#   python/     cargo-zigbuild and zig, for PYTHONPATH; its bin/ is for PATH
#   rust/       Debian's Rust with the standard library for aarch64, for toolchains without it
#   aarch64/    a C library for aarch64, and qemu-aarch64-static
#   bin/        cargo-about, cargo-cyclonedx
# rpmbuild and readelf are installed system-wide.

CARGO_ABOUT_VERSION=0.9.3
CARGO_CYCLONEDX_VERSION=0.5.9

install_package() {
    local directory="$1" packages
    mapfile -t packages < <(listed package install)
    apt_install "${packages[@]}"
    python3 -m pip --disable-pip-version-check --quiet install --no-deps --require-hashes \
        --target "$directory/python" -r "$HERE/package-requirements.txt" >&2
    mapfile -t packages < <(listed package rust)
    apt_unpack "$directory/rust" "${packages[@]}"
    mapfile -t packages < <(listed package aarch64)
    apt_unpack "$directory/aarch64" "${packages[@]}"
    cargo_install "$directory" "cargo-about@$CARGO_ABOUT_VERSION" --features cli
    cargo_install "$directory" "cargo-cyclonedx@$CARGO_CYCLONEDX_VERSION"
    rm -rf "$directory/target"
}
