"""AWS around lab hosts, as far as a pair there notices it, over an account of moto: the endpoints of EC2 and Route 53
behind TLS, each instance's metadata service, which insists on tokens, roles that may do what the stack wrote for them
and nothing else, and a network that sends a routed address to the instance that the route table names. Faults on order.

Reads its orders from standard input and ends with it. The first line is the JSON of `Lab`; after that each line is an
object, with `node`, `faults` and `action` where the next calls of that node are to meet them, and is answered by what
was called so far, where the address is and which servers run.
"""

from __future__ import annotations

import datetime
import http.client
import json
import logging
import re
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
import uuid
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Dict, List, Mapping, Optional, Tuple, Type

import boto3
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from moto.core import DEFAULT_ACCOUNT_ID as ACCOUNT
from moto.ec2.models import ec2_backends
from moto.server import ThreadedMotoServer

REGION = "eu-central-1"
NAMES = (f"ec2.{REGION}.amazonaws.com", "route53.amazonaws.com")
# Between two looks at the route table: a VPC's own time is AWS's.
LOOK = 0.02
# What AWS judges a right by: the parameters that name resources, and their kinds (Service Authorization Reference). An
# action that is not here is granted for everything or not at all.
JUDGED_BY = {
    "AssignPrivateIpAddresses": {"NetworkInterfaceId": "network-interface"},
    "AssociateAddress": {"AllocationId": "elastic-ip", "NetworkInterfaceId": "network-interface"},
    "ReplaceRoute": {"RouteTableId": "route-table"},
    "StopInstances": {"InstanceId.1": "instance"},
}


@dataclass(frozen=True)
class Lab:
    pair: str
    # of this machine, where the hosts find the endpoints
    address: str
    # by node: its address and the MAC address of its public interface
    nodes: Mapping[str, Tuple[str, str]]
    # the address that is routed
    vip: str
    # namespaces of everybody who asks for it
    clients: List[str]


