"""A CDK app with the cluster of cluster.yaml: pip install aws-cdk-lib, then

    cdk deploy --app 'python3 app.py' --parameters Bucket=... --parameters Registry=... \
        --parameters Repository=... --parameters Subnet=...
"""

from pathlib import Path

from aws_cdk import App, Stack
from aws_cdk.cloudformation_include import CfnInclude

app = App()
stack = Stack(app, "EmrEcrAgent")
# For resources of your own: included.get_resource("NodeRole"), included.get_resource("Cluster").
included = CfnInclude(stack, "Included", template_file=str(Path(__file__).with_name("cluster.yaml")))
app.synth()
