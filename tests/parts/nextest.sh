# shellcheck shell=bash
# The part "nextest": the test runner, taken from the system if it is there, otherwise built by cargo from its
# locked sources. Sourced by install.sh, which gives it say.

NEXTEST_VERSION=0.9.143

install_nextest() {
    local folder="$1" found
    mkdir -p "$folder/bin"
    if found="$(command -v cargo-nextest)"; then
        say "using $found"
        ln -s "$found" "$folder/bin/cargo-nextest"
    else
        say "building cargo-nextest $NEXTEST_VERSION"
        cargo install --quiet --locked --root "$folder" --target-dir "$folder/target" \
            "cargo-nextest@$NEXTEST_VERSION" >&2
        rm -rf "$folder/target"
    fi
}
