# shellcheck shell=bash
# The part "nextest": the test runner. Sourced by install.sh, which provides cargo_install.

NEXTEST_VERSION=0.9.143

install_nextest() {
    local directory="$1"
    # Without self-update.
    cargo_install "$directory" "cargo-nextest@$NEXTEST_VERSION" --no-default-features --features default-no-update
    rm -rf "$directory/target"
}