class Cloud:
    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        self.moto.start()
        host, port = self.moto.get_host_and_port()
        self.url = f"http://{host}:{port}"
        self.port = port
        self.lock = threading.Lock()
        self.calls: List[Dict[str, Any]] = []
        # for the next calls of one node that are no dry runs, of one action or any, in order: "503 SlowDown",
        # "silence 3" (seconds), "late 3" (carried out, and answered too late), "cut", "expire"
        self.faults: List[str] = []
        self.victim = ""
        self.stricken = ""
        self.tokens: Dict[str, str] = {}
        self.credentials: Dict[str, Dict[str, str]] = {}
        self.refused = 0
        self.ec2, self.iam, self.sts = (self.client(service) for service in ("ec2", "iam", "sts"))

    def client(self, service: str) -> Any:
        return boto3.client(
            service, region_name=REGION, endpoint_url=self.url, aws_access_key_id="x", aws_secret_access_key="x"
        )

    # --- what an instance knows of itself ---------------------------------------------------------------------------

    def instance(self, node: str) -> Dict[str, Any]:
        tags = {"hotpair:pair": self.lab.pair, "hotpair:node": node}
        filters = [{"Name": f"tag:{tag}", "Values": [value]} for tag, value in tags.items()]
        filters.append({"Name": "instance-state-name", "Values": ["running"]})
        found = self.ec2.describe_instances(Filters=filters)["Reservations"]
        return dict(found[0]["Instances"][0]) if found else {}

    def metadata(self, node: str, path: str) -> Optional[str]:
        found = self.instance(node)
        if not found:
            return None
        (public,) = [each for each in found["NetworkInterfaces"] if each["Attachment"]["DeviceIndex"] == 0]
        top = "/latest/meta-data"
        mac = f"{top}/network/interfaces/macs/{self.lab.nodes[node][1]}"
        role = f"role-{node}"
        if path == f"{top}/iam/security-credentials/{role}":
            return json.dumps(self.given(node))
        return {
            f"{mac}/interface-id": public["NetworkInterfaceId"],
            f"{mac}/local-ipv4s": "\n".join(each["PrivateIpAddress"] for each in public["PrivateIpAddresses"]),
            f"{top}/iam/security-credentials/": role,
            **{f"{top}/tags/instance/{tag['Key']}": tag["Value"] for tag in found["Tags"]},
        }.get(path)

    def given(self, node: str) -> Dict[str, str]:
        """The role's, until they are told to be expired."""
        with self.lock:
            known = self.credentials.get(node)
        if known is None:
            role = self.iam.get_role(RoleName=f"role-{node}")["Role"]["Arn"]
            made = self.sts.assume_role(RoleArn=role, RoleSessionName=f"node-{node}")["Credentials"]
            ends = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=1)
            known = {
                "AccessKeyId": made["AccessKeyId"],
                "SecretAccessKey": made["SecretAccessKey"],
                "Token": made["SessionToken"],
                "Expiration": ends.strftime("%Y-%m-%dT%H:%M:%SZ"),
            }
            with self.lock:
                self.credentials[node] = known
        return known

    # --- calls ------------------------------------------------------------------------------------------------------

    def fault(self, node: str, action: str) -> str:
        with self.lock:
            met = self.faults and node == self.victim and self.stricken in ("", action)
            return self.faults.pop(0) if met else ""

    def allowed(self, node: str, service: str, action: str, path: str, body: str) -> bool:
        """By the policy that the stack wrote for the node's role: action, resources and conditions."""
        if service == "route53":
            named = [f"arn:aws:route53:::hostedzone/{path.split('/')[3]}"]
            record = {
                "RecordNames": re.findall("<Name>(.*?)</Name>", body),
                "RecordTypes": re.findall("<Type>(.*?)</Type>", body),
                "Actions": re.findall("<Action>(.*?)</Action>", body),
            }
            prefix = "route53:ChangeResourceRecordSets"
            normalized = {"RecordNames": "NormalizedRecordNames"}
            values = {f"{prefix}{normalized.get(name, name)}": found for name, found in record.items()}
        else:
            fields = dict(urllib.parse.parse_qsl(body))
            kinds = JUDGED_BY.get(action, {})
            named = [f"arn:aws:ec2:{REGION}:{ACCOUNT}:{kind}/{fields[name]}" for name, kind in kinds.items()]
            values = {"aws:RequestedRegion": [REGION]}
            if "instance" in kinds.values():
                filters = [{"Name": "resource-id", "Values": [fields["InstanceId.1"]]}]
                for tag in self.ec2.describe_tags(Filters=filters)["Tags"]:
                    values[f"aws:ResourceTag/{tag['Key']}"] = [tag["Value"]]
        document = self.iam.get_role_policy(RoleName=f"role-{node}", PolicyName=f"right-{node}")["PolicyDocument"]
        for statement in document["Statement"]:
            if statement["Effect"] != "Allow" or f"{service}:{action}" not in statement["Action"]:
                continue
            conditions = [
                (name, [wanted] if isinstance(wanted, str) else wanted)
                for operator in statement.get("Condition", {}).values()
                for name, wanted in operator.items()
            ]
            fits = all(set(values.get(name, [""])) <= set(wanted) for name, wanted in conditions)
            on = statement["Resource"]
            if fits and (on == "*" or (named and set(named) <= set(on))):
                return True
        return False

    def call(self, path: str, body: bytes, headers: Mapping[str, str]) -> Tuple[int, bytes]:
        """Status and body; status 0: not a word."""
        fields = dict(urllib.parse.parse_qsl(body.decode()))
        key, _, scope = headers.get("authorization", "").partition("Credential=")[2].partition("/")
        service = scope.split("/")[2] if scope.count("/") > 2 else ""
        with self.lock:
            known = {given["AccessKeyId"]: node for node, given in self.credentials.items()}
        node = known.get(key, "")
        dry = fields.get("DryRun") == "true"
        action = "ChangeResourceRecordSets" if service == "route53" else fields.get("Action", "")
        said = {"at": time.time(), "node": node, "action": action, "dry": dry}
        fault = "" if dry else self.fault(node, action)
        status, text = self.answer(fault, node, service, action, dry, path, body, headers)
        with self.lock:
            self.calls.append({**said, "status": status, "fault": fault})
        return status, text

    def answer(
        self,
        fault: str,
        node: str,
        service: str,
        action: str,
        dry: bool,
        path: str,
        body: bytes,
        headers: Mapping[str, str],
    ) -> Tuple[int, bytes]:
        word, _, rest = fault.partition(" ")
        if word == "cut":
            return 0, b""
        if word == "silence":
            time.sleep(float(rest))
            return 0, b""
        if word == "late":
            # Carried out, and the answer does not come in time.
            self.forward(path, body, headers)
            time.sleep(float(rest))
            return 0, b""
        if word == "expire":
            with self.lock:
                self.credentials.pop(node, None)
            return error(400, "RequestExpired")
        if word:
            return error(int(word), rest)
        if not node:
            return error(401, "AuthFailure")
        if not self.allowed(node, service, action, path, body.decode()):
            return error(403, "UnauthorizedOperation")
        if dry and action == "ReplaceRoute":
            # moto knows no dry run of it, and would carry it out.
            return error(412, "DryRunOperation")
        if action == "AssignPrivateIpAddresses":
            self.let_go(dict(urllib.parse.parse_qsl(body.decode()))["PrivateIpAddress.1"])
        return self.forward(path, body, headers)

    def let_go(self, address: str) -> None:
        """What is reassigned is not where it was any more; moto leaves it there, too."""
        for interface in self.ec2.describe_network_interfaces()["NetworkInterfaces"]:
            if address in [each["PrivateIpAddress"] for each in interface["PrivateIpAddresses"]]:
                self.ec2.unassign_private_ip_addresses(
                    NetworkInterfaceId=interface["NetworkInterfaceId"], PrivateIpAddresses=[address]
                )

    def forward(self, path: str, body: bytes, headers: Mapping[str, str]) -> Tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request("POST", path, body, dict(headers))
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    # --- the network ------------------------------------------------------------------------------------------------

    def owner(self) -> str:
        """Node that the route leads to; empty: none. By moto's own tables, since this is asked all the time."""
        for table in list(ec2_backends[ACCOUNT][REGION].route_tables.values()):
            for route in table.routes:
                if route.destination_cidr_block == f"{self.lab.vip}/32" and route.interface is not None:
                    own = route.interface.private_ip_address
                    return next((node for node, (address, _) in self.lab.nodes.items() if address == own), "")
        return ""

    def states(self) -> Dict[str, str]:
        """Of each node's instance, e.g. "running"; empty: there is none."""
        found = [
            (instance.private_ip, str(instance.state))
            for reservation in list(ec2_backends[ACCOUNT][REGION].reservations.values())
            for instance in reservation.instances
        ]
        return {node: dict(found).get(address, "") for node, (address, _) in self.lab.nodes.items()}

    def follow(self) -> None:
        """As a VPC's routers do: whoever asks for the address is sent to where the route table says."""
        before = ""
        while True:
            time.sleep(LOOK)
            owner = self.owner()
            if owner == before:
                continue
            before = owner
            for namespace in self.lab.clients:
                route = ["ip", "-n", namespace, "route"]
                if owner:
                    order = [*route, "replace", f"{self.lab.vip}/32", "via", self.lab.nodes[owner][0]]
                else:
                    order = [*route, "delete", f"{self.lab.vip}/32"]
                subprocess.run(order, check=False, capture_output=True)

    # --- servers ----------------------------------------------------------------------------------------------------

    def serve(self) -> str:
        """The certificate of the authority that the endpoints' own is signed by, PEM."""
        authority, chain = certificates()
        endpoints = ThreadingHTTPServer((self.lab.address, 443), self.endpoints())
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        with tempfile.NamedTemporaryFile(suffix=".pem") as file:
            file.write(chain)
            file.flush()
            context.load_cert_chain(file.name)
        # The handshake is the connection's own thread's.
        endpoints.socket = context.wrap_socket(endpoints.socket, server_side=True, do_handshake_on_connect=False)
        started = [endpoints]
        for port, node in enumerate(self.lab.nodes, 8170):
            started.append(ThreadingHTTPServer((self.lab.address, port), self.metadata_service(node)))
        for server in started:
            server.daemon_threads = True
            threading.Thread(target=server.serve_forever, daemon=True).start()
        threading.Thread(target=self.follow, daemon=True).start()
        return authority

    def endpoints(self) -> Type[BaseHTTPRequestHandler]:
        cloud = self

        class Endpoints(Quiet):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
                status, text = cloud.call(
                    self.path, body, {name.lower(): value for name, value in self.headers.items()}
                )
                if status:
                    self.answer(status, text)

        return Endpoints

    def metadata_service(self, node: str) -> Type[BaseHTTPRequestHandler]:
        cloud = self

        class Metadata(Quiet):
            def do_PUT(self) -> None:
                if self.path != "/latest/api/token" or "X-aws-ec2-metadata-token-ttl-seconds" not in self.headers:
                    self.answer(400, b"")
                    return
                token = uuid.uuid4().hex
                cloud.tokens[token] = node
                self.answer(200, token.encode())

            def do_GET(self) -> None:
                if cloud.tokens.get(self.headers.get("X-aws-ec2-metadata-token", "")) != node:
                    with cloud.lock:
                        cloud.refused += 1
                    self.answer(401, b"")
                    return
                said = cloud.metadata(node, self.path)
                self.answer(404 if said is None else 200, (said or "").encode())

        return Metadata


