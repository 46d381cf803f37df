# shellcheck shell=bash
# The part "package": what `make package` builds with. Sourced by install.sh, which gives it listed, apt_install,
# apt_unpack and cargo_install.
#
# What lies in the folder afterwards:
#   python/     cargo-zigbuild and zig, for PYTHONPATH and, below it, bin/ for PATH
#   rust/       Debian's Rust with the standard library of aarch64, where the toolchain's own lacks
#   aarch64/    a C library of aarch64, and qemu-aarch64-static to run on it
#   bin/        cargo-about, cargo-cyclonedx
# rpmbuild and readelf come to lie in the system.

CARGO_ABOUT_VERSION=0.9.3
CARGO_CYCLONEDX_VERSION=0.5.9

install_package() {
    local folder="$1" packages
    mapfile -t packages < <(listed package install)
    apt_install "${packages[@]}"
    python3 -m pip --disable-pip-version-check --quiet install --no-deps --require-hashes \
        --target "$folder/python" -r "$HERE/package-requirements.txt" >&2
    mapfile -t packages < <(listed package rust)
    apt_unpack "$folder/rust" "${packages[@]}"
    mapfile -t packages < <(listed package aarch64)
    apt_unpack "$folder/aarch64" "${packages[@]}"
    cargo_install "$folder" "cargo-about@$CARGO_ABOUT_VERSION" --features cli
    cargo_install "$folder" "cargo-cyclonedx@$CARGO_CYCLONEDX_VERSION"
    rm -rf "$folder/target"
}
