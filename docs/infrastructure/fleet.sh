#!/usr/bin/env bash
# Upgrades, or uninstalls, emr-ecr-agent on all nodes of a running cluster, by SSM, and waits for the end.
#
#   fleet.sh upgrade CLUSTER s3://BUCKET/PREFIX/ [OPTION OF install.sh]...
#   fleet.sh uninstall CLUSTER [OPTION OF uninstall.sh]...
#
# A tenth of the nodes at a time; the first failure ends it. A node that fails to upgrade has gone back by itself. SSM
# reaches only the nodes that it manages: compare their number, which is printed in the end, with the cluster's.
set -euo pipefail

AT_ONCE="${AT_ONCE:-10%}"
# How often in a row, every 5 s, SSM may not tell the state of the command.
UNKNOWN_AT_MOST=24

main() {
    local action="${1-}" cluster="${2-}" from="${3-}" script command answer state details targets completed unknown=0
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
        answer="$(aws ssm list-commands --command-id "$command" --output text \
            --query 'Commands[0].[Status,StatusDetails,TargetCount,CompletedCount]')" || answer=None
        IFS=$'\t' read -r state details targets completed <<<"$answer"
        case "$state" in
            Pending | InProgress | Cancelling) unknown=0 ;;
            Success) break ;;
            # A new command is not listed at once.
            None | '') ((++unknown < UNKNOWN_AT_MOST)) || fail "cannot read the state of command $command" ;;
            *) fail "$state: aws ssm list-command-invocations --command-id $command --details shows each node" ;;
        esac
        sleep 5
    done
    # SSM calls it a success if no node has the tag and a running SSM agent.
    [[ "$details" != NoInstancesInTag && "$targets" != 0 ]] || fail "SSM manages no node of $cluster: nothing was done"
    echo "$action: done on $completed of $targets nodes that SSM manages"
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

fail() {
    echo "$1" >&2
    exit 1
}

usage() {
    sed -n '4,5s/^# */usage: /p' "${BASH_SOURCE[0]}" >&2
    exit 64
}

main "$@"
