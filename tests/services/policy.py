"""Sessions of a store that may do what docs/iam-policy.json says, or one action less."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import boto3

from tests.services.s3 import S3Address

POLICY = Path(__file__).parents[2] / "docs" / "iam-policy.json"
PLACEHOLDER = "YOUR-BUCKET"

Policy = dict[str, Any]


def policy_for(bucket: str, without: str = "") -> Policy:
    """The policy that we publish, for this bucket; one action less if named.

    MinIO takes `s3:GetObjectVersion` for `s3:GetObject` as well: the two go together.
    """
    policy: Policy = json.loads(POLICY.read_text().replace(PLACEHOLDER, bucket))
    for statement in policy["Statement"]:
        statement["Action"] = [
            action for action in statement["Action"] if without not in {action, action.removesuffix("Version")}
        ]
    policy["Statement"] = [statement for statement in policy["Statement"] if statement["Action"]]
    return policy


def session(store: S3Address, policy: Mapping[str, Any]) -> dict[str, str]:
    """The environment of a session with this policy and nothing else."""
    sts = boto3.client(
        "sts",
        endpoint_url=store.endpoint_url,
        aws_access_key_id=store.access_key,
        aws_secret_access_key=store.secret_key,
        region_name=store.region,
    )
    made = sts.assume_role(
        RoleArn="arn:aws:iam::123456789012:role/sink", RoleSessionName="test", Policy=json.dumps(policy)
    )["Credentials"]
    return {
        "AWS_ACCESS_KEY_ID": made["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": made["SecretAccessKey"],
        "AWS_SESSION_TOKEN": made["SessionToken"],
    }
