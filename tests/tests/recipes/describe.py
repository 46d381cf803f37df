"""Prints, as JSON, what a recipe made or would make.

describe.py cluster ID          the cluster at the AWS endpoint of the environment
describe.py command             the last command of SSM there
describe.py terraform FILE      the aws_emr_cluster of the file; expressions as text
"""

import json
import sys


def cluster(id):
    import boto3

    emr = boto3.client("emr")
    described = emr.describe_cluster(ClusterId=id)["Cluster"]
    actions = emr.list_bootstrap_actions(ClusterId=id)["BootstrapActions"]
    steps = emr.list_steps(ClusterId=id)["Steps"]
    return {
        "configurations": described["Configurations"],
        "path": actions[0]["ScriptPath"],
        "args": actions[0]["Args"],
        "tags": {tag["Key"]: tag["Value"] for tag in described.get("Tags", [])},
        "steps": [step["Config"]["Args"] for step in steps],
    }


def command():
    import boto3

    return boto3.client("ssm").list_commands()["Commands"][-1]


def terraform(path):
    import hcl2

    with open(path) as file:
        document = hcl2.load(file)
    # Strings keep their quotes.
    plain = lambda value: value.strip('"')
    found = [resource for resource in document["resource"] if '"aws_emr_cluster"' in resource]
    (described,) = found[0]['"aws_emr_cluster"'].values()
    (action,) = described["bootstrap_action"]
    return {
        "configurations": described["configurations_json"],
        "tags": {plain(key): plain(value) for key, value in described["tags"].items()},
        "path": plain(action["path"]),
        "args": [plain(argument) for argument in action["args"]],
    }


print(json.dumps(globals()[sys.argv[1]](*sys.argv[2:]), default=str))
