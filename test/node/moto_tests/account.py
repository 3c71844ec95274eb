"""An account in moto with what a stack makes for a pair; for each node a metadata service with its role's credentials.

moto judges signatures and, where `judged` says so, whether a role may call an action. It looks at no conditions.
"""

from __future__ import annotations

import contextlib
import datetime
import functools
import json
import logging
import time
import urllib.request
from typing import Any, Dict, Iterator, List, Mapping, Optional, Sequence

import boto3
from address_tests.cloud import Cloud
from moto.server import ThreadedMotoServer

REGION = "eu-central-1"
ACCOUNT = "123456789012"
# The one of `lo`, which the programs are told is their public interface.
MAC = "00:00:00:00:00:00"
OWN = {"a": "10.20.0.12", "b": "10.20.0.140"}
VIP = {"secondary-ip": "10.20.0.100", "elastic-ip": "198.18.0.100", "route": "198.18.0.100", "dns": "198.18.0.100"}
NAME = "shop.example.net"

Statements = Sequence[Mapping[str, Any]]


@functools.lru_cache(maxsize=None)
def server() -> str:
    """Its URL. One for all tests: it takes longer to start than all of them."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    started = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    started.start()
    host, port = started.get_host_and_port()
    return f"http://{host}:{port}"


@functools.lru_cache(maxsize=None)
def client(service: str) -> Any:
    return boto3.client(
        service, region_name=REGION, endpoint_url=server(), aws_access_key_id="x", aws_secret_access_key="x"
    )


@functools.lru_cache(maxsize=None)
def image() -> str:
    """One that every account of moto has."""
    return str(client("ec2").describe_images(Owners=["amazon"])["Images"][0]["ImageId"])


class Account:
    """One per test, and empty at its beginning."""

    def __init__(self) -> None:
        self.url = server()
        urllib.request.urlopen(f"{self.url}/moto-api/reset", data=b"").close()
        self._roles = 0
        self.ec2 = client("ec2")
        vpc = self.ec2.create_vpc(CidrBlock="10.20.0.0/16")["Vpc"]["VpcId"]
        subnet = self.ec2.create_subnet(VpcId=vpc, CidrBlock="10.20.0.0/24")["Subnet"]["SubnetId"]
        self.interfaces = {
            node: self.ec2.create_network_interface(SubnetId=subnet, PrivateIpAddress=address)["NetworkInterface"][
                "NetworkInterfaceId"
            ]
            for node, address in (("a", "10.20.0.11"), ("b", "10.20.0.139"))
        }
        self.instances = {node: self._instance(node) for node in ("a", "b")}
        self.address = self.ec2.allocate_address(Domain="vpc")["AllocationId"]
        self.routes = self.ec2.create_route_table(VpcId=vpc)["RouteTable"]["RouteTableId"]
        self.ec2.create_route(
            RouteTableId=self.routes,
            DestinationCidrBlock=f"{VIP['route']}/32",
            NetworkInterfaceId=self.interfaces["a"],
        )
        self.route53 = client("route53")
        zone = self.route53.create_hosted_zone(Name="example.net", CallerReference="1")["HostedZone"]["Id"]
        self.zone = zone.rpartition("/")[2]

    def _instance(self, node: str) -> str:
        tags = [{"Key": "hotpair:pair", "Value": "cloud"}, {"Key": "hotpair:node", "Value": node}]
        made = self.ec2.run_instances(
            ImageId=image(),
            MinCount=1,
            MaxCount=1,
            NetworkInterfaces=[{"DeviceIndex": 0, "NetworkInterfaceId": self.interfaces[node]}],
            TagSpecifications=[{"ResourceType": "instance", "Tags": tags}],
        )
        return str(made["Instances"][0]["InstanceId"])

    def owner(self, method: str) -> str:
        """Node that has the pair's address; empty: none."""
        if method == "elastic-ip":
            found = self.ec2.describe_addresses()["Addresses"][0].get("NetworkInterfaceId", "")
        elif method == "route":
            routes = self.ec2.describe_route_tables(RouteTableIds=[self.routes])["RouteTables"][0]["Routes"]
            found = next(each["NetworkInterfaceId"] for each in routes if each.get("NetworkInterfaceId"))
        elif method == "dns":
            records = self.route53.list_resource_record_sets(HostedZoneId=self.zone)["ResourceRecordSets"]
            values = [each["ResourceRecords"][0]["Value"] for each in records if each["Name"] == f"{NAME}."]
            return next((node for node, own in OWN.items() if values == [own]), "")
        else:
            return "".join(node for node in self.interfaces if VIP[method] in self.addresses(node))
        return next((node for node, interface in self.interfaces.items() if interface == found), "")

    def addresses(self, node: str) -> List[str]:
        shown = self.ec2.describe_network_interfaces(NetworkInterfaceIds=[self.interfaces[node]])
        return [each["PrivateIpAddress"] for each in shown["NetworkInterfaces"][0]["PrivateIpAddresses"]]

    def state(self, node: str) -> str:
        shown = self.ec2.describe_instances(InstanceIds=[self.instances[node]])
        return str(shown["Reservations"][0]["Instances"][0]["State"]["Name"])

    def arns(self) -> Dict[str, str]:
        """Of what the stack names in its roles' policies."""
        top = f"arn:aws:ec2:{REGION}:{ACCOUNT}"
        return {
            **{f"interface-public-{node}": f"{top}:network-interface/{id}" for node, id in self.interfaces.items()},
            **{f"instance-{node}": f"{top}:instance/{id}" for node, id in self.instances.items()},
            "address": f"{top}:elastic-ip/{self.address}",
            "routes-public": f"{top}:route-table/{self.routes}",
            "zone": f"arn:aws:route53:::hostedzone/{self.zone}",
        }

    def credentials(self, statements: Statements) -> Dict[str, str]:
        """Of a new role that may do what they say."""
        self._roles += 1
        name = f"role-{self._roles}"
        iam = client("iam")
        role = iam.create_role(RoleName=name, AssumeRolePolicyDocument="{}")["Role"]["Arn"]
        # moto compares the resource of an action of EC2 with nothing but a wildcard.
        open_statements = [{**statement, "Resource": "*"} for statement in statements]
        document = {"Version": "2012-10-17", "Statement": open_statements}
        iam.put_role_policy(RoleName=name, PolicyName="right", PolicyDocument=json.dumps(document))
        given = client("sts").assume_role(RoleArn=role, RoleSessionName="node")["Credentials"]
        ends = datetime.datetime.fromtimestamp(time.time() + 3600, datetime.timezone.utc)
        return {
            "AccessKeyId": given["AccessKeyId"],
            "SecretAccessKey": given["SecretAccessKey"],
            "Token": given["SessionToken"],
            "Expiration": ends.strftime("%Y-%m-%dT%H:%M:%SZ"),
        }


