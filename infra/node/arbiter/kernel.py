"""What this node's kernel knows: addresses, links, clocks, sockets that see VRRP and ARP, processes.

Direct system calls (netlink, packet sockets, /proc) instead of programs: an answer takes microseconds and needs no fork
on a machine that may be out of everything. Nothing here decides.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import struct
import time
from dataclasses import dataclass
from typing import Dict, Iterator, List, Optional, Tuple

IPPROTO_VRRP = 112
SO_TIMESTAMPNS = 35
SO_ATTACH_FILTER = 26
IP_FREEBIND = 15
SO_BINDTODEVICE = 25
ETH_P_ARP = 0x0806

NLMSG_ERROR, NLMSG_DONE = 2, 3
RTM_NEWLINK, RTM_DELLINK, RTM_NEWADDR, RTM_DELADDR = 16, 17, 20, 21
RTM_GETLINK, RTM_GETADDR = 18, 22
NLM_F_REQUEST, NLM_F_ACK, NLM_F_DUMP = 1, 4, 0x300
RTMGRP_LINK, RTMGRP_IPV4_IFADDR = 1, 0x10
IFA_ADDRESS, IFA_LOCAL = 1, 2
IFLA_IFNAME, IFLA_ADDRESS, IFLA_CARRIER = 3, 1, 33
IFF_UP, IFF_LOWER_UP = 0x1, 0x10000

_HEADER = struct.Struct("=IHHII")
_IFADDR = struct.Struct("=BBBBi")
_IFINFO = struct.Struct("=BxHiII")
_ATTRIBUTE = struct.Struct("=HH")


def boottime() -> float:
    """Seconds since boot, suspension included: the clock of every deadline here."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@dataclass(frozen=True)
class Address:
    index: int
    address: str
    prefix: int


@dataclass(frozen=True)
class Link:
    index: int
    name: str
    up: bool
    mac: bytes


@dataclass(frozen=True)
class Change:
    """A netlink event: exactly one of the two is set, with `gone` for a removal."""

    address: Optional[Address]
    link: Optional[Link]
    gone: bool


class Netlink:
    """A route socket that also hears of changes to links and IPv4 addresses."""

    def __init__(self, groups: int = RTMGRP_LINK | RTMGRP_IPV4_IFADDR) -> None:
        self.socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
        self.socket.bind((0, groups))
        self.socket.setblocking(False)

    def fileno(self) -> int:
        return self.socket.fileno()

    def changes(self) -> Optional[List[Change]]:
        """What happened since the last call; None when the kernel dropped some of it: read everything anew."""
        found: List[Change] = []
        while True:
            try:
                data = self.socket.recv(65536)
            except BlockingIOError:
                return found
            except OSError as error:
                if error.errno == errno.ENOBUFS:
                    return None
                raise
            for kind, body in _messages(data):
                if kind in (RTM_NEWADDR, RTM_DELADDR):
                    address = _parse_address(body)
                    if address is not None:
                        found.append(Change(address, None, kind == RTM_DELADDR))
                elif kind in (RTM_NEWLINK, RTM_DELLINK):
                    found.append(Change(None, _parse_link(body), kind == RTM_DELLINK))


def _messages(data: bytes) -> Iterator[Tuple[int, bytes]]:
    offset = 0
    while offset + _HEADER.size <= len(data):
        length, kind, _flags, _sequence, _pid = _HEADER.unpack_from(data, offset)
        if length < _HEADER.size:
            return
        yield kind, data[offset + _HEADER.size : offset + length]
        offset += (length + 3) & ~3


def _attributes(data: bytes) -> Dict[int, bytes]:
    found: Dict[int, bytes] = {}
    offset = 0
    while offset + _ATTRIBUTE.size <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, offset)
        if length < _ATTRIBUTE.size:
            break
        found[kind & 0x3FFF] = data[offset + _ATTRIBUTE.size : offset + length]
        offset += (length + 3) & ~3
    return found


def _parse_address(body: bytes) -> Optional[Address]:
    family, prefix, _flags, _scope, index = _IFADDR.unpack_from(body)
    attributes = _attributes(body[_IFADDR.size :])
    raw = attributes.get(IFA_LOCAL) or attributes.get(IFA_ADDRESS)
    if family != socket.AF_INET or raw is None or len(raw) != 4:
        return None
    return Address(index, socket.inet_ntoa(raw), prefix)


def _parse_link(body: bytes) -> Link:
    _family, _kind, index, flags, _change = _IFINFO.unpack_from(body)
    attributes = _attributes(body[_IFINFO.size :])
    name = attributes.get(IFLA_IFNAME, b"\0").rstrip(b"\0").decode(errors="replace")
    return Link(index, name, bool(flags & IFF_UP and flags & IFF_LOWER_UP), attributes.get(IFLA_ADDRESS, b""))


