"""Acts as one node of a stack that is in an account of moto already: brings the pair's address to itself by its
rendered settings, and stops the other node where it is asked to; both by what the stack made and tagged alone.
Arguments: URL of moto, the node's /etc/hotpair/address.json, the pair, this node, and the other one if it is to be
stopped.

Prints where the address was and is, what the programs said, and the account afterwards, as JSON.
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
from address.settings import Settings, parse
from aws.metadata import Metadata
from fence import instance

# The one of `lo`, which the programs are told is their public interface.
MAC = "00:00:00:00:00:00"


class Instance(Cloud):
    """The metadata service of one, as far as the programs ask."""

    def __init__(self, found: Dict[str, Any], credentials: Dict[str, Any]) -> None:
        ends = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=1)
        given = {
            "AccessKeyId": credentials["AccessKeyId"],
            "SecretAccessKey": credentials["SecretAccessKey"],
            "Token": credentials["SessionToken"],
            "Expiration": ends.strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        top = "/latest/meta-data"
        self._answers = {
            f"{top}/network/interfaces/macs/{MAC}/interface-id": public(found),
            f"{top}/iam/security-credentials/": "role",
            f"{top}/iam/security-credentials/role": json.dumps(given),
            **{f"{top}/tags/instance/{tag['Key']}": tag["Value"] for tag in found["Tags"]},
        }
        super().__init__()

    def metadata(self, path: str) -> Optional[str]:
        return self._answers.get(path)


def public(found: Dict[str, Any]) -> str:
    (interface,) = [each for each in found["NetworkInterfaces"] if each["Attachment"]["DeviceIndex"] == 0]
    return str(interface["NetworkInterfaceId"])


class Account:
    def __init__(self, url: str, pair: str, region: str) -> None:
        self._url, self._pair, self._region = url, pair, region
        self.ec2 = self.client("ec2")

    def client(self, service: str) -> Any:
        return boto3.client(
            service,
            region_name=self._region,
            endpoint_url=self._url,
            aws_access_key_id="x",
            aws_secret_access_key="x",
        )

    def described(self, node: str) -> Dict[str, Any]:
        tags = {"hotpair:pair": self._pair, "hotpair:node": node}
        filters = [{"Name": f"tag:{tag}", "Values": [value]} for tag, value in tags.items()]
        # One that was ended is shown for a while.
        filters.append({"Name": "instance-state-name", "Values": ["running", "stopping", "stopped"]})
        ((found,),) = [each["Instances"] for each in self.ec2.describe_instances(Filters=filters)["Reservations"]]
        return dict(found)

    def credentials(self, node: str) -> Dict[str, Any]:
        role = self.client("iam").get_role(RoleName=f"role-{node}")["Role"]["Arn"]
        given = self.client("sts").assume_role(RoleArn=role, RoleSessionName=f"node-{node}")
        return dict(given["Credentials"])

    def has_address(self, node: str, settings: Settings) -> bool:
        """Whether clients that use the pair's address come to this node, by the account's own word."""
        found = self.described(node)
        interface = public(found)
        tags = {tag["Key"]: tag["Value"] for tag in found["Tags"]}
        if settings.method == "elastic-ip":
            (address,) = self.ec2.describe_addresses(AllocationIds=[tags["hotpair:address"]])["Addresses"]
            # moto does not keep which of the interface's private addresses it was associated with.
            return bool(address.get("NetworkInterfaceId") == interface)
        if settings.method == "route":
            (table,) = self.ec2.describe_route_tables(RouteTableIds=[tags["hotpair:routes"]])["RouteTables"]
            routes = {each["DestinationCidrBlock"]: each.get("NetworkInterfaceId") for each in table["Routes"]}
            return all(routes[f"{vip}/32"] == interface for vip in settings.vips)
        if settings.method == "secondary-ip":
            shown = self.ec2.describe_network_interfaces(NetworkInterfaceIds=[interface])["NetworkInterfaces"][0]
            return set(settings.vips) <= {each["PrivateIpAddress"] for each in shown["PrivateIpAddresses"]}
        sets = self.client("route53").list_resource_record_sets(HostedZoneId=settings.hosted_zone)
        (record,) = [each for each in sets["ResourceRecordSets"] if each["Name"] == f"{settings.record}."]
        said = (record["TTL"], [each["Value"] for each in record["ResourceRecords"]])
        return said == (settings.ttl, [settings.own])


def main(url: str, rendered: str, pair: str, node: str, other: str = "") -> None:
    with open(rendered, encoding="utf-8") as file:
        raw = json.load(file)
    account = Account(url, pair, raw["region"])
    metadata = Instance(account.described(node), account.credentials(node))
    endpoints = {"metadata": metadata.url, "ec2": url, "route53": url}
    # moto starts its parts when they are asked for the first time.
    settings = parse({**raw, "timeout": 20, "endpoints": endpoints})
    before = account.has_address(node, settings)
    Address(settings, Metadata(settings.access), MAC).bring(settings.vips)
    said: Dict[str, Any] = {"before": before, "after": account.has_address(node, settings)}
    if other:
        options = {
            "endpoint_ec2": url,
            "endpoint_metadata": metadata.url,
            "pair": pair,
            "plug": other,
            "region": raw["region"],
            "action": "off",
        }
        words = io.StringIO()
        given = io.StringIO("".join(f"{name}={value}\n" for name, value in options.items()))
        with mock.patch.object(sys, "stdin", given), contextlib.redirect_stdout(words):
            code = instance.main()
        said["fence"] = {"code": code, "said": words.getvalue()}
        said["states"] = {each: account.described(each)["State"]["Name"] for each in (node, other)}
    metadata.close()
    print(json.dumps(said))


if __name__ == "__main__":
    main(*sys.argv[1:])
