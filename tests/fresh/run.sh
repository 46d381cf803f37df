#!/usr/bin/env bash
# Runs each make target as the first command on a fresh machine: a bare Debian 12 with an empty cache, in a clone of
# HEAD. Needs root, and some GB of disk while a target runs.
#
#   run.sh [TARGET]...      without TARGET: those a newcomer runs
#
# The machine gets rustup with its toolchains (read-only), and copies of the local CA certificates and of the settings
# of apt, pip, cargo, Maven and the resolver. It shares the kernel, devices and network. It sees nothing else and is
# removed after each target; the logs stay in target/fresh/.
set -euo pipefail

HERE="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
REPOSITORY="$(cd "$HERE/../.." && pwd)"
CACHE="${EMR_ECR_AGENT_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/emr-ecr-agent}"
CARGO_HOME="${CARGO_HOME:-$HOME/.cargo}"
LOGS="$REPOSITORY/target/fresh"
MACHINE="$LOGS/root"
CHECKOUT=/root/emr-ecr-agent
NEWCOMERS_TARGETS=(lint audit demo test node-test)

# The process running a target in the machine, if any.
inside=

main() {
    local targets=("$@") target failed=()
    ((EUID == 0)) || die 77 "root is required"
    ((${#targets[@]})) || targets=("${NEWCOMERS_TARGETS[@]}")
    [[ -z "$(git -C "$REPOSITORY" status --porcelain)" ]] || say "uncommitted changes are not included"

    mkdir -p "$LOGS"
    exec 9>"$LOGS/.lock"
    flock --nonblock 9 || die 75 "another run is active in this checkout"
    trap clean_up EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    for target in "${targets[@]}"; do
        make_machine
        run_target "$target" || failed+=("$target")
    done
    ((${#failed[@]} == 0)) || die 1 "failed: ${failed[*]}"
}

run_target() {
    local target="$1" log="$LOGS/$1.log" start=$SECONDS outcome=0 took
    say "make $target: logging to $log"
    # In the background, so that signals are handled at once. Everything inside dies with this script.
    setpriv --pdeathsig KILL unshare --mount --pid --fork --kill-child \
        "$HERE/enter.sh" "$MACHINE" "$CHECKOUT" "$target" </dev/null >"$log" 2>&1 &
    inside=$!
    wait "$inside" || outcome=$?
    inside=
    took="$(printf '%d:%02d min' $(((SECONDS - start) / 60)) $(((SECONDS - start) % 60)))"
    if ((outcome)); then
        say "make $target: FAILED after $took with exit code $outcome; its last lines:"
        tail -n 20 "$log" >&2
    else
        say "make $target: passed in $took"
    fi
    return "$outcome"
}

clean_up() {
    if [[ -n "$inside" ]]; then
        # The first process of a PID namespace is gone only after all others are. unshare itself ignores signals.
        xargs kill -KILL <"/proc/$inside/task/$inside/children" || true
        wait "$inside" || true
    fi
    rm -rf "$MACHINE"
}

make_machine() {
    local name
    rm -rf "$MACHINE"
    # This root has had apt's settings since its creation.
    cp -a "$CACHE/fresh/root" "$MACHINE"
    copy_in /etc/resolv.conf /etc/resolv.conf
    copy_in /etc/hosts /etc/hosts
    copy_in /etc/pip.conf /etc/pip.conf
    copy_in "$HOME/.config/pip" /root/.config/pip
    copy_in "$HOME/.m2/settings.xml" /root/.m2/settings.xml
    copy_in "$CARGO_HOME/config.toml" /root/.cargo/config.toml

    # Where Debian keeps additional trusted certificates.
    copy_in /usr/local/share/ca-certificates /usr/local/share/ca-certificates
    chroot "$MACHINE" update-ca-certificates >"$LOGS/ca-certificates.log" 2>&1

    # Only rustup and its aliases: other installed tools would hide a missing part.
    copy_in "$CARGO_HOME/bin/rustup" /root/.cargo/bin/rustup
    for name in cargo cargo-clippy cargo-fmt clippy-driver rustc rustdoc rustfmt; do
        ln -s rustup "$MACHINE/root/.cargo/bin/$name"
    done
    mkdir "$MACHINE/root/.rustup"

    git clone --quiet --no-hardlinks "$REPOSITORY" "$MACHINE$CHECKOUT"
}

copy_in() {
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
