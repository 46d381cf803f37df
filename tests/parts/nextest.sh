# shellcheck shell=bash
# The part "nextest": the test runner. Sourced by install.sh, which gives it cargo_install.

NEXTEST_VERSION=0.9.143

install_nextest() {
    local folder="$1"
    # Without the means to update itself.
    cargo_install "$folder" "cargo-nextest@$NEXTEST_VERSION" --no-default-features --features default-no-update
    rm -rf "$folder/target"
}