class Quiet(BaseHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        del format, args

    def answer(self, status: int, body: bytes) -> None:
        try:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        except OSError:
            pass


def error(status: int, code: str) -> Tuple[int, bytes]:
    text = f"<Response><Errors><Error><Code>{code}</Code><Message>on order</Message></Error></Errors></Response>"
    return status, text.encode()


def certificates() -> Tuple[str, bytes]:
    """An authority's certificate, and the endpoints' with its key: PEM, for a day, as strict as Python 3.13 wants."""
    now = datetime.datetime.now(datetime.timezone.utc)
    authority_key, own_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key())
    uses = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement")
    usage = x509.KeyUsage(
        **dict.fromkeys(uses, False), key_cert_sign=True, crl_sign=True, encipher_only=False, decipher_only=False
    )

    def made(name: str, key: Any, extensions: List[Tuple[Any, bool]]) -> Any:
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "hotpair test")]))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(issuer, critical=False)
        )
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical=critical)
        return builder.sign(authority_key, hashes.SHA256())

    root = made("hotpair test", authority_key, [(x509.BasicConstraints(ca=True, path_length=0), True), (usage, True)])
    names = x509.SubjectAlternativeName([x509.DNSName(name) for name in NAMES])
    endpoint = made(NAMES[0], own_key, [(names, False)])
    pem = serialization.Encoding.PEM
    private = own_key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return root.public_bytes(pem).decode(), private + endpoint.public_bytes(pem)


def main() -> None:
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    lab = Lab(**json.loads(sys.stdin.readline()))
    cloud = Cloud(lab)
    print(json.dumps({"url": cloud.url, "authority": cloud.serve()}), flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        with cloud.lock:
            if "faults" in order:
                cloud.victim, cloud.faults = order["node"], order["faults"]
                cloud.stricken = order.get("action", "")
        now = {"owner": cloud.owner(), "states": cloud.states()}
        with cloud.lock:
            said = {**now, "calls": cloud.calls, "refused": cloud.refused, "faults": len(cloud.faults)}
            print(json.dumps(said), flush=True)


if __name__ == "__main__":
    main()
