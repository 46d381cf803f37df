#!/usr/bin/env bash
# Installs emr-ecr-agent on a node of Amazon EMR, as a bootstrap action:
#
#   --bootstrap-actions Path=s3://BUCKET/emr-ecr-agent/install.sh,Args=[--from,s3://BUCKET/emr-ecr-agent/]
#
# Bootstrap actions run before Hadoop exists, and one that fails ends the node. So this needs nothing but bash (4.2),
# coreutils, tar, curl and the AWS CLI, waits for nothing, ends within 30 s, and exits 0 whatever happens, unless
# --strict is given. It never installs packages and never edits what is not its own.
set -euo pipefail

HELP='usage: install.sh [OPTION]...

  --from SOURCE       where the packages lie: s3://BUCKET/FOLDER/, https://HOST/FOLDER/, a folder, or one
                      package itself (.tar.gz) [default: the folder of this script]
  --version VERSION   which version to take [default: the newest that SHA256SUMS of the source names]
  --sha256 DIGEST     the only package that will do; without it SHA256SUMS of the source decides
  --registry HOST     serve this ECR registry besides those that Hadoop trusts; repeatable
  --config FILE       settings, a file or s3:// or https://, in place of --registry, --hdfs-path, --listen
  --hdfs-path PATH    where to publish, a path on HDFS or an hdfs:// URI
  --listen ADDRESS    where health is served, IP:PORT
  --on-primary WHAT   on a primary node: check (the program, no daemon), skip, or run [default: check]
  --strict            exit 1 if anything fails; without it a failure is told, and the exit code is 0
  --no-start          install and enable, but do not start
  --help              this text

Settings are written only if there are none; an existing /etc/emr-ecr-agent/agent.toml is kept.'

# The whole must end within 30 s, also where the network or the disk hangs.
SECONDS_FOR_ALL=25
SECONDS_TO_START=8
# What the unit's drop-in for newer systemd needs.
SANDBOX_SYSTEMD=235

PROGRAM=/usr/local/bin/emr-ecr-agent
LIBRARY=/usr/local/lib/emr-ecr-agent
SETTINGS=/etc/emr-ecr-agent/agent.toml
UNIT=emr-ecr-agent.service
UNITS=/etc/systemd/system
SANDBOX=$UNITS/$UNIT.d/sandbox.conf
LOGS=/var/log/emr-ecr-agent
LOG_PUSHER=/etc/logpusher/emr-ecr-agent.config
INSTANCE=/mnt/var/lib/info/instance.json
RESTART_DUE=$LIBRARY/restart-due
DOCUMENTS=(agent.toml docker-configs-of-others.conf LICENSE THIRD-PARTY-LICENSES.txt)
OURS=("$PROGRAM" "$LIBRARY/uninstall.sh" "${DOCUMENTS[@]/#/$LIBRARY/}" "$SETTINGS" "$UNITS/$UNIT" "$SANDBOX" "$LOG_PUSHER")
# The program's exit code for settings that it refuses.
WRONG_SETTINGS=78

# Of the process that does the work, for its end: its temporary folder, and what lies beside its target.
work=''
staged=()

# Sees to the deadline, the log and the exit code; the work is done by `carry_out`, in a process that can be ended.
main() {
    local strict='' argument outcome=0 log
    for argument in "$@"; do
        case "$argument" in
            --help) printf '%s\n' "$HELP" && exit 0 ;;
            --strict) strict=yes ;;
        esac
    done

    log="$(mktemp 2>/dev/null)" || log=/dev/null
    # shellcheck disable=SC2064  # the name as it is now
    [[ "$log" == /dev/null ]] || trap "rm -f '$log'" EXIT
    INSTALL_WITHIN="$SECONDS_FOR_ALL" timeout --kill-after=1 "$SECONDS_FOR_ALL" bash "${BASH_SOURCE[0]}" "$@" 2>&1 |
        stamped | tee -- "$log" >&2 || outcome="${PIPESTATUS[0]}"
    case "$outcome" in
        0) ;;
        124 | 137) say "FAILED: gave up after $SECONDS_FOR_ALL s" 2>&1 | stamped | tee -a -- "$log" >&2 ;;
        *) say "FAILED, see above" 2>&1 | stamped | tee -a -- "$log" >&2 ;;
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
    work="$(mktemp -d)" || fail "there is no room for temporary files"
    trap 'unstage; rm -rf "$work"' EXIT
    obtain_package
    obtain_settings
    place_files
    [[ -z "$daemon" ]] || activate
    say "done"
}

