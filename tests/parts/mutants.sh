# shellcheck shell=bash
# The part "mutants": cargo-mutants. Sourced by install.sh, which provides cargo_install.

CARGO_MUTANTS_VERSION=27.1.0

install_mutants() {
    local directory="$1"
    cargo_install "$directory" "cargo-mutants@$CARGO_MUTANTS_VERSION"
    rm -rf "$directory/target"
}