def _dump(kind: int, body: bytes) -> Iterator[Tuple[int, bytes]]:
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE) as route:
        route.settimeout(1.0)
        route.bind((0, 0))
        route.send(_HEADER.pack(_HEADER.size + len(body), kind, NLM_F_REQUEST | NLM_F_DUMP, 1, 0) + body)
        while True:
            for received, content in _messages(route.recv(65536)):
                if received in (NLMSG_DONE, NLMSG_ERROR):
                    return
                yield received, content


def addresses() -> List[Address]:
    """All IPv4 addresses of this network namespace."""
    found = (_parse_address(body) for _, body in _dump(RTM_GETADDR, _IFADDR.pack(socket.AF_INET, 0, 0, 0, 0)))
    return [address for address in found if address is not None]


def links() -> List[Link]:
    return [_parse_link(body) for _, body in _dump(RTM_GETLINK, _IFINFO.pack(0, 0, 0, 0, 0))]


def remove_address(address: str) -> bool:
    """Takes an IPv4 address off every interface that has it; False when none had."""
    present = [found for found in addresses() if found.address == address]
    raw = socket.inet_aton(address)
    attribute = _ATTRIBUTE.pack(8, IFA_LOCAL) + raw
    for found in present:
        body = _IFADDR.pack(socket.AF_INET, found.prefix, 0, 0, found.index) + attribute
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE) as route:
            route.settimeout(1.0)
            route.send(_HEADER.pack(_HEADER.size + len(body), RTM_DELADDR, NLM_F_REQUEST | NLM_F_ACK, 1, 0) + body)
            route.recv(65536)
    return bool(present)


# ---- sockets


def _bind_to(sock: socket.socket, interface: str) -> None:
    sock.setsockopt(socket.SOL_SOCKET, SO_BINDTODEVICE, interface.encode() + b"\0")


def beacon_socket(interface: str, address: str, port: int) -> socket.socket:
    """May be opened before the address is there (boot, DHCP): IP_FREEBIND."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    try:
        _bind_to(sock, interface)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.IPPROTO_IP, IP_FREEBIND, 1)
        sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        # Expedited Forwarding: beacons go before bulk traffic where anybody looks (RFC 3246)
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, 0xB8)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_PRIORITY, 6)
        sock.bind((address, port))
        sock.setblocking(False)
    except OSError:
        sock.close()
        raise
    return sock


def vrrp_socket(interface: str) -> socket.socket:
    """Sees the peer's adverts exactly as keepalived does: behind the node's own firewall, on this interface."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, IPPROTO_VRRP)
    try:
        _bind_to(sock, interface)
        sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        sock.setblocking(False)
    except OSError:
        sock.close()
        raise
    return sock


def receive(sock: socket.socket) -> Optional[Tuple[bytes, str, float]]:
    """One datagram, its sender and when the kernel received it (boot time); None when there is none."""
    try:
        data, ancillary, _flags, source = sock.recvmsg(2048, 64)
    except (BlockingIOError, InterruptedError):
        return None
    now, wall = boottime(), time.time()
    received = now
    for level, kind, content in ancillary:
        if level == socket.SOL_SOCKET and kind == SO_TIMESTAMPNS and len(content) >= 16:
            seconds, nanoseconds = struct.unpack("=qq", content[:16])
            # A wall clock that was set in between must not make evidence older than a second or newer than now.
            received = now - min(1.0, max(0.0, wall - (seconds + nanoseconds / 1e9)))
    return data, source[0], received


def drain(sock: socket.socket) -> Iterator[Tuple[bytes, str, float]]:
    """All datagrams that wait, as `receive` gives them; at most 64, so that a flood does not keep the loop."""
    for _ in range(64):
        try:
            got = receive(sock)
        except OSError:
            return
        if got is None:
            return
        yield got


@dataclass(frozen=True)
class Advert:
    source: str
    router_id: int
    priority: int


def parse_advert(packet: bytes) -> Optional[Advert]:
    """A VRRP version 3 advertisement as a raw socket delivers it, IP header included (RFC 9568 §5.2)."""
    if len(packet) < 20:
        return None
    header = (packet[0] & 0x0F) * 4
    body = packet[header:]
    # TTL 255: sent on this very link (RFC 9568 §5.1.1.3)
    if len(body) < 8 or body[0] != 0x31 or packet[8] != 255:
        return None
    return Advert(socket.inet_ntoa(packet[12:16]), body[1], body[2])


