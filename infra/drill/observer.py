"""Watches which addresses stand on this server, for a drill; knows nothing of hotpair's daemons and asks none of them.

Sent over SSH, run as `python3 -u -c 'exec(...)' SECONDS LOOK_MS ADDRESS...`. Netlink tells of an address at once, and a full look
every LOOK_MS finds what an event could not tell (or was told late). Writes one JSON object per line on standard output,
times in nanoseconds of CLOCK_REALTIME:
  {"hello": at, "boot": id}      once
  {"has": address, "at": at}     the address is there since `at` (the kernel's own creation time where it was there before)
  {"gone": address, "at": at}
  {"alive": at, "late": ns}      every 200 ms, with the longest delay of a look since the last one
  {"pong": n, "at": at}          for a line `ping n` on standard input
Ends when standard input closes, when nobody reads, or after SECONDS.
"""

import json
import os
import select
import socket
import struct
import sys
import time

RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR = 20, 21, 22
NLMSG_ERROR, NLMSG_DONE = 2, 3
NLM_F_REQUEST, NLM_F_DUMP = 1, 0x300
RTMGRP_IPV4_IFADDR = 0x10
IFA_ADDRESS, IFA_LOCAL, IFA_CACHEINFO = 1, 2, 6


def say(record):
    # Whole lines, unbuffered: a reader that is gone ends us here (BrokenPipeError).
    os.write(1, (json.dumps(record, separators=(",", ":")) + "\n").encode())


def messages(data):
    while len(data) >= 16:
        length, kind = struct.unpack_from("=IH", data)
        if length < 16:
            return
        yield kind, data[16:length]
        data = data[(length + 3) & ~3 :]


def address_of(body):
    """(address, creation in hundredths of a second since boot or None) of an ifaddrmsg, see rtnetlink(7)."""
    found, created, rest = None, None, body[8:]
    while len(rest) >= 4:
        length, kind = struct.unpack_from("=HH", rest)
        if length < 4:
            break
        value = rest[4:length]
        if kind == IFA_LOCAL or (kind == IFA_ADDRESS and found is None):
            found = socket.inet_ntoa(value)
        elif kind == IFA_CACHEINFO:
            created = struct.unpack_from("=IIII", value)[2]
        rest = rest[(length + 3) & ~3 :]
    return found, created


def look(dump):
    """Every IPv4 address now, with its creation time."""
    dump.send(struct.pack("=IHHIIB3xI", 24, RTM_GETADDR, NLM_F_REQUEST | NLM_F_DUMP, 1, 0, socket.AF_INET, 0))
    there = {}
    while True:
        for kind, body in messages(dump.recv(65536)):
            if kind in (NLMSG_DONE, NLMSG_ERROR):
                return there
            if kind == RTM_NEWADDR:
                address, created = address_of(body)
                there[address] = created


def since(created):
    """Hundredths since boot as the kernel counts them (jiffies, which stop in suspend) to CLOCK_REALTIME."""
    now = time.time_ns()
    age = time.clock_gettime_ns(time.CLOCK_MONOTONIC) - created * 10_000_000
    return now - max(0, age)


def main():
    lifetime, look_ns, wanted = float(sys.argv[1]), int(sys.argv[2]) * 1_000_000, sys.argv[3:]
    try:
        # A busy server must not look like a server that holds two addresses: before the arbiter (10) and keepalived (20), or
        # the peer would be seen to take an address before this node is seen to have given it up.
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(30))
    except OSError:
        try:
            os.nice(-19)
        except OSError:
            pass
    events = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
    events.bind((0, RTMGRP_IPV4_IFADDR))
    events.setblocking(False)
    dump = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
    dump.bind((0, 0))
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        say({"hello": time.time_ns(), "boot": file.read().strip()})
    held = {}
    for address, created in look(dump).items():
        if address in wanted:
            held[address] = True
            say({"has": address, "at": since(created) if created is not None else time.time_ns()})
    for address in wanted:
        if address not in held:
            say({"gone": address, "at": time.time_ns()})
    poll = select.poll()
    poll.register(events, select.POLLIN)
    poll.register(0, select.POLLIN | select.POLLHUP)
    end = time.monotonic() + lifetime
    pending = b""
    next_look = time.monotonic_ns() + look_ns
    next_alive, worst = time.monotonic_ns(), 0
    while time.monotonic() < end:
        wait = max(0, next_look - time.monotonic_ns())
        ready = dict(poll.poll((wait + 999_999) // 1_000_000))
        if events.fileno() in ready:
            at = time.time_ns()
            try:
                data = events.recv(65536)
            except OSError:
                # Overrun (ENOBUFS): the look that follows finds what was lost.
                data = b""
            for kind, body in messages(data):
                address, _ = address_of(body)
                if address not in wanted or kind not in (RTM_NEWADDR, RTM_DELADDR):
                    continue
                if (kind == RTM_NEWADDR) != (address in held):
                    change(held, address, kind == RTM_NEWADDR, at)
        if 0 in ready:
            data = os.read(0, 4096)
            at = time.time_ns()
            if not data:
                return
            pending += data
            while b"\n" in pending:
                line, pending = pending.split(b"\n", 1)
                if line.startswith(b"ping "):
                    say({"pong": int(line[5:]), "at": at})
        now = time.monotonic_ns()
        if now >= next_look:
            worst = max(worst, now - next_look)
            next_look = now + look_ns
            at = time.time_ns()
            there = look(dump)
            for address in wanted:
                if (address in there) != (address in held):
                    change(held, address, address in there, at)
            if now >= next_alive:
                say({"alive": time.time_ns(), "late": worst})
                next_alive, worst = now + 200_000_000, 0


def change(held, address, there, at):
    if there:
        held[address] = True
        say({"has": address, "at": at})
    else:
        del held[address]
        say({"gone": address, "at": at})


try:
    main()
except (BrokenPipeError, KeyboardInterrupt):
    pass
