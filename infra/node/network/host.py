"""The server as it is: links, addresses, files, who answers. The one place that runs commands; it decides nothing."""

import hashlib
import json
import os
import socket
import subprocess
import time
from dataclasses import dataclass
from typing import Dict, List, Optional, Sequence, Tuple


@dataclass(frozen=True)
class Link:
    name: str
    index: int
    mtu: int
    up: bool
    carrier: bool
    kind: str
    """`bond`, `vlan`, …; empty for a card."""
    master: Optional[str]
    mac: str
    """Permanent where the card says so: that of a bond's member is the bond's."""
    addresses: Tuple[str, ...]
    """IPv4 with prefix length, without those that the kernel or DHCP would take back by itself."""


class Host:
    """Each method asks anew."""

    def run(self, argv: Sequence[str], timeout: float = 30.0) -> Tuple[int, str]:
        """Exit code and both streams; 127 where there is no such program, 124 where it did not end."""
        try:
            done = subprocess.run(
                list(argv),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=timeout,
                check=False,
                text=True,
                errors="replace",
            )
        except FileNotFoundError:
            return 127, f"{argv[0]} is not installed"
        except subprocess.TimeoutExpired:
            return 124, f"{argv[0]} did not answer within {timeout:g} s"
        return done.returncode, done.stdout

    def read(self, path: str) -> Optional[str]:
        try:
            with open(path, encoding="utf-8", errors="replace") as file:
                return file.read()
        except OSError:
            return None

    def exists(self, path: str) -> bool:
        return os.path.lexists(path)

    def digest(self, path: str) -> Optional[str]:
        try:
            with open(path, "rb") as file:
                return hashlib.sha256(file.read()).hexdigest()
        except OSError:
            return None

    def listing(self, directory: str) -> List[str]:
        try:
            return sorted(os.listdir(directory))
        except OSError:
            return []

    def write(self, path: str, text: str) -> None:
        with open(path + ".new", "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(path + ".new", path)

    def set(self, path: str, value: str) -> None:
        """Of the kernel's own files; a value that it does not take stays what it was."""
        try:
            with open(path, "w", encoding="utf-8") as file:
                file.write(value + "\n")
        except OSError:
            pass

    def remove(self, path: str) -> None:
        try:
            os.remove(path)
        except FileNotFoundError:
            pass

    def relink(self, source: str, path: str) -> None:
        """Gives the file `source` a second name, in place of whatever has it."""
        self.remove(path + ".hotpair-again")
        os.link(source, path + ".hotpair-again")
        os.replace(path + ".hotpair-again", path)

    def stamp(self, path: str) -> Optional[str]:
        """Tells one file from another that has the same path later."""
        try:
            seen = os.stat(path)
        except OSError:
            return None
        return f"{seen.st_ino}-{seen.st_mtime_ns}"

    def alive(self, pid: int) -> bool:
        return os.path.exists(f"/proc/{pid}")

    def now(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    def links(self) -> Dict[str, Link]:
        code, text = self.run(["ip", "-j", "-d", "addr", "show"])
        if code != 0:
            raise OSError(f"ip addr show: {text.strip()}")
        found = {}
        for one in json.loads(text):
            if "ifname" not in one:
                continue
            info = one.get("linkinfo", {})
            slave = info.get("info_slave_data", {})
            found[one["ifname"]] = Link(
                one["ifname"],
                one["ifindex"],
                one["mtu"],
                "UP" in one.get("flags", []),
                "LOWER_UP" in one.get("flags", []),
                info.get("info_kind", ""),
                one.get("master"),
                str(slave.get("perm_hwaddr") or one.get("permaddr") or one.get("address", "")).lower(),
                tuple(
                    f"{address['local']}/{address['prefixlen']}"
                    for address in one.get("addr_info", [])
                    if address.get("family") == "inet"
                    and "valid_life_time" in address
                    and not address.get("dynamic", False)
                ),
            )
        return found

    def configured_by(self, link: Link) -> Optional[str]:
        """The file by which systemd-networkd has configured it: its own note, which needs no D-Bus (sd-network.h)."""
        for line in (self.read(f"/run/systemd/netif/links/{link.index}") or "").splitlines():
            name, _, value = line.partition("=")
            if name == "NETWORK_FILE" and value:
                return value
        return None

    def routes(self, link: str) -> Tuple[str, ...]:
        """IPv4 routes of the main table over a link that are not the kernel's own, as `ip route add` reads them."""
        code, text = self.run(["ip", "-4", "route", "show", "dev", link])
        if code != 0:
            return ()
        kept = [line.strip() for line in text.splitlines() if "proto kernel" not in line and "proto dhcp" not in line]
        return tuple(line.replace(" linkdown", "") for line in kept if line)

    def ssh_sessions(self) -> List[Tuple[str, str]]:
        """This server's address and the other end's, of every SSH session into it."""
        code, text = self.run(["ss", "-H", "-t", "-n", "-p", "state", "established"])
        sessions = []
        for line in text.splitlines() if code == 0 else []:
            words = line.split()
            if len(words) >= 5 and '"sshd' in words[4]:
                here, there = (word.rsplit(":", 1)[0].strip("[]").replace("::ffff:", "") for word in words[2:4])
                sessions.append((here, there))
        return sessions

    def answers(self, address: str, source: Optional[str] = None, size: Optional[int] = None, tries: int = 3) -> bool:
        """Whether a ping comes back within its second; `size`: of a packet that nobody may part, in bytes."""
        words = ["ping", "-n", "-q", "-c", "1", "-W", "1"]
        words += [] if source is None else ["-I", source]
        # IPv4 header and ICMP header (RFC 791, RFC 792).
        words += [] if size is None else ["-M", "do", "-s", str(size - 28)]
        return any(self.run([*words, address], timeout=5)[0] == 0 for _ in range(tries))

    def segment(self, address: str, port: int, source: str) -> Optional[int]:
        """
        What a TCP connection to there carries per segment: the smaller one of what both ends' interfaces do, whatever
        is between them (RFC 9293 §3.7.1). None where nobody answers.
        """
        try:
            with socket.create_connection((address, port), timeout=3, source_address=(source, 0)) as connection:
                return connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG)
        except OSError:
            return None
