"""Creates a cluster with emr-ecr-agent by boto3, and prints its id.

    cluster.py BUCKET REGISTRY SUBNET [RELEASE]
"""

import sys

import boto3


def main(bucket, registry, subnet, release="emr-7.3.0", instance_type="m5.xlarge"):
    source = f"s3://{bucket}/emr-ecr-agent/"
    trusted = f"local,centos,{registry}"
    docker = {
        "docker.trusted.registries": trusted,
        "docker.privileged-containers.registries": trusted,
    }
    response = boto3.client("emr").run_job_flow(
        Name="docker",
        ReleaseLabel=release,
        Applications=[{"Name": "Hadoop"}, {"Name": "Spark"}],
        ServiceRole="EMR_DefaultRole",
        JobFlowRole="EMR_EC2_DefaultRole",
        LogUri=f"s3://{bucket}/logs/",
        EbsRootVolumeSize=50,
        Instances={
            "Ec2SubnetId": subnet,
            "KeepJobFlowAliveWhenNoSteps": True,
            "InstanceGroups": [
                {"Name": "primary", "InstanceRole": "MASTER", "InstanceType": instance_type, "InstanceCount": 1},
                {"Name": "core", "InstanceRole": "CORE", "InstanceType": instance_type, "InstanceCount": 2},
            ],
        },
        Configurations=[
            {
                "Classification": "container-executor",
                "Properties": {},
                "Configurations": [{"Classification": "docker", "Properties": docker}],
            },
            {
                "Classification": "yarn-site",
                "Properties": {"yarn.nodemanager.runtime.linux.docker.ecr-auto-authentication.enabled": "false"},
            },
        ],
        BootstrapActions=[
            {
                "Name": "emr-ecr-agent",
                "ScriptBootstrapAction": {
                    "Path": f"{source}install.sh",
                    "Args": ["--strict", "--verify", "--from", source],
                },
            }
        ],
        Tags=[{"Key": "emr-ecr-agent", "Value": "true"}],
    )
    print(response["JobFlowId"])


if __name__ == "__main__":
    if not 4 <= len(sys.argv) <= 5:
        sys.exit(__doc__)
    main(*sys.argv[1:])
