#!/usr/bin/python3
"""Stands on a server in place of hotpair-lease, with the same words, files and socket; the authority behind it is the
test (drbd-authority.ts), asked over the public network. So what uses a lease can be tested with the kernel's driver on
emulated machines, without the members of etcd that these are too slow for.

/etc/hotpair/test-lease.json: address and port of the authority, this node's id, and D in seconds.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import socketserver
import sys
import threading
import time
from typing import Any, Dict

RUN = "/run/hotpair"
HOLDER = f"{RUN}/holder"
TAKEN = f"{RUN}/taken"
SOCKET = f"{RUN}/lease.sock"
INCARNATION = "/var/lib/hotpair/incarnation"

with open("/etc/hotpair/test-lease.json", encoding="utf-8") as settings:
    SETTINGS = json.load(settings)
DEADLINE = float(SETTINGS["deadline"])
RENEWAL = DEADLINE / 8


class NoAnswer(Exception):
    """Nobody answered in time: what was asked may have happened or not."""


def ask(verb: str, argument: str = "", timeout: float = DEADLINE / 2) -> Dict[str, Any]:
    request = {"node": SETTINGS["node"], "verb": verb, "argument": argument}
    try:
        with socket.create_connection((SETTINGS["address"], SETTINGS["port"]), timeout) as sock:
            sock.sendall(json.dumps(request).encode() + b"\n")
            with sock.makefile("rb") as answers:
                answer = json.loads(answers.readline())
    except (OSError, ValueError) as error:
        raise NoAnswer(str(error)) from None
    return answer if isinstance(answer, dict) else {}


def now() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def replace(path: str, text: str) -> None:
    with open(f"{path}.new", "w", encoding="ascii") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(f"{path}.new", path)


class Order(socketserver.StreamRequestHandler):
    """One JSON line of hotpair-drbd, answered as the holder of the lease answers."""

    def handle(self) -> None:
        request = json.loads(self.rfile.readline())
        try:
            answer = ask(request["verb"], request.get("argument", ""), float(request.get("timeout", 2.0)))
        except NoAnswer as error:
            answer = {"error": str(error)}
        if request["verb"] == "status" and "error" not in answer:
            answer = {"status": answer}
        self.wfile.write(json.dumps(answer).encode() + b"\n")


class Orders(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True


def let_go(*_: object) -> None:
    """Its unit is stopped after all that writes."""
    try:
        ask("release", timeout=1.0)
    except NoAnswer:
        pass
    os._exit(0)


def hold() -> int:
    """hotpair-lease.service: ready once the lease is held, dead when it is lost."""
    signal.signal(signal.SIGTERM, let_go)
    os.makedirs(RUN, exist_ok=True)
    ready = False
    while True:
        sent = now()
        try:
            granted = ask("hold").get("granted") is True
        except NoAnswer:
            granted = False
        else:
            if ready and not granted:
                return 1
        if granted:
            replace(HOLDER, f"{sent + DEADLINE}")
            if not ready:
                ready = True
                replace(TAKEN, "")
                if os.path.exists(SOCKET):
                    os.unlink(SOCKET)
                threading.Thread(target=Orders(SOCKET, Order).serve_forever, daemon=True).start()
                with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
                    sock.sendto(b"READY=1", os.environ["NOTIFY_SOCKET"])
        elif ready:
            with open(HOLDER, encoding="ascii") as file:
                if now() > float(file.read()):
                    return 1
        time.sleep(RENEWAL)


def own() -> str:
    try:
        with open(INCARNATION, encoding="ascii") as file:
            return file.read().strip()
    except FileNotFoundError:
        return ""


def main(words: list[str]) -> int:
    verb = words[0]
    if verb == "hold":
        return hold()
    if verb == "incarnation":
        os.makedirs(os.path.dirname(INCARNATION), exist_ok=True)
        replace(INCARNATION, words[1])
        return 0
    try:
        answer = ask(verb, own())
    except NoAnswer as error:
        print(json.dumps({"quorum": False}) if verb == "status" else error)
        return 0 if verb == "status" else 1
    if "error" in answer:
        print(answer["error"], file=sys.stderr)
        return 1
    print(json.dumps(answer) if verb == "status" else answer.get("said", ""))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
