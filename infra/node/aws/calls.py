"""Calls of AWS's own interfaces: EC2's query interface and Route 53's record changes. One call, no retries."""

from __future__ import annotations

import re
import time
import urllib.parse
from typing import Mapping
from xml.sax.saxutils import escape

from .access import Access
from .metadata import Metadata
from .request import request
from .sign import signed

EC2_VERSION = "2016-11-15"
ROUTE53_VERSION = "2013-04-01"
# Amazon EC2 and Route 53 API references, common error codes.
_THROTTLED = ("RequestLimitExceeded", "Throttling", "ThrottlingException", "PriorRequestNotComplete")
_EXPIRED = ("ExpiredToken", "ExpiredTokenException", "RequestExpired", "AuthFailure", "InvalidClientTokenId")
_DENIED = ("UnauthorizedOperation", "AccessDenied", "AccessDeniedException")
DRY = "DryRunOperation"


class CallError(Exception):
    """AWS answered with no. `kind`: throttled, expired, denied, dry (it would have been done), or refused."""

    def __init__(self, kind: str, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.kind = kind


def _kind(status: int, code: str) -> str:
    if code == DRY:
        return "dry"
    if code in _THROTTLED or status in (429, 503):
        return "throttled"
    if code in _EXPIRED:
        return "expired"
    return "denied" if code in _DENIED else "refused"


def _call(access: Access, metadata: Metadata, url: str, body: bytes, kind: str, service: str, region: str) -> bytes:
    headers = signed("POST", url, body, kind, service, region, metadata.credentials(), time.time())
    answer = request("POST", url, headers, body, access.timeout)
    if answer.status == 200:
        return answer.body
    text = answer.body.decode(errors="replace")
    code = re.search(r"<Code>([^<]*)</Code>", text)
    message = re.search(r"<Message>([^<]*)</Message>", text)
    name = code.group(1) if code else f"HTTP {answer.status}"
    raise CallError(_kind(answer.status, name), name, message.group(1)[:300] if message else "no reason given")


def ec2(access: Access, metadata: Metadata, action: str, parameters: Mapping[str, str], dry: bool = False) -> bytes:
    """AWS's answer, XML. Raises CallError, Unreachable, MetadataError."""
    fields = {"Action": action, "Version": EC2_VERSION, **parameters, **({"DryRun": "true"} if dry else {})}
    body = urllib.parse.urlencode(fields).encode()
    kind = "application/x-www-form-urlencoded; charset=utf-8"
    return _call(access, metadata, access.endpoints["ec2"] + "/", body, kind, "ec2", access.region)


def upsert_record(access: Access, metadata: Metadata, zone: str, name: str, ttl: int, address: str) -> None:
    """`ttl` in seconds. Raises CallError, Unreachable, MetadataError."""
    body = (
        '<?xml version="1.0" encoding="UTF-8"?>'
        f'<ChangeResourceRecordSetsRequest xmlns="https://route53.amazonaws.com/doc/{ROUTE53_VERSION}/">'
        "<ChangeBatch><Changes><Change><Action>UPSERT</Action><ResourceRecordSet>"
        f"<Name>{escape(name)}</Name><Type>A</Type><TTL>{ttl}</TTL>"
        f"<ResourceRecords><ResourceRecord><Value>{escape(address)}</Value></ResourceRecord></ResourceRecords>"
        "</ResourceRecordSet></Change></Changes></ChangeBatch></ChangeResourceRecordSetsRequest>"
    ).encode()
    url = f"{access.endpoints['route53']}/{ROUTE53_VERSION}/hostedzone/{zone}/rrset/"
    # Route 53 is one for the whole world, and signs as this region (AWS general reference).
    _call(access, metadata, url, body, "application/xml", "route53", "us-east-1")
