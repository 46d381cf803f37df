#!/usr/bin/env bash
# Removes emr-ecr-agent from a node: service, program, settings, logs. It removes only what install.sh installed, and
# reports what it leaves. The published file on HDFS is shared with other nodes and stays unless requested.
set -euo pipefail

HELP='usage: uninstall.sh [OPTION]...

  --keep-credentials     keep /root/.docker/config.json [default]
  --remove-credentials   remove /root/.docker/config.json, including entries of others
  --remove-published     remove the published file and the notes of nodes beside it as well, unless the file has
                         entries of others. For the last node of a cluster: an agent on another node publishes again
                         within a minute
  --help                 print this text'

UNIT=emr-ecr-agent.service
PROGRAM=/usr/local/bin/emr-ecr-agent
DOCKER_CONFIG=/root/.docker/config.json
# The repository of the tags for images that the agent pulled in advance.
WARMED=emr-ecr-agent-warm
LIBRARY=/usr/local/lib/emr-ecr-agent
SETTINGS=/etc/emr-ecr-agent
DROP_INS=/etc/systemd/system/$UNIT.d
FILES=(
    "$PROGRAM"
    "$LIBRARY"/{uninstall.sh,agent.toml,keytab.conf,LICENSE,THIRD-PARTY-LICENSES.txt,pending}
    "$SETTINGS"/{agent.toml,environment,credentials.json}
    "/etc/systemd/system/$UNIT"
    "$DROP_INS"/{sandbox,keytab}.conf
    /etc/logpusher/emr-ecr-agent.config
)
LOGS=/var/log/emr-ecr-agent
# Removed if empty: others may have files in them, such as drop-ins.
DIRECTORIES=("$LIBRARY" "$SETTINGS" "$DROP_INS")
# Likewise; install.sh may have created them, but they are not the agent's.
SHARED_DIRECTORIES=(/etc/logpusher /root/.docker)

main() {
    local remove_credentials='' remove_published='' published='' others=0 directory
    while (($#)); do
        case "$1" in
            --keep-credentials) remove_credentials='' ;;
            --remove-credentials) remove_credentials=yes ;;
            --remove-published) remove_published=yes ;;
            --help) printf '%s\n' "$HELP" && exit 0 ;;
            *)
                say "unknown option $1; see --help"
                exit 2
                ;;
        esac
        shift
    done

    # Only the running agent knows the path.
    find_published
    [[ -z "$remove_published" ]] || check_published
    if [[ -e "/etc/systemd/system/$UNIT" ]]; then
        as_root systemctl --quiet disable --now "$UNIT"
    fi
    [[ -z "$remove_published" ]] || remove_published
    [[ -z "$remove_credentials" ]] || as_root rm -f "$DOCKER_CONFIG"
    # Including leftovers of a killed installation, and the previous version.
    as_root rm -f -- "${FILES[@]}" "${FILES[@]/%/.new}" "${FILES[@]/%/.previous}"
    as_root rm -rf -- "$LOGS"
    as_root rmdir --ignore-fail-on-non-empty "${DIRECTORIES[@]}" "${SHARED_DIRECTORIES[@]}" 2>/dev/null || true
    as_root systemctl daemon-reload
    as_root systemctl reset-failed "$UNIT" 2>/dev/null || true
    say "uninstalled"
    for directory in "${DIRECTORIES[@]}"; do
        ! as_root test -e "$directory" || say "left: $directory, which contains other files"
    done
    ! as_root test -e "$DOCKER_CONFIG" ||
        say "left: $DOCKER_CONFIG, whose tokens are valid for up to 12 hours; delete it if no other program needs it"
    [[ -n "$remove_published" ]] ||
        say "left: the published file${published:+ $published}; hadoop fs -rm removes it"
    [[ -z "$(as_root docker images --quiet "$WARMED" 2>/dev/null)" ]] ||
        say "left: images of warm.images; to list them: docker images $WARMED"
}

# Sets published, and others to the number of foreign entries, or -1 if the running agent cannot read the file.
find_published() {
    local status parse='import json, sys
for sink in json.load(sys.stdin)["sinks"]:
    if sink["kind"] == "hdfs":
        is_known = sink["verified_at"] and not sink["error"]
        print(sink["other_entries_count"] if is_known else -1, sink["path"])'
    [[ -x "$PROGRAM" ]] && command -v python3 >/dev/null || return 0
    # 1 means that the agent is not ready.
    status="$(as_root "$PROGRAM" status --json 2>/dev/null)" || (($? == 1)) || return 0
    read -r others published < <(python3 -c "$parse" <<<"$status" 2>/dev/null) || true
}

check_published() {
    [[ -n "$published" ]] || stop "no running agent on this node knows the published file, or python3 is missing"
    ((others >= 0)) || stop "the agent cannot read $published, so it is unknown whose entries it contains"
    ((others == 0)) || stop "$published contains entries of others: $others"
    command -v hadoop >/dev/null || stop "this node has no hadoop command to remove $published with"
}

# As the file's default owner; with Kerberos, as the principal of the current tickets.
remove_published() {
    export HADOOP_USER_NAME="${HADOOP_USER_NAME:-hadoop}"
    # Without -r: a directory at its path belongs to others.
    { hadoop fs -rm -f -skipTrash "$published" && hadoop fs -rm -r -f -skipTrash "${published%/*}/.emr-ecr-agent"; } \
        >/dev/null || stop "cannot remove $published and the notes beside it; the agent is stopped"
    say "removed $published"
}

as_root() {
    if ((EUID == 0)); then "$@"; else sudo -n "$@"; fi
}

say() {
    printf 'emr-ecr-agent: %s\n' "$*" >&2
}

stop() {
    say "NOT UNINSTALLED: $*"
    exit 1
}

# One compound command, which bash reads whole, since the script deletes itself.
{
    main "$@"
    exit
}