class Node(Cloud):
    """The metadata of one node's instance, with the credentials of a role that may do what `statements` say."""

    def __init__(self, account: Account, node: str, statements: Statements) -> None:
        self._account = account
        self.node = node
        self.given = account.credentials(statements)
        super().__init__()

    def metadata(self, path: str) -> Optional[str]:
        account = self._account
        top = "/latest/meta-data"
        return {
            f"{top}/network/interfaces/macs/{MAC}/interface-id": account.interfaces[self.node],
            f"{top}/tags/instance/hotpair:address": account.address,
            f"{top}/tags/instance/hotpair:routes": account.routes,
            f"{top}/iam/security-credentials/": "role",
            f"{top}/iam/security-credentials/role": json.dumps(self.given),
        }.get(path)

    def settings(self, method: str) -> Dict[str, object]:
        return {
            "version": 1,
            "pair": "cloud",
            "node": f"cloud-{self.node}",
            "method": method,
            "region": REGION,
            "interface": "lo",
            "vips": [VIP[method]],
            "own": OWN[self.node],
            "hostedZone": self._account.zone,
            "record": NAME,
            "ttl": 5,
            "within": 10,
            # moto starts its parts when they are asked for the first time.
            "timeout": 20,
            "endpoints": {"metadata": self.url, "ec2": self._account.url, "route53": self._account.url},
            "state": f"{self.directory}/state",
        }

    def options(self, peer: str) -> str:
        """Of the fence agent."""
        given = {
            "endpoint_ec2": self._account.url,
            "endpoint_metadata": self.url,
            "pair": "cloud",
            "plug": peer,
            "region": REGION,
        }
        return "".join(f"{name}={value}\n" for name, value in given.items())


@contextlib.contextmanager
def judged() -> Iterator[None]:
    """From here on every call needs a right."""
    _count_as_judged_from("0")
    try:
        yield
    finally:
        _count_as_judged_from("inf")


def _count_as_judged_from(call: str) -> None:
    plain = {"Content-Type": "text/plain"}
    request = urllib.request.Request(f"{server()}/moto-api/reset-auth", call.encode(), plain)
    urllib.request.urlopen(request).close()