def arp_socket(interface: str, address: str) -> socket.socket:
    """Sees ARP packets whose sender claims `address`; the kernel drops all others (classic BPF)."""
    claimed = struct.unpack("!I", socket.inet_aton(address))[0]
    # Ethernet header 14 bytes, sender protocol address at 14 (RFC 826): load word at 28, equal: accept, else drop
    program = b"".join(
        struct.pack("=HBBI", *instruction)
        for instruction in ((0x20, 0, 0, 28), (0x15, 0, 1, claimed), (0x06, 0, 0, 64), (0x06, 0, 0, 0))
    )
    buffer = ctypes.create_string_buffer(program, len(program))
    filter_program = struct.pack("HL", len(program) // 8, ctypes.addressof(buffer))
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.htons(ETH_P_ARP))
    try:
        sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, filter_program)
        sock.bind((interface, ETH_P_ARP))
        sock.setblocking(False)
    except OSError:
        sock.close()
        raise
    return sock


def announce(sock: socket.socket, mac: bytes, address: str) -> None:
    """A gratuitous ARP request and reply: neighbours and switches learn where the address is (RFC 5227 §3)."""
    raw = socket.inet_aton(address)
    ethernet = b"\xff" * 6 + mac + struct.pack("!H", ETH_P_ARP)
    for operation, target in ((1, b"\0" * 6), (2, b"\xff" * 6)):
        arp = struct.pack("!HHBBH", 1, 0x0800, 6, 4, operation) + mac + raw + target + raw
        sock.send(ethernet + arp)


def ask(sock: socket.socket, mac: bytes, own: str, address: str) -> None:
    """An ARP request: who has `address`? Every host on the link answers it, whatever its firewall says."""
    ethernet = b"\xff" * 6 + mac + struct.pack("!H", ETH_P_ARP)
    arp = (
        struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1) + mac + socket.inet_aton(own) + b"\0" * 6 + socket.inet_aton(address)
    )
    sock.send(ethernet + arp)


# ---- processes


@dataclass(frozen=True)
class Process:
    pid: int
    # a process whose parent ends gets another one
    parent: int
    state: str
    # voluntary context switches so far
    switches: int
    # processor seconds so far
    cpu: float


_TICKS = os.sysconf("SC_CLK_TCK")


def process(pid: int, name: str) -> Optional[Process]:
    """None when there is no such process, or its number belongs to another program by now."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            stat = file.read()
        with open(f"/proc/{pid}/status", "rb") as file:
            status = file.read()
    except OSError:
        return None
    command = stat[stat.index(b"(") + 1 : stat.rindex(b")")].decode(errors="replace")
    if not command.startswith(name):
        return None
    fields = stat[stat.rindex(b")") + 2 :].split()
    switches = 0
    for line in status.splitlines():
        if line.startswith(b"voluntary_ctxt_switches:"):
            switches = int(line.split()[1])
    return Process(pid, int(fields[1]), fields[0].decode(), switches, (int(fields[11]) + int(fields[12])) / _TICKS)


def child_process(name: str) -> int:
    """Number of a process of this name, of the child if one is another's parent; 0 when there is none."""
    parents: Dict[int, int] = {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            with open(f"/proc/{entry}/stat", "rb") as file:
                stat = file.read()
        except OSError:
            continue
        fields = stat[stat.rindex(b")") + 2 :].split()
        if stat[stat.index(b"(") + 1 : stat.rindex(b")")].startswith(name.encode()) and fields[0] != b"Z":
            parents[int(entry)] = int(fields[1])
    return next((pid for pid, parent in parents.items() if parent in parents), next(iter(parents), 0))


def pid_from(*paths: str) -> int:
    """The number in the first of these files that has one; 0 when none has."""
    for path in paths:
        try:
            with open(path, encoding="ascii") as file:
                return int(file.read().strip())
        except (OSError, ValueError):
            continue
    return 0


def prioritise(pid: int, priority: int) -> None:
    """Lets a process run before ordinary load, where the machine allows it; containers often do not."""
    try:
        os.sched_setscheduler(pid, os.SCHED_RR | os.SCHED_RESET_ON_FORK, os.sched_param(priority))
    except OSError:
        try:
            os.setpriority(os.PRIO_PROCESS, pid, -20)
        except OSError:
            pass


def stay_in_memory() -> None:
    """Keeps this process from being swapped out, where the machine allows it."""
    try:
        # MCL_CURRENT | MCL_FUTURE (sys/mman.h)
        ctypes.CDLL(None, use_errno=True).mlockall(3)
    except (OSError, AttributeError):
        pass
