# shellcheck shell=bash
# The part "fuzz": cargo-fuzz, and the C++ compiler that libFuzzer is built with. Sourced by install.sh, which gives
# it listed, apt_install and cargo_install.

CARGO_FUZZ_VERSION=0.13.2

install_fuzz() {
    local folder="$1" packages
    mapfile -t packages < <(listed fuzz install)
    apt_install "${packages[@]}"
    cargo_install "$folder" "cargo-fuzz@$CARGO_FUZZ_VERSION"
    rm -rf "$folder/target"
}
