# shellcheck shell=bash
# The part "audit": cargo-deny. Sourced by install.sh, which provides cargo_install.

CARGO_DENY_VERSION=0.20.2

install_audit() {
    local directory="$1"
    cargo_install "$directory" "cargo-deny@$CARGO_DENY_VERSION" --no-default-features
    rm -rf "$directory/target"
}
