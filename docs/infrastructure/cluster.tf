# A cluster with emr-ecr-agent, and the role of its nodes.
terraform {
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.0"
    }
  }
}

variable "bucket" {
  description = "Has the packages below emr-ecr-agent/ and gets the logs"
  type        = string
}

variable "registry" {
  description = "The ECR registry to trust, as in 123456789123.dkr.ecr.us-east-1.amazonaws.com"
  type        = string
}

variable "repository" {
  description = "ARN of the repository that jobs pull from; may end with an asterisk"
  type        = string
}

variable "subnet" {
  type = string
}

variable "release" {
  type    = string
  default = "emr-7.3.0"
}

variable "instance_type" {
  type    = string
  default = "m5.xlarge"
}

data "aws_partition" "current" {}

resource "aws_iam_role" "node" {
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "ec2.${data.aws_partition.current.dns_suffix}" }
      Action    = "sts:AssumeRole"
    }]
  })
}

# The second is for upgrades by SSM.
resource "aws_iam_role_policy_attachment" "managed" {
  for_each   = toset(["service-role/AmazonElasticMapReduceforEC2Role", "AmazonSSMManagedInstanceCore"])
  role       = aws_iam_role.node.name
  policy_arn = "arn:${data.aws_partition.current.partition}:iam::aws:policy/${each.value}"
}

resource "aws_iam_role_policy" "agent" {
  name = "emr-ecr-agent"
  role = aws_iam_role.node.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      { Sid = "Token", Effect = "Allow", Action = "ecr:GetAuthorizationToken", Resource = "*" },
      {
        Sid      = "Pull"
        Effect   = "Allow"
        Action   = ["ecr:BatchCheckLayerAvailability", "ecr:GetDownloadUrlForLayer", "ecr:BatchGetImage"]
        Resource = var.repository
      },
      {
        Sid      = "Package"
        Effect   = "Allow"
        Action   = "s3:GetObject"
        Resource = "arn:${data.aws_partition.current.partition}:s3:::${var.bucket}/emr-ecr-agent/*"
      },
    ]
  })
}

resource "aws_iam_instance_profile" "node" {
  role = aws_iam_role.node.name
}

resource "aws_emr_cluster" "docker" {
  name                 = "docker"
  release_label        = var.release
  applications         = ["Hadoop", "Spark"]
  service_role         = "EMR_DefaultRole"
  log_uri              = "s3://${var.bucket}/logs/"
  ebs_root_volume_size = 50

  ec2_attributes {
    instance_profile = aws_iam_instance_profile.node.arn
    subnet_id        = var.subnet
  }

  master_instance_group {
    instance_type = var.instance_type
  }

  core_instance_group {
    instance_type  = var.instance_type
    instance_count = 2
  }

  configurations_json = jsonencode([
    {
      Classification = "container-executor"
      Properties     = {}
      Configurations = [{
        Classification = "docker"
        Properties = {
          "docker.trusted.registries"               = "local,centos,${var.registry}"
          "docker.privileged-containers.registries" = "local,centos,${var.registry}"
        }
      }]
    },
    {
      Classification = "yarn-site"
      Properties = {
        "yarn.nodemanager.runtime.linux.docker.ecr-auto-authentication.enabled" = "false"
      }
    },
  ])

  bootstrap_action {
    name = "emr-ecr-agent"
    path = "s3://${var.bucket}/emr-ecr-agent/install.sh"
    args = ["--strict", "--verify", "--from", "s3://${var.bucket}/emr-ecr-agent/"]
  }

  tags = {
    "emr-ecr-agent" = "true"
  }

  # Without these policies the bootstrap action finds no package.
  depends_on = [aws_iam_role_policy.agent, aws_iam_role_policy_attachment.managed]
}

output "cluster_id" {
  value = aws_emr_cluster.docker.id
}
