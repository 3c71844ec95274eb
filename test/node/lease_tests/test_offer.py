"""What each node calls its data, said in etcd beside the lease's own keys: over TLS, to a member that is made here."""

from __future__ import annotations

import base64
import json
import shutil
import ssl
import subprocess
import tempfile
import threading
import unittest
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Dict

from lease import settings as lease_settings
from lease import verbs


class Member(BaseHTTPRequestHandler):
    """/v3/kv/range and /v3/kv/put of etcd's JSON gateway, over the server's `keys`."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        keys: Dict[str, str] = self.server.keys  # type: ignore[attr-defined]
        key = base64.b64decode(body["key"]).decode()
        if self.path == "/v3/kv/put":
            keys[key] = body["value"]
            answer: Dict[str, Any] = {}
        else:
            answer = {"kvs": [{"key": body["key"], "value": keys[key], "mod_revision": "1"}]} if key in keys else {}
        content = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        pass


@unittest.skipUnless(shutil.which("openssl"), "openssl makes the certificate")
class Offers(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        subprocess.run(
            [
                *["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"],
                *["-days", "2", "-subj", "/CN=member", "-addext", "subjectAltName=IP:127.0.0.1"],
                *["-keyout", f"{self.folder}/key", "-out", f"{self.folder}/pem"],
            ],
            check=True,
            capture_output=True,
        )
        self.keys: Dict[str, str] = {}
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Member)
        self.server.daemon_threads = True
        self.server.keys = self.keys  # type: ignore[attr-defined]
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(f"{self.folder}/pem", f"{self.folder}/key")
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()
        self.addCleanup(self.server.server_close)
        self.addCleanup(self.server.shutdown)

    def of(self, node: str) -> lease_settings.Settings:
        """Settings of one node; a member answers, the others are not there."""
        peer = "b" if node == "a" else "a"
        nowhere = "https://127.0.0.1:1"
        return lease_settings.parse(
            {
                "version": 1,
                "pair": "disks",
                "node": {"id": node, "name": f"node-{node}"},
                "peer": {"id": peer, "name": f"node-{peer}"},
                "witness": {"name": "witness"},
                "endpoints": {
                    "a": nowhere,
                    "b": nowhere,
                    "witness": f"https://127.0.0.1:{self.server.server_address[1]}",
                },
                "ca": f"{self.folder}/pem",
                "certificate": f"{self.folder}/pem",
                "key": f"{self.folder}/key",
                "lease": {
                    "renewal": 0.1,
                    "rpcTimeout": 0.2,
                    "deadline": 0.8,
                    "takeover": 1.5,
                    "watchdog": 0.8,
                    "stopTimeout": 0.2,
                    "drift": 0.001,
                    "margin": 0.05,
                },
                "writers": [],
                "paths": {"incarnation": f"{self.folder}/incarnation-{node}", "epoch": f"{self.folder}/epoch"},
            }
        )

    def test_what_one_node_offers_the_other_reads(self) -> None:
        self.assertEqual(verbs.offered(self.of("b")), "")
        verbs.incarnation(self.of("a"), "20260101-one")
        self.assertEqual(verbs.offer(self.of("a")), "20260101-one")
        self.assertEqual(verbs.offered(self.of("b")), "20260101-one")
        self.assertEqual(verbs.offered(self.of("a")), "")
        # The rules of the lease are about everything below the pair's own prefix.
        self.assertEqual(list(self.keys), ["/hotpair-offers/disks/a"])
        self.assertFalse(next(iter(self.keys)).startswith(self.of("a").prefix))

    def test_data_without_a_name_has_nothing_to_offer(self) -> None:
        with self.assertRaisesRegex(verbs.Refusal, "no name to offer"):
            verbs.offer(self.of("a"))

    def test_nobody_answers(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        with self.assertRaisesRegex(verbs.Refusal, "no member of etcd answers"):
            verbs.offered(self.of("a"))


if __name__ == "__main__":
    unittest.main()
