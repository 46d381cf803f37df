# shellcheck shell=bash
# The part "audit": cargo-deny, built by cargo from its locked sources.
# Sourced by install.sh, which gives it say.

CARGO_DENY_VERSION=0.20.2

install_audit() {
    local folder="$1"
    say "building cargo-deny $CARGO_DENY_VERSION, which takes some minutes"
    cargo install --quiet --locked --root "$folder" --target-dir "$folder/target" --no-default-features \
        "cargo-deny@$CARGO_DENY_VERSION" >&2
    rm -rf "$folder/target"
}
