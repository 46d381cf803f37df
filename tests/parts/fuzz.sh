# shellcheck shell=bash
# The part "fuzz": cargo-fuzz, built by cargo from its locked sources.
# Sourced by install.sh, which gives it say.

CARGO_FUZZ_VERSION=0.13.2

install_fuzz() {
    local folder="$1"
    say "building cargo-fuzz $CARGO_FUZZ_VERSION"
    cargo install --quiet --locked --root "$folder" --target-dir "$folder/target" "cargo-fuzz@$CARGO_FUZZ_VERSION" >&2
    rm -rf "$folder/target"
}
