"""The four ways to move an address, behind one face: bring it here, and say whether it is here. Each is idempotent."""

from __future__ import annotations

from typing import Optional, Sequence

from aws import calls
from aws.metadata import Metadata, MetadataError

from .settings import Settings


class Address:
    """All methods raise CallError, Unreachable, MetadataError."""

    def __init__(self, settings: Settings, metadata: Metadata, mac: str) -> None:
        self._settings = settings
        self._metadata = metadata
        self._mac = mac

    def _interface(self) -> str:
        return f"meta-data/network/interfaces/macs/{self._mac}"

    def _interface_id(self) -> str:
        return self._metadata.constant(f"{self._interface()}/interface-id")

    def _tag(self, name: str) -> str:
        """What was made for the pair, e.g. the Elastic IP: the stack writes its id into the instance's tags."""
        return self._metadata.constant(f"meta-data/tags/instance/hotpair:{name}")

    def bring(self, vips: Sequence[str], dry: bool = False) -> None:
        """Of the pair's VIPs, these: by an Elastic IP or a record, the only one."""
        settings = self._settings
        if settings.method == "elastic-ip":
            parameters = {
                "AllocationId": self._tag("address"),
                "NetworkInterfaceId": self._interface_id(),
                "PrivateIpAddress": settings.own,
                "AllowReassociation": "true",
            }
            calls.ec2(settings.access, self._metadata, "AssociateAddress", parameters, dry)
        elif settings.method == "secondary-ip":
            addresses = {f"PrivateIpAddress.{number}": address for number, address in enumerate(vips, 1)}
            parameters = {"NetworkInterfaceId": self._interface_id(), "AllowReassignment": "true", **addresses}
            # It has no dry run: asked again for what is here, it changes nothing.
            calls.ec2(settings.access, self._metadata, "AssignPrivateIpAddresses", parameters)
        elif settings.method == "route":
            for address in vips:
                parameters = {
                    "RouteTableId": self._tag("routes"),
                    "DestinationCidrBlock": f"{address}/32",
                    "NetworkInterfaceId": self._interface_id(),
                }
                calls.ec2(settings.access, self._metadata, "ReplaceRoute", parameters, dry)
        else:
            calls.upsert_record(
                settings.access, self._metadata, settings.hosted_zone, settings.record, settings.ttl, settings.own
            )

    def reached(self) -> Optional[str]:
        """The Elastic IP that is associated with this node's private address for it. None: there is none."""
        if self._settings.method != "elastic-ip":
            return None
        for public in self._metadata.lines(f"{self._interface()}/ipv4-associations/"):
            private = self._metadata.get(f"{self._interface()}/ipv4-associations/{public}")
            if private is not None and private.strip() == self._settings.own:
                return public
        return None

    def is_here(self, vips: Sequence[str]) -> Optional[bool]:
        """By the instance's own metadata, which costs no call. None: only AWS itself could say."""
        if self._settings.method == "elastic-ip":
            return self.reached() is not None
        if self._settings.method == "secondary-ip":
            here = self._metadata.lines(f"{self._interface()}/local-ipv4s")
            return all(address in here for address in vips)
        return None


def mac_of(interface: str) -> str:
    try:
        with open(f"/sys/class/net/{interface}/address", encoding="ascii") as file:
            return file.read().strip()
    except OSError as error:
        raise MetadataError(f"the interface {interface} has no MAC address: {error}") from None
