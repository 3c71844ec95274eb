"""Acts as one node of a stack that is in an account of moto already: takes the pair's Elastic IP and stops the other
node, by what the stack made and tagged alone. Arguments: URL of moto, the pair, this node, the other one, this node's
own address.

Prints what the programs said, and the account afterwards, as JSON.
"""

from __future__ import annotations

import contextlib
import datetime
import io
import json
import sys
from typing import Any, Dict, Optional
from unittest import mock

import boto3
from address_tests.cloud import Cloud

from address.move import Address
from address.settings import parse
from aws.metadata import Metadata
from fence import instance

REGION = "eu-central-1"
MAC = "00:00:00:00:00:00"


class Instance(Cloud):
    """The metadata service of one, as far as the programs ask."""

    def __init__(self, found: Dict[str, Any], credentials: Dict[str, Any]) -> None:
        (public,) = [each for each in found["NetworkInterfaces"] if each["Attachment"]["DeviceIndex"] == 0]
        ends = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=1)
        given = {
            "AccessKeyId": credentials["AccessKeyId"],
            "SecretAccessKey": credentials["SecretAccessKey"],
            "Token": credentials["SessionToken"],
            "Expiration": ends.strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        top = "/latest/meta-data"
        self._answers = {
            f"{top}/network/interfaces/macs/{MAC}/interface-id": public["NetworkInterfaceId"],
            f"{top}/iam/security-credentials/": "role",
            f"{top}/iam/security-credentials/role": json.dumps(given),
            **{f"{top}/tags/instance/{tag['Key']}": tag["Value"] for tag in found["Tags"]},
        }
        super().__init__()

    def metadata(self, path: str) -> Optional[str]:
        return self._answers.get(path)


def main(url: str, pair: str, node: str, other: str, own: str) -> None:
    def client(service: str) -> Any:
        return boto3.client(
            service, region_name=REGION, endpoint_url=url, aws_access_key_id="x", aws_secret_access_key="x"
        )

    ec2 = client("ec2")

    def described(of: str) -> Dict[str, Any]:
        tags = {"hotpair:pair": pair, "hotpair:node": of}
        filters = [{"Name": f"tag:{tag}", "Values": [value]} for tag, value in tags.items()]
        ((found,),) = [each["Instances"] for each in ec2.describe_instances(Filters=filters)["Reservations"]]
        return dict(found)

    role = client("iam").get_role(RoleName=f"role-{node}")["Role"]["Arn"]
    credentials = client("sts").assume_role(RoleArn=role, RoleSessionName=f"node-{node}")["Credentials"]
    metadata = Instance(described(node), credentials)
    settings = parse(
        {
            "version": 1,
            "pair": pair,
            "node": node,
            "method": "elastic-ip",
            "region": REGION,
            "interface": "lo",
            "vips": ["198.18.0.100"],
            "own": own,
            "hostedZone": "",
            "record": "",
            "ttl": 0,
            "within": 10,
            "timeout": 20,
            "endpoints": {"metadata": metadata.url, "ec2": url},
        }
    )
    Address(settings, Metadata(settings.access), MAC).bring()
    options = {
        "endpoint_ec2": url,
        "endpoint_metadata": metadata.url,
        "pair": pair,
        "plug": other,
        "region": REGION,
        "action": "off",
    }
    said = io.StringIO()
    given = io.StringIO("".join(f"{name}={value}\n" for name, value in options.items()))
    with mock.patch.object(sys, "stdin", given), contextlib.redirect_stdout(said):
        code = instance.main()
    metadata.close()
    here = described(node)
    (public,) = [each for each in here["NetworkInterfaces"] if each["Attachment"]["DeviceIndex"] == 0]
    (moving,) = [tag["Value"] for tag in here["Tags"] if tag["Key"] == "hotpair:address"]
    (address,) = ec2.describe_addresses(AllocationIds=[moving])["Addresses"]
    print(
        json.dumps(
            {
                "address": address.get("NetworkInterfaceId") == public["NetworkInterfaceId"],
                "fence": {"code": code, "said": said.getvalue()},
                "states": {each: described(each)["State"]["Name"] for each in (node, other)},
            }
        )
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