# --- what was asked for --------------------------------------------------------------------------------------------

read_arguments() {
    while (($#)); do
        case "$1" in
            --strict) ;;
            --no-start) start='' ;;
            --from | --version | --sha256 | --registry | --config | --hdfs-path | --listen | --on-primary)
                [[ -n "${2-}" ]] || fail "$1 needs a value"
                take_value "$1" "$2"
                shift
                ;;
            *) fail "unknown option $1; --help lists them" ;;
        esac
        shift
    done
    [[ -z "$config" || -z "$hdfs_path$listen${registries[*]-}" ]] ||
        fail "--config stands alone: put registries, path and address into that file"
    [[ -n "$from" ]] || from="$(dirname "$(realpath "${BASH_SOURCE[0]}")")"
}

# Into the variables of `carry_out`. Nothing passes that could break out of a TOML string.
take_value() {
    case "$1" in
        --from) from="$2" ;;
        --config) config="$2" ;;
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
    [[ "$value" =~ $pattern ]] || fail "$option cannot be $value; see --help"
    printf '%s' "$value"
}

# Jobs are submitted on the primary node, but no container runs there: no daemon unless asked for.
choose_by_role() {
    local instance=''
    [[ ! -r "$INSTANCE" ]] || instance="$(<"$INSTANCE")"
    [[ "$instance" =~ \"isMaster\"[[:space:]]*:[[:space:]]*true ]] || return 0
    case "$on_primary" in
        run) say "a primary node; installing the daemon, as asked" ;;
        check)
            say "a primary node; installing the program without the daemon"
            daemon=''
            ;;
        skip)
            say "a primary node; nothing to do"
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
        fail "the package is not whole; nothing was installed"
}

# Leaves the package's archive in $work/archive, of the very bytes that were asked for.
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
        fetch "${source:-./}SHA256SUMS" "$work/sums" || fail "cannot get ${source}SHA256SUMS, which the package is checked by"
        choose_archive
    fi
    say "taking $source$name"
    fetch "${source:-./}$name" "$work/archive" || fail "cannot get $source$name"
    echo "$wanted  $work/archive" | sha256sum --check --quiet --strict >/dev/null 2>&1 ||
        fail "$name does not have the SHA-256 digest $wanted; nothing was installed"
}

# Sets name and wanted to the newest match in the sums.
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
    ((left > 0)) || fail "no time is left to get $source"
    case "$source" in
        s3://*) timeout "$left" aws s3 cp --only-show-errors "$source" "$target" ;;
        https://*) timeout "$left" curl --fail --silent --show-error --location --retry 2 --output "$target" "$source" ;;
        *://*) fail "cannot get $source: s3:// and https:// are known" ;;
        *) cp -- "$source" "$target" ;;
    esac
}

# --- the settings --------------------------------------------------------------------------------------------------

# Leaves those that are to be written in $work/agent.toml, checked by the program itself.
obtain_settings() {
    if [[ -n "$config" ]]; then
        fetch "$config" "$work/agent.toml" || fail "cannot get the settings $config"
    else
        render_settings >"$work/agent.toml"
    fi
}

# What was given, and the log file, since EMR takes files to S3 and not the journal.
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

