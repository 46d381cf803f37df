# shellcheck shell=bash
# The part "fuzz": cargo-fuzz, and the C++ compiler that builds libFuzzer. Sourced by install.sh, which provides
# listed, apt_install and cargo_install.

CARGO_FUZZ_VERSION=0.13.2

install_fuzz() {
    local directory="$1" packages
    mapfile -t packages < <(listed fuzz install)
    apt_install "${packages[@]}"
    cargo_install "$directory" "cargo-fuzz@$CARGO_FUZZ_VERSION"
    rm -rf "$directory/target"
}
