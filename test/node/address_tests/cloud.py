"""A stand-in for AWS: metadata that insists on tokens, EC2's query interface and Route 53, with faults on order."""

from __future__ import annotations

import datetime
import json
import shutil
import tempfile
import threading
import time
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Dict, List, Optional, Tuple, Type

TOKEN = "a-token"
NODES = {"a": "02:00:00:00:00:0a", "b": "02:00:00:00:00:0b"}
OWN = {"a": "10.20.0.12", "b": "10.20.0.140"}
PUBLIC = "203.0.113.100"


class Cloud:
    """One per test. `owner` is where the address is; `calls` what was asked for, in order."""

    def __init__(self) -> None:
        self.owner = ""
        self.calls: List[Dict[str, str]] = []
        # what the next calls get instead of being carried out: status and code
        self.faults: List[Tuple[int, str]] = []
        # an action that the role may not
        self.denied = ""
        # seconds until any call is answered
        self.silence = 0.0
        self.record = ""
        # access keys; the last one is handed out by the role and accepted
        self.keys = ["AKIA1"]
        self.role = True
        # node and state of each instance, by its id; one that is told to stop is `stopping` for so many more looks
        self.instances: Dict[str, Tuple[str, str]] = {"i-a": ("a", "running"), "i-b": ("b", "running")}
        self.looks_until_off = 0
        self.tokens = 0
        self.lock = threading.Lock()
        # what the nodes keep of it
        self.directory = tempfile.mkdtemp(prefix="hotpair-cloud-")
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        shutil.rmtree(self.directory, ignore_errors=True)

    def metadata(self, path: str) -> Optional[str]:
        for node, mac in NODES.items():
            top = f"/latest/meta-data/network/interfaces/macs/{mac}/"
            if not path.startswith(top):
                continue
            mine = self.owner == node
            rest = path[len(top) :]
            if rest == "interface-id":
                return f"eni-{node}"
            if rest == "local-ipv4s":
                return "\n".join([f"10.20.0.1{node}", *(["10.20.0.100"] if mine else [])])
            if rest == "ipv4-associations/":
                return PUBLIC if mine else None
            if rest == f"ipv4-associations/{PUBLIC}":
                return OWN[node] if mine else None
        answers = {
            "/latest/meta-data/tags/instance/hotpair:address": "eipalloc-1",
            "/latest/meta-data/tags/instance/hotpair:routes": "rtb-1",
        }
        if self.role:
            ends = datetime.datetime.fromtimestamp(time.time() + 3600, datetime.timezone.utc)
            answers["/latest/meta-data/iam/security-credentials/"] = "role-a"
            answers["/latest/meta-data/iam/security-credentials/role-a"] = json.dumps(
                {
                    "AccessKeyId": self.keys[-1],
                    "SecretAccessKey": "secret",
                    "Token": "session",
                    "Expiration": ends.strftime("%Y-%m-%dT%H:%M:%SZ"),
                }
            )
        return answers.get(path)

    def carry_out(self, fields: Dict[str, str]) -> Tuple[int, str]:
        """Status, and the code of an error."""
        if fields.get("DryRun") == "true":
            return 412, "DryRunOperation"
        if fields["Action"] == "DescribeInstances":
            return 200, ""
        if fields["Action"] == "StopInstances":
            node, _ = self.instances[fields["InstanceId.1"]]
            self.instances[fields["InstanceId.1"]] = (node, "stopping" if self.looks_until_off else "stopped")
            return 200, ""
        name, value = {
            "AssociateAddress": ("AllocationId", "eipalloc-1"),
            "AssignPrivateIpAddresses": ("PrivateIpAddress.1", "10.20.0.100"),
            "ReplaceRoute": ("DestinationCidrBlock", "198.18.0.100/32"),
        }[fields["Action"]]
        interface = fields["NetworkInterfaceId"]
        if fields[name] != value or interface not in ("eni-a", "eni-b"):
            return 400, "InvalidParameterValue"
        self.owner = interface[-1]
        return 200, ""

    def instances_shown(self, fields: Dict[str, str]) -> str:
        """DescribeInstances of one node of the pair."""
        filters = {fields[f"Filter.{number}.Name"]: fields[f"Filter.{number}.Value.1"] for number in (1, 2)}
        items = "".join(
            f"<item><instanceId>{id}</instanceId><instanceState><code>0</code><name>{state}</name></instanceState></item>"
            for id, (node, state) in self.instances.items()
            if filters == {"tag:hotpair:pair": "cloud", "tag:hotpair:node": node}
        )
        for id, (node, state) in self.instances.items():
            if state == "stopping":
                self.looks_until_off -= 1
                self.instances[id] = (node, "stopping" if self.looks_until_off > 0 else "stopped")
        return (
            '<DescribeInstancesResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><reservationSet><item>'
            f"<instancesSet>{items}</instancesSet></item></reservationSet></DescribeInstancesResponse>"
        )

    def post(self, path: str, body: str, signature: str) -> Tuple[int, str]:
        fields = dict(urllib.parse.parse_qsl(body))
        with self.lock:
            silence = self.silence
            fault = self.faults.pop(0) if self.faults else None
            self.calls.append({**fields, "key": signature.partition("Credential=")[2].partition("/")[0]})
        if silence:
            time.sleep(silence)
            return 500, "Late"
        with self.lock:
            if fault is not None:
                return fault
            if f"Credential={self.keys[-1]}/" not in signature:
                return 400, "ExpiredToken"
            if self.denied and fields.get("Action") == self.denied:
                return 403, "UnauthorizedOperation"
            if path.startswith("/2013-04-01/hostedzone/Z1/rrset"):
                self.record = body
                return 200, ""
            return self.carry_out(fields)

    def _handler(self) -> Type[BaseHTTPRequestHandler]:
        cloud = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, format: str, *args: object) -> None:
                del format, args

            def answer(self, status: int, text: str) -> None:
                body = text.encode()
                try:
                    self.send_response(status)
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)
                except OSError:
                    pass

            def do_PUT(self) -> None:
                if self.headers.get("X-aws-ec2-metadata-token-ttl-seconds") is None:
                    self.answer(400, "")
                else:
                    cloud.tokens += 1
                    self.answer(200, TOKEN)

            def do_GET(self) -> None:
                if self.headers.get("X-aws-ec2-metadata-token") != TOKEN:
                    self.answer(401, "")
                    return
                with cloud.lock:
                    said = cloud.metadata(self.path)
                self.answer(404 if said is None else 200, said or "")

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", "0"))).decode()
                status, code = cloud.post(self.path, body, self.headers.get("authorization", ""))
                error = f"<Error><Code>{code}</Code><Message>on order</Message></Error>"
                fields = dict(urllib.parse.parse_qsl(body))
                with cloud.lock:
                    looked = status == 200 and fields.get("Action") == "DescribeInstances"
                    said = cloud.instances_shown(fields) if looked else "<return>true</return>"
                self.answer(status, said if status == 200 else error)

        return Handler
