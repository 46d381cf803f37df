# shellcheck shell=bash
# The part "audit": cargo-deny. Sourced by install.sh, which gives it cargo_install.

CARGO_DENY_VERSION=0.20.2

install_audit() {
    local folder="$1"
    cargo_install "$folder" "cargo-deny@$CARGO_DENY_VERSION" --no-default-features
    rm -rf "$folder/target"
}
