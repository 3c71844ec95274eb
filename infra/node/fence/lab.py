"""A fence agent for machines of the lab: asks the lab's power switch, which cuts a machine's power from outside. It is
called as every other agent is, with `name=value` lines on standard input: ip, port, key, plug, action, login_timeout.
"""

from __future__ import annotations

import json
import socket
import sys
from typing import Dict

# As every agent's exit codes (ClusterLabs, FenceAgentAPI.md).
ON, FAILED, OFF = 0, 1, 2
_PATIENCE = 5.0
PORT = 7790


def main() -> int:
    options: Dict[str, str] = {}
    for line in sys.stdin:
        name, separator, value = line.rstrip("\n").partition("=")
        if separator:
            options[name] = value
    action = options.get("action", "")
    if action not in ("on", "off", "status", "monitor"):
        print(f'action "{action}": expected on, off, status or monitor')
        return FAILED
    try:
        power = ask(options, "status" if action == "monitor" else action)
    except (OSError, ValueError, KeyError) as error:
        print(f"the lab's power switch: {error}")
        return FAILED
    print(f"Status: {power.upper()}")
    return OFF if action == "status" and power == "off" else ON


def ask(options: Dict[str, str], action: str) -> str:
    """The machine's power after the action. Raises OSError, ValueError or KeyError."""
    address = (options["ip"], int(options.get("port", str(PORT))))
    request = {"key": options["key"], "host": options["plug"], "action": action}
    with socket.create_connection(address, timeout=float(options.get("login_timeout", _PATIENCE))) as sock:
        sock.sendall(json.dumps(request).encode() + b"\n")
        text = b""
        while not text.endswith(b"\n"):
            data = sock.recv(65536)
            if not data:
                raise ValueError("it ended without an answer")
            text += data
    answer = json.loads(text)
    if not isinstance(answer, dict) or answer.get("power") not in ("on", "off"):
        raise ValueError(str(answer.get("error", "no answer") if isinstance(answer, dict) else "no answer"))
    return str(answer["power"])