# All are laid beside their targets first, so that a full disk or a read-only folder leaves the node as it was;
# then each is renamed. What is the same already is not touched.
place_files() {
    # What a killed installation may have left.
    as_root rm -f -- "${OURS[@]/%/.new}" || fail "cannot write on this node"
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
        say "keeping $SETTINGS as it is"
    fi
    [[ -z "$daemon" ]] || stage_daemon
    if ((!${#staged[@]})); then
        say "everything is in place already"
        return
    fi

    # Outlives a killed installation, so that the next one restarts what runs.
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
    stage 644 "$package/logpusher.config" "$LOG_PUSHER"
    # The unit can write only into folders that are there when it starts.
    as_root test -d /root/.docker || as_root mkdir -m 700 /root/.docker || fail "cannot make /root/.docker"
    as_root mkdir -p "$LOGS" || fail "cannot make $LOGS"
}

stage() {
    local mode="$1" source="$2" target="$3"
    if as_root cmp -s -- "$source" "$target"; then return; fi
    as_root mkdir -p -- "$(dirname "$target")" || fail "cannot make the folder of $target; nothing was changed"
    staged+=("$target")
    as_root install -m "$mode" -o root -g root -- "$source" "$target.new" ||
        fail "cannot write $target.new; nothing was changed"
}

unstage() {
    ((!${#staged[@]})) || as_root rm -f -- "${staged[@]/%/.new}" || true
}

# On this very machine: the right architecture, a C library new enough, settings that it takes.
check_program() {
    local program="$PROGRAM" outcome=0 answer
    [[ ! -e "$PROGRAM.new" ]] || program="$PROGRAM.new"
    answer="$(timeout 5 "$program" --version 2>&1)" || fail "the program does not run on this node: $answer"
    say "$answer"
    [[ ! -e "$SETTINGS" ]] || return 0
    # Of all commands the one that looks at nothing but the settings and this node.
    answer="$(timeout 5 "$program" status --config "$work/agent.toml" 2>&1 >/dev/null)" || outcome=$?
    ((outcome != WRONG_SETTINGS)) || fail "the settings are refused; nothing was changed: $answer"
}

systemd_version() {
    local name version
    read -r name version _ < <(systemctl --version)
    [[ "$name" == systemd && "$version" =~ ^[0-9]+ ]] || fail "systemd does not answer"
    echo "${BASH_REMATCH[0]}"
}

# --- the service ---------------------------------------------------------------------------------------------------

activate() {
    local verb=start
    as_root systemctl daemon-reload || fail "systemd does not reload its units"
    as_root systemctl --quiet enable "$UNIT" || fail "the unit cannot be enabled"
    if [[ -z "$start" ]]; then
        say "installed and enabled; not started, as asked"
        return
    fi
    ! as_root test -e "$RESTART_DUE" || verb=restart
    as_root systemctl "$verb" "$UNIT" || fail "the service does not $verb; see journalctl -u $UNIT"
    as_root rm -f -- "$RESTART_DUE"
    say "the service runs; it is ready once Hadoop and HDFS are there, as emr-ecr-agent status tells"
}

# --- small things --------------------------------------------------------------------------------------------------

SUDO=()
find_sudo() {
    ((EUID != 0)) || return 0
    command -v sudo >/dev/null || fail "sudo is missing"
    SUDO=(sudo -n)
    as_root true || fail "user $(id -un) may not use sudo"
}

# The limit stands behind sudo, since only root can end what runs as root.
as_root() {
    ${SUDO[@]+"${SUDO[@]}"} timeout --kill-after=1 "$SECONDS_TO_START" "$@"
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

# Best effort: a node where this fails has said so on stderr already.
keep_log() {
    ((EUID == 0)) || SUDO=(sudo -n)
    as_root sh -c "mkdir -p $LOGS && cat >>$LOGS/install.log" <"$1" 2>/dev/null || true
}

if [[ -n "${INSTALL_WITHIN-}" ]]; then
    carry_out "$@"
else
    TZ=UTC main "$@"
fi
