#!/usr/bin/env bash
# Installs emr-ecr-agent on a node of Amazon EMR, as a bootstrap action:
#
#   --bootstrap-actions Path=s3://BUCKET/emr-ecr-agent/install.sh,Args=[--from,s3://BUCKET/emr-ecr-agent/]
#
# Bootstrap actions run before Hadoop is installed, and a failing one terminates the node. So this needs only bash
# (4.2), coreutils, util-linux, tar, curl and the AWS CLI, waits for nothing, finishes within 30 s, and exits 0 whatever happens,
# unless --strict is given. It never installs packages and never edits files it does not own.
#
# Whoever controls this script, or the place it is read from, controls the node: keep both it and the packages in a
# bucket of your own. SHA256SUMS beside the packages detects damage, not an attacker who can write there.
set -euo pipefail
umask 022

HELP='usage: install.sh [OPTION]...

  --from SOURCE       location of the packages: s3://BUCKET/PREFIX/, https://HOST/PREFIX/, a directory, or a
                      single package (.tar.gz) [default: the directory of this script]
  --version VERSION   version to install [default: the newest in SHA256SUMS at SOURCE]
  --sha256 DIGEST     install only the package with this digest; without it, whoever can write at SOURCE
                      decides what is installed
  --registry HOST     serve this ECR registry in addition to those Hadoop trusts; repeatable
  --config FILE       settings file, local or s3:// or https://; replaces --registry, --hdfs-path, --listen
  --hdfs-path PATH    path to publish to, on HDFS or as an hdfs:// URI
  --listen ADDRESS    address of the health endpoint, IP:PORT
  --on-primary MODE   on a primary node: check (binary only, no daemon), skip, or run [default: check]
  --strict            exit 1 if anything fails; without it, report the failure and exit 0
  --no-start          install and enable the service, but do not start it
  --help              print this text

An existing /etc/emr-ecr-agent/agent.toml is kept.'

# The whole run must finish within 30 s, even if the network or the disk hangs.
SECONDS_FOR_ALL=25
SECONDS_TO_START=8
# A package has a tenth of it. In KiB.
LARGEST_DOWNLOAD=65536
# The oldest systemd that supports the sandbox drop-in.
SANDBOX_SYSTEMD=235

PROGRAM=/usr/local/bin/emr-ecr-agent
LIBRARY=/usr/local/lib/emr-ecr-agent
SETTINGS=/etc/emr-ecr-agent/agent.toml
UNIT=emr-ecr-agent.service
UNITS=/etc/systemd/system
SANDBOX=$UNITS/$UNIT.d/sandbox.conf
KEYTAB=$UNITS/$UNIT.d/keytab.conf
LOGS=/var/log/emr-ecr-agent
LOG_PUSHER=/etc/logpusher/emr-ecr-agent.config
INSTANCE=/mnt/var/lib/info/instance.json
RESTART_DUE=$LIBRARY/restart-due
LOCK=/run/emr-ecr-agent-install.lock
DOCUMENTS=(agent.toml keytab.conf LICENSE THIRD-PARTY-LICENSES.txt)
OURS=("$PROGRAM" "$LIBRARY/uninstall.sh" "${DOCUMENTS[@]/#/$LIBRARY/}" "$SETTINGS" "$UNITS/$UNIT" "$SANDBOX" "$KEYTAB" "$LOG_PUSHER")
# The program's exit code for invalid settings.
WRONG_SETTINGS=78

# For cleanup by the worker process: its temporary directory, and the files staged beside their targets.
work=''
staged=()

# Enforces the deadline, keeps the log and sets the exit code; `carry_out` does the work in a child process.
main() {
    local strict='' argument outcome=0 log
    for argument in "$@"; do
        case "$argument" in
            --help) printf '%s\n' "$HELP" && exit 0 ;;
            --strict) strict=yes ;;
        esac
    done

    log="$(mktemp 2>/dev/null)" || log=/dev/null
    # shellcheck disable=SC2064  # expand the name now
    [[ "$log" == /dev/null ]] || trap "rm -f '$log'" EXIT
    INSTALL_WITHIN="$SECONDS_FOR_ALL" timeout --kill-after=1 "$SECONDS_FOR_ALL" bash "${BASH_SOURCE[0]}" "$@" 2>&1 |
        stamped | tee -- "$log" >&2 || outcome="${PIPESTATUS[0]}"
    case "$outcome" in
        0) ;;
        124 | 137) say "FAILED: gave up after $SECONDS_FOR_ALL s" 2>&1 | stamped | tee -a -- "$log" >&2 ;;
        *) say "FAILED; see above" 2>&1 | stamped | tee -a -- "$log" >&2 ;;
    esac
    [[ "$log" == /dev/null ]] || keep_log "$log"
    [[ -z "$strict" || "$outcome" == 0 ]] || exit 1
    exit 0
}

