#!/usr/bin/env bash
# Runs fleet.sh, which must be in the bucket beside install.sh, as a step of the cluster. The nodes' role needs
# ssm:SendCommand and ssm:ListCommands, and AmazonSSMManagedInstanceCore. Prints the step's id.
#
#   fleet-step.sh upgrade CLUSTER s3://BUCKET/PREFIX/
#   fleet-step.sh uninstall CLUSTER s3://BUCKET/PREFIX/
set -euo pipefail

[[ "${1-}" =~ ^(upgrade|uninstall)$ && "${2-}" == j-* && "${3-}" == s3://*/ ]] || {
    sed -n '5,6s/^# */usage: /p' "${BASH_SOURCE[0]}" >&2
    exit 64
}
arguments="$1 $2"
[[ "$1" != upgrade ]] || arguments+=" $3"
aws emr add-steps --cluster-id "$2" --query 'StepIds[0]' --output text --steps '[{
  "Name": "emr-ecr-agent: '"$1"'", "Type": "CUSTOM_JAR", "ActionOnFailure": "CONTINUE", "Jar": "command-runner.jar",
  "Args": ["bash", "-c", "set -o pipefail; aws s3 cp --only-show-errors '"$3"'fleet.sh - | bash -s -- '"$arguments"'"] }]'
