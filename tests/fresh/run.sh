#!/usr/bin/env bash
# Runs each of these words of the Makefile as the first command on a fresh machine: a bare Debian 12 with an empty cache,
# in a clone of HEAD. Takes root, and some GB of disk while a word runs.
#
#   run.sh [WORD]...      without WORD: those that a newcomer types
#
# Of this machine come in: rustup with its toolchains, read-only; copies of the local CA certificates and of the
# settings of apt, pip, cargo, Maven and the resolver. The kernel, its devices and the network are shared. The machine
# sees nothing else, and is removed after each word; the log stays in target/fresh/.
set -euo pipefail

HERE="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
REPOSITORY="$(cd "$HERE/../.." && pwd)"
CACHE="${EMR_ECR_AGENT_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/emr-ecr-agent}"
CARGO_HOME="${CARGO_HOME:-$HOME/.cargo}"
LOGS="$REPOSITORY/target/fresh"
MACHINE="$LOGS/root"
CHECKOUT=/root/emr-ecr-agent
NEWCOMERS_WORDS=(lint audit demo test node-test)

main() {
    local words=("$@") word failed=()
    ((EUID == 0)) || die 77 "it takes root"
    ((${#words[@]})) || words=("${NEWCOMERS_WORDS[@]}")
    [[ -z "$(git -C "$REPOSITORY" status --porcelain)" ]] || say "not tried: what is not committed"

    mkdir -p "$LOGS"
    exec 9>"$LOGS/.lock"
    flock --nonblock 9 || die 75 "another run in this checkout is at work"
    trap 'rm -rf "$MACHINE"' EXIT
    for word in "${words[@]}"; do
        make_machine
        try "$word" || failed+=("$word")
    done
    ((${#failed[@]} == 0)) || die 1 "failed: ${failed[*]}"
}

try() {
    local word="$1" log="$LOGS/$1.log" start=$SECONDS outcome=0 took
    say "make $word: see $log"
    # Whatever ends this script ends all that runs inside.
    setpriv --pdeathsig KILL unshare --mount --pid --fork --kill-child \
        "$HERE/enter.sh" "$MACHINE" "$CHECKOUT" "$word" </dev/null >"$log" 2>&1 || outcome=$?
    took="$(printf '%d:%02d min' $(((SECONDS - start) / 60)) $(((SECONDS - start) % 60)))"
    if ((outcome)); then
        say "make $word: FAILED after $took with $outcome; its last lines:"
        tail -n 20 "$log" >&2
    else
        say "make $word: passed in $took"
    fi
    return "$outcome"
}

make_machine() {
    local name
    rm -rf "$MACHINE"
    # apt's settings came in when this root was made.
    cp -a "$CACHE/fresh/root" "$MACHINE"
    bring /etc/resolv.conf /etc/resolv.conf
    bring /etc/hosts /etc/hosts
    bring /etc/pip.conf /etc/pip.conf
    bring "$HOME/.config/pip" /root/.config/pip
    bring "$HOME/.m2/settings.xml" /root/.m2/settings.xml
    bring "$CARGO_HOME/config.toml" /root/.cargo/config.toml

    # Where Debian keeps what is trusted beyond its own list.
    bring /usr/local/share/ca-certificates /usr/local/share/ca-certificates
    chroot "$MACHINE" update-ca-certificates >"$LOGS/ca-certificates.log" 2>&1

    # Of what lies there, rustup and its other names: tools that somebody installed would hide that a part lacks.
    bring "$CARGO_HOME/bin/rustup" /root/.cargo/bin/rustup
    for name in cargo cargo-clippy cargo-fmt clippy-driver rustc rustdoc rustfmt; do
        ln -s rustup "$MACHINE/root/.cargo/bin/$name"
    done
    mkdir "$MACHINE/root/.rustup"

    git clone --quiet --no-hardlinks "$REPOSITORY" "$MACHINE$CHECKOUT"
}

bring() {
    [[ -e "$1" ]] || return 0
    mkdir -p "$(dirname "$MACHINE$2")"
    cp -aLT "$1" "$MACHINE$2"
}

say() {
    printf 'fresh-test: %s\n' "$*" >&2
}

die() {
    say "${@:2}"
    exit "$1"
}

main "$@"