carry_out() {
    local from='' version='' digest='' config='' hdfs_path='' listen='' on_primary=check start=yes registries=()
    local daemon=yes package
    read_arguments "$@"
    choose_by_role || return 0

    find_sudo
    lock
    work="$(mktemp -d)" || fail "cannot create a temporary directory"
    trap 'unstage; rm -rf "$work"' EXIT
    obtain_package
    obtain_settings
    place_files
    [[ -z "$daemon" ]] || activate
    say "done"
}

# --- options -------------------------------------------------------------------------------------------------------

read_arguments() {
    while (($#)); do
        case "$1" in
            --strict) ;;
            --no-start) start='' ;;
            --from | --version | --sha256 | --registry | --config | --hdfs-path | --listen | --on-primary)
                [[ -n "${2-}" ]] || fail "$1 requires a value"
                take_value "$1" "$2"
                shift
                ;;
            *) fail "unknown option $1; see --help" ;;
        esac
        shift
    done
    [[ -z "$config" || -z "$hdfs_path$listen${registries[*]-}" ]] ||
        fail "--config excludes --registry, --hdfs-path and --listen: set them in that file"
    [[ -n "$from" ]] || from="$(dirname "$(realpath "${BASH_SOURCE[0]}")")"
}

# Sets the variables of `carry_out`. Rejects anything that could break out of a TOML string.
take_value() {
    case "$1" in
        --from) from="$(location "$@")" ;;
        --config) config="$(location "$@")" ;;
        --version) version="$(matching '^[0-9A-Za-z.+~-]+$' "$@")" ;;
        --sha256) digest="$(matching '^[0-9a-f]{64}$' "$1" "${2,,}")" ;;
        --registry) registries+=("$(matching '^[A-Za-z0-9.-]+$' "$@")") ;;
        --hdfs-path) hdfs_path="$(matching '^(/|hdfs://|viewfs://)[^"\\[:cntrl:]]*$' "$@")" ;;
        --listen) listen="$(matching '^[][0-9a-fA-F.:]+$' "$@")" ;;
        --on-primary) on_primary="$(matching '^(check|skip|run)$' "$@")" ;;
    esac
}

matching() {
    local pattern="$1" option="$2" value="$3"
    [[ "$value" =~ $pattern ]] || fail "invalid value for $option: $value; see --help"
    printf '%s' "$value"
}

