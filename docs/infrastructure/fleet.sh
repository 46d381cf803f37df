#!/usr/bin/env bash
# Upgrades, or uninstalls, emr-ecr-agent on all nodes of a running cluster, by SSM, and waits for the end.
#
#   fleet.sh upgrade CLUSTER s3://BUCKET/PREFIX/ [OPTION OF install.sh]...
#   fleet.sh uninstall CLUSTER [OPTION OF uninstall.sh]...
#
# A tenth of the nodes at a time; the first failure ends it. A node that fails to upgrade has gone back by itself.
set -euo pipefail

AT_ONCE="${AT_ONCE:-10%}"

main() {
    local action="${1-}" cluster="${2-}" from="${3-}" script command state
    [[ "$action" =~ ^(upgrade|uninstall)$ && "$cluster" == j-* ]] || usage
    shift 2
    if [[ "$action" == upgrade ]]; then
        [[ "$from" == s3://*/ ]] || usage
        shift
        script="set -e
cd \"\$(mktemp -d)\"
aws s3 cp --only-show-errors ${from}install.sh install.sh
bash install.sh --strict --verify --from $from $(quoted "$@")"
    else
        # Nodes without it are done.
        script="! test -e /usr/local/lib/emr-ecr-agent/uninstall.sh || bash /usr/local/lib/emr-ecr-agent/uninstall.sh $(quoted "$@")"
    fi

    command="$(aws ssm send-command --document-name AWS-RunShellScript --comment "emr-ecr-agent: $action" \
        --targets "Key=tag:aws:elasticmapreduce:job-flow-id,Values=$cluster" --max-concurrency "$AT_ONCE" --max-errors 0 \
        --parameters "$(parameters "$script")" --query Command.CommandId --output text)"
    echo "command $command"
    while :; do
        state="$(aws ssm list-commands --command-id "$command" --query 'Commands[0].Status' --output text)"
        case "$state" in
            Pending | InProgress | Cancelling) sleep 5 ;;
            Success) break ;;
            *)
                echo "$state: aws ssm list-command-invocations --command-id $command --details shows each node" >&2
                exit 1
                ;;
        esac
    done
    echo "$action: done on all nodes"
}

quoted() {
    (($# == 0)) || printf '%q ' "$@"
}

# The script as a JSON string.
parameters() {
    local script="$1"
    script="${script//\\/\\\\}"
    script="${script//\"/\\\"}"
    printf '{"commands": ["%s"], "executionTimeout": ["300"]}' "${script//$'\n'/\\n}"
}

usage() {
    sed -n '4,5s/^# */usage: /p' "${BASH_SOURCE[0]}" >&2
    exit 64
}

main "$@"
