#!/usr/bin/env bash
# Creates a cluster with emr-ecr-agent by the AWS CLI, and prints its id.
#
#   BUCKET=my-bucket REGISTRY=123456789123.dkr.ecr.us-east-1.amazonaws.com SUBNET=subnet-0123 cluster.sh
set -euo pipefail

RELEASE="${RELEASE:-emr-7.3.0}"
INSTANCE_TYPE="${INSTANCE_TYPE:-m5.xlarge}"
FROM="s3://${BUCKET:?}/emr-ecr-agent/"

configurations='[
  { "Classification": "container-executor", "Properties": {}, "Configurations": [
    { "Classification": "docker", "Properties": {
      "docker.trusted.registries": "local,centos,'"${REGISTRY:?}"'",
      "docker.privileged-containers.registries": "local,centos,'"$REGISTRY"'" } } ] },
  { "Classification": "yarn-site", "Properties": {
    "yarn.nodemanager.runtime.linux.docker.ecr-auto-authentication.enabled": "false" } }
]'

aws emr create-cluster --name docker --release-label "$RELEASE" --applications Name=Hadoop Name=Spark \
    --service-role EMR_DefaultRole --ec2-attributes "InstanceProfile=EMR_EC2_DefaultRole,SubnetId=${SUBNET:?}" \
    --instance-groups "InstanceGroupType=MASTER,InstanceType=$INSTANCE_TYPE,InstanceCount=1" \
    "InstanceGroupType=CORE,InstanceType=$INSTANCE_TYPE,InstanceCount=2" \
    --ebs-root-volume-size 50 --log-uri "s3://$BUCKET/logs/" --configurations "$configurations" \
    --bootstrap-actions "Name=emr-ecr-agent,Path=${FROM}install.sh,Args=[--strict,--verify,--from,$FROM]" \
    --tags emr-ecr-agent=true --query ClusterId --output text