# Credentials in a URL would end up in the log, which EMR copies to S3, and in the list of processes.
location() {
    [[ ! "$2" =~ ^[a-z0-9]+://([^/]*@|.*\?) ]] || fail "$1 must not have a user, a password or a query in its URL"
    printf '%s' "$2"
}

# The primary node submits jobs but runs no containers, so it gets no daemon by default.
choose_by_role() {
    local instance=''
    [[ ! -r "$INSTANCE" ]] || instance="$(<"$INSTANCE")"
    [[ "$instance" =~ \"isMaster\"[[:space:]]*:[[:space:]]*true ]] || return 0
    case "$on_primary" in
        run) say "primary node: installing the daemon (--on-primary run)" ;;
        check)
            say "primary node: installing the binary without the daemon"
            daemon=''
            ;;
        skip)
            say "primary node: nothing to do (--on-primary skip)"
            return 1
            ;;
    esac
}

# --- the package ---------------------------------------------------------------------------------------------------

# Leaves the verified, unpacked package in $package.
obtain_package() {
    if [[ "$from" != *.tar.gz && "$from" != *://* && -e "$from/emr-ecr-agent" ]]; then
        package="$work/package"
        cp -R -- "$from" "$package" || fail "cannot copy $from"
    else
        obtain_archive
        tar -xzf "$work/archive" --no-same-owner -C "$work" || fail "cannot unpack the package"
        package="$(echo "$work"/emr-ecr-agent-*/)"
    fi
    (cd "$package" && sha256sum --check --quiet --strict SHA256SUMS) ||
        fail "the package is corrupt; nothing was installed"
}

# Leaves the package's archive, with the requested digest, in $work/archive.
obtain_archive() {
    local source="$from" name wanted="$digest"
    if [[ "$source" == *.tar.gz ]]; then
        name="${source##*/}"
        source="${source%"$name"}"
    else
        source="${source%/}/"
        name="emr-ecr-agent-${version:-*}-$(uname -m).tar.gz"
    fi
    if [[ -z "$digest" || "$name" == *'*'* ]]; then
        fetch "${source:-./}SHA256SUMS" "$work/sums" || fail "cannot get ${source}SHA256SUMS"
        choose_archive
    fi
    say "downloading $source$name"
    fetch "${source:-./}$name" "$work/archive" || fail "cannot get $source$name"
    echo "$wanted  $work/archive" | sha256sum --check --quiet --strict >/dev/null 2>&1 ||
        fail "$name does not have the SHA-256 digest $wanted; nothing was installed"
}

# Sets name and wanted to the newest match in SHA256SUMS.
choose_archive() {
    local sum file newest=''
    while read -r sum file; do
        # shellcheck disable=SC2053  # name is a pattern
        [[ "${file#\*}" == $name ]] || continue
        newest="$(printf '%s\n' "$newest" "${file#\*} $sum" | sort -V | tail -n 1)"
    done <"$work/sums"
    [[ -n "$newest" ]] || fail "SHA256SUMS of $source names no $name"
    name="${newest% *}"
    wanted="${digest:-${newest##* }}"
}

fetch() {
    local source="$1" target="$2" left=$((INSTALL_WITHIN - SECONDS - SECONDS_TO_START))
    ((left > 0)) || fail "no time left to get $source"
    case "$source" in
        s3://*) limited timeout "$left" aws s3 cp --only-show-errors "$source" "$target" ;;
        https://*)
            limited timeout "$left" curl --fail --silent --show-error --retry 2 --output "$target" \
                --proto '=https' --location --max-redirs 5 --proto-redir '=https' "$source"
            ;;
        *://*) fail "cannot get $source: use s3:// or https://" ;;
        *) limited cp -- "$source" "$target" ;;
    esac
}

# Whatever the other side sends, it does not fill the disk.
limited() (
    ulimit -f "$LARGEST_DOWNLOAD"
    "$@"
)

# --- the settings --------------------------------------------------------------------------------------------------

# Leaves the settings to install in $work/agent.toml; check_program validates them.
obtain_settings() {
    if [[ -n "$config" ]]; then
        fetch "$config" "$work/agent.toml" || fail "cannot get settings $config"
    else
        render_settings >"$work/agent.toml"
    fi
}

# The options, and a log file, since EMR copies files but not the journal to S3.
render_settings() {
    local host
    printf '# Written by install.sh. All keys, with defaults: %s/agent.toml\n' "$LIBRARY"
    printf '\n[log]\nfile = "%s/agent.log"\n' "$LOGS"
    [[ -z "$hdfs_path" ]] || printf '\n[published]\npath = "%s"\n' "$hdfs_path"
    [[ -z "$listen" ]] || printf '\n[health]\nlisten = "%s"\n' "$listen"
    for host in ${registries[@]+"${registries[@]}"}; do
        printf '\n[[registries]]\nhost = "%s"\n' "$host"
    done
}

# --- the files -----------------------------------------------------------------------------------------------------

# Stages all files beside their targets, so that a full disk or a read-only directory leaves the node unchanged, then
# renames each. Leaves identical files alone.
place_files() {
    # Leftovers of a killed installation.
    as_root rm -f -- "${OURS[@]/%/.new}" || fail "cannot remove leftovers of an earlier installation"
    stage 755 "$package/emr-ecr-agent" "$PROGRAM"
    check_program
    stage 755 "$package/uninstall.sh" "$LIBRARY/uninstall.sh"
    local document
    for document in "${DOCUMENTS[@]}"; do
        stage 644 "$package/$document" "$LIBRARY/$document"
    done
    if [[ ! -e "$SETTINGS" ]]; then
        stage 644 "$work/agent.toml" "$SETTINGS"
    elif ! cmp -s "$work/agent.toml" "$SETTINGS"; then
        say "keeping the existing $SETTINGS"
    fi
    [[ -z "$daemon" ]] || stage_daemon
    if ((!${#staged[@]})); then
        say "already up to date"
        return
    fi

    # Survives a killed installation, so that the next one restarts the service.
    as_root touch "$RESTART_DUE" || fail "cannot write $RESTART_DUE"
    local target
    for target in "${staged[@]}"; do
        as_root mv -f -- "$target.new" "$target" || fail "cannot replace $target"
    done
    staged=()
}

stage_daemon() {
    stage 644 "$package/emr-ecr-agent.service" "$UNITS/$UNIT"
    local version
    version="$(systemd_version)"
    ((version < SANDBOX_SYSTEMD)) || stage 644 "$package/sandbox.conf" "$SANDBOX"
    ! names_keytab || stage 644 "$package/keytab.conf" "$KEYTAB"
    stage 644 "$package/logpusher.config" "$LOG_PUSHER"
    # The unit can write only to directories that exist when it starts.
    as_root test -d /root/.docker || as_root mkdir -m 700 /root/.docker || fail "cannot create /root/.docker"
    as_root mkdir -p "$LOGS" || fail "cannot create $LOGS"
}

# Whether the settings, those to install or those that stay, name a keytab.
names_keytab() {
    local settings="$work/agent.toml"
    [[ ! -e "$SETTINGS" ]] || settings="$SETTINGS"
    as_root grep -Eqs '^[[:space:]]*(published\.)?keytab[[:space:]]*=' "$settings"
}

stage() {
    local mode="$1" source="$2" target="$3"
    if as_root cmp -s -- "$source" "$target"; then return; fi
    as_root mkdir -p -- "$(dirname "$target")" || fail "cannot create the directory of $target; nothing was changed"
    staged+=("$target")
    as_root install -m "$mode" -o root -g root -- "$source" "$target.new" ||
        fail "cannot write $target.new; nothing was changed"
}

unstage() {
    ((!${#staged[@]})) || as_root rm -f -- "${staged[@]/%/.new}" || true
}

# Checks on this machine: the right architecture, a recent enough C library, valid settings.
check_program() {
    local program="$PROGRAM" outcome=0 answer
    [[ ! -e "$PROGRAM.new" ]] || program="$PROGRAM.new"
    answer="$(timeout 5 "$program" --version 2>&1)" || fail "the binary does not run on this node: $answer"
    say "$answer"
    [[ ! -e "$SETTINGS" ]] || return 0
    answer="$(timeout 5 "$program" config check --config "$work/agent.toml" 2>&1 >/dev/null)" || outcome=$?
    ((outcome != WRONG_SETTINGS)) || fail "invalid settings; nothing was changed: $answer"
}

systemd_version() {
    local name version
    read -r name version _ < <(systemctl --version)
    [[ "$name" == systemd && "$version" =~ ^[0-9]+ ]] || fail "cannot determine the systemd version"
    echo "${BASH_REMATCH[0]}"
}

# --- the service ---------------------------------------------------------------------------------------------------

activate() {
    local verb=start
    as_root systemctl daemon-reload || fail "systemctl daemon-reload failed"
    as_root systemctl --quiet enable "$UNIT" || fail "cannot enable $UNIT"
    if [[ -z "$start" ]]; then
        say "installed and enabled; not started (--no-start)"
        return
    fi
    ! as_root test -e "$RESTART_DUE" || verb=restart
    as_root systemctl "$verb" "$UNIT" || fail "cannot $verb $UNIT; see journalctl -u $UNIT"
    as_root rm -f -- "$RESTART_DUE"
    say "the service is running; it becomes ready once Hadoop and HDFS are up; see emr-ecr-agent status"
}

# --- helpers -------------------------------------------------------------------------------------------------------

SUDO=()
find_sudo() {
    ((EUID != 0)) || return 0
    command -v sudo >/dev/null || fail "sudo is missing"
    SUDO=(sudo -n)
    as_root true || fail "user $(id -un) cannot use sudo"
}

# timeout runs under sudo, since only root can kill a root process.
as_root() {
    ${SUDO[@]+"${SUDO[@]}"} timeout --kill-after=1 "$SECONDS_TO_START" "$@"
}

# Held until this process ends. Others cannot open the file, and so cannot hold up an installation.
lock() {
    # shellcheck disable=SC2016  # expanded by the inner shell
    as_root sh -c 'umask 077 && : >>"$1" && chown "$2" "$1"' sh "$LOCK" "$(id -u)" || fail "cannot create $LOCK"
    exec 9>>"$LOCK" || fail "cannot open $LOCK"
    flock --wait $((INSTALL_WITHIN - SECONDS - SECONDS_TO_START)) 9 || fail "another installation still runs"
}

say() {
    printf 'emr-ecr-agent: %s\n' "$*" >&2
}

fail() {
    say "$@"
    exit 1
}

stamped() {
    local line
    while IFS= read -r line; do
        printf '%(%FT%TZ)T %s\n' -1 "$line"
    done
}

# Best effort: on failure, everything is on stderr as well.
keep_log() {
    ((EUID == 0)) || SUDO=(sudo -n)
    as_root sh -c "mkdir -p $LOGS && cat >>$LOGS/install.log" <"$1" 2>/dev/null || true
}

if [[ -n "${INSTALL_WITHIN-}" ]]; then
    carry_out "$@"
else
    TZ=UTC main "$@"
fi
