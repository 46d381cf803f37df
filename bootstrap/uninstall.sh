#!/usr/bin/env bash
# Removes emr-ecr-agent from a node: service, binary, settings, logs. It removes what install.sh installed and nothing
# else. The published file on HDFS is shared with other nodes and stays.
set -euo pipefail

HELP='usage: uninstall.sh [--keep-credentials | --remove-credentials]

  --keep-credentials     keep /root/.docker/config.json [default]
  --remove-credentials   remove /root/.docker/config.json, including entries of others
  --help                 print this text'

UNIT=emr-ecr-agent.service
FILES=(
    /usr/local/bin/emr-ecr-agent
    /usr/local/lib/emr-ecr-agent
    /etc/emr-ecr-agent
    "/etc/systemd/system/$UNIT"
    "/etc/systemd/system/$UNIT.d"
    /etc/logpusher/emr-ecr-agent.config
    /var/log/emr-ecr-agent
)
# Removed if empty: install.sh may have created them.
DIRECTORIES=(/etc/logpusher /root/.docker)

main() {
    local remove_credentials=''
    while (($#)); do
        case "$1" in
            --keep-credentials) remove_credentials='' ;;
            --remove-credentials) remove_credentials=yes ;;
            --help) printf '%s\n' "$HELP" && exit 0 ;;
            *)
                printf 'emr-ecr-agent: unknown option %s; see --help\n' "$1" >&2
                exit 2
                ;;
        esac
        shift
    done

    if [[ -e "/etc/systemd/system/$UNIT" ]]; then
        as_root systemctl --quiet disable --now "$UNIT"
    fi
    [[ -z "$remove_credentials" ]] || as_root rm -f /root/.docker/config.json
    # Including leftovers of a killed installation.
    as_root rm -rf -- "${FILES[@]}" "${FILES[@]/%/.new}"
    as_root rmdir --ignore-fail-on-non-empty "${DIRECTORIES[@]}" 2>/dev/null || true
    as_root systemctl daemon-reload
    as_root systemctl reset-failed "$UNIT" 2>/dev/null || true
    echo "emr-ecr-agent: uninstalled" >&2
}

as_root() {
    if ((EUID == 0)); then "$@"; else sudo -n "$@"; fi
}

# One compound command, which bash reads whole, since the script deletes itself.
{
    main "$@"
    exit
}
