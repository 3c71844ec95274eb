#!/usr/bin/python3
"""An NFSv4.1 client in user space: what a kernel's client does with one file, with every answer in the open.

usage: nfs-client.py ADDRESS DIRECTORY NAME

One order per line on standard input, one JSON object per answer on standard output:

    identity        what the server calls itself (server owner and scope, RFC 8881 2.10.4)
    open FILE       opens the file, makes it where it is not there; waits while the server is in its grace period
    lock            locks the open file as a whole; says the server's word for it and does not wait
    append WORD     writes a line after the last one and commits it (fsync): the answer means that it is kept
    read FILE       every line of a file

A connection that ends is made again, a session that the server does not know is made anew, and the open file and its
lock are then claimed as what this client had before (RFC 8881 8.4.2.1). Each answer carries what became of that:
`reclaimed` is a list of {open, lock, complete}, one per server that did not know this client any more. With its input
it ends and gives nothing back, as a client that loses power.
"""

from __future__ import annotations

import json
import os
import random
import socket
import struct
import sys
import time
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple

PORT = 2049
# Without an answer for so long the connection counts as dead; an emulated server that fsyncs is slow.
ANSWER_WITHIN = 4.0
AGAIN = 0.1
# Whoever asks would rather have an error than wait for longer.
PATIENCE = 280.0

OK, EXPIRED, DENIED, GRACE, NO_GRACE = 0, 10011, 10010, 10013, 10033
STALE_CLIENT, STALE_STATE, DELAY = 10022, 10023, 10008
NAMES = {
    OK: "ok",
    1: "not permitted",
    2: "no such file",
    5: "input/output error",
    13: "access denied",
    70: "stale file handle",
    DELAY: "try again",
    DENIED: "denied",
    EXPIRED: "expired",
    GRACE: "grace",
    STALE_CLIENT: "stale client",
    STALE_STATE: "stale state",
    10025: "bad state",
    NO_GRACE: "no grace",
    10034: "bad reclaim",
    10052: "bad session",
    10054: "already complete",
    10078: "dead session",
}
# The server does not know this client any more.
FORGOTTEN = (STALE_CLIENT, 10052, 10078)

OP_COMMIT, OP_GETATTR, OP_GETFH, OP_LOCK, OP_LOOKUP, OP_OPEN = 5, 9, 10, 12, 15, 18
OP_PUTFH, OP_PUTROOTFH, OP_READ, OP_WRITE = 22, 24, 25, 38
OP_EXCHANGE_ID, OP_CREATE_SESSION, OP_SEQUENCE, OP_RECLAIM_COMPLETE = 42, 43, 53, 58

WRITE_LOCK = 2
WHOLE_FILE = (1 << 64) - 1
BOTH_WITHOUT_DELEGATION = 0x403


def u32(*values: int) -> bytes:
    return struct.pack(f">{len(values)}I", *values)


def u64(*values: int) -> bytes:
    return struct.pack(f">{len(values)}Q", *values)


def opaque(data: bytes) -> bytes:
    return u32(len(data)) + data + b"\0" * (-len(data) % 4)


class Reader:
    """What a server sent, in the order of RFC 4506."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def fixed(self, size: int) -> bytes:
        if self.at + size > len(self.data):
            raise Broken("a reply that ends too soon")
        piece = self.data[self.at : self.at + size]
        self.at += size + (-size % 4)
        return piece

    def u32(self) -> int:
        return int(struct.unpack(">I", self.fixed(4))[0])

    def u64(self) -> int:
        return int(struct.unpack(">Q", self.fixed(8))[0])

    def opaque(self) -> bytes:
        return self.fixed(self.u32())

    def skip_words(self) -> None:
        self.fixed(4 * self.u32())


class Broken(Exception):
    """The connection is of no use any more."""


class Status(Exception):
    """What the server answered in place of what was asked for."""

    def __init__(self, code: int) -> None:
        super().__init__(NAMES.get(code, f"error {code}"))
        self.code = code


class Operation(NamedTuple):
    code: int
    arguments: bytes
    read: Callable[[Reader], Any]


def nothing(_reply: Reader) -> None:
    return None


def stateid(reply: Reader) -> bytes:
    return reply.fixed(16)


def opened(reply: Reader) -> bytes:
    state = stateid(reply)
    reply.fixed(20)  # change of the directory
    reply.u32()
    reply.skip_words()
    delegation = reply.u32()
    if delegation == 3 and reply.u32() in (1, 2):
        reply.u32()
    elif delegation in (1, 2):
        raise Broken("a delegation that was not wanted")
    return state


def identified(reply: Reader) -> Dict[str, Any]:
    found: Dict[str, Any] = {"client": reply.u64(), "sequence": reply.u32()}
    reply.u32()
    if reply.u32() != 0:
        raise Broken("a protection that was not wanted")
    found["minor"] = reply.u64()
    found["owner"] = reply.opaque().decode("latin1")
    found["scope"] = reply.opaque().decode("latin1")
    for _ in range(reply.u32()):
        reply.opaque(), reply.opaque(), reply.fixed(12)
    return found


def session_made(reply: Reader) -> bytes:
    session = reply.fixed(16)
    reply.fixed(8)
    for _ in range(2):
        reply.fixed(24)
        reply.skip_words()
    return session


def sequenced(reply: Reader) -> int:
    reply.fixed(32)
    return reply.u32()


def attributes(reply: Reader) -> bytes:
    reply.skip_words()
    return reply.opaque()


class Connection:
    """TCP from a reserved port, as a kernel's client has it (exports(5), secure), with RFC 5531's records."""

    def __init__(self, address: str) -> None:
        self.xid = random.getrandbits(31)
        for port in random.sample(range(700, 1024), 50):
            self.socket = socket.socket()
            self.socket.settimeout(ANSWER_WITHIN)
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                self.socket.bind(("", port))
                self.socket.connect((address, PORT))
                self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                return
            except OSError as error:
                self.socket.close()
                if "in use" not in str(error):
                    raise Broken(str(error)) from error
        raise Broken("no reserved port is free")

    def compound(self, operations: Sequence[Operation]) -> List[Any]:
        """The results of all; raises Status with the first that failed, Broken when there is no answer."""
        self.xid += 1
        credential = u32(0) + opaque(b"test") + u32(1000, 1000, 0)
        call = u32(self.xid, 0, 2, 100003, 4, 1, 1) + opaque(credential) + u32(0, 0)
        call += opaque(b"") + u32(1, len(operations))
        call += b"".join(u32(each.code) + each.arguments for each in operations)
        try:
            self.socket.sendall(u32(0x80000000 | len(call)) + call)
            reply = Reader(self._record())
        except OSError as error:
            raise Broken(str(error) or type(error).__name__) from error
        if reply.u32() != self.xid or reply.u32() != 1 or reply.u32() != 0:
            raise Broken("the call was refused")
        reply.u32(), reply.opaque()
        if reply.u32() != 0:
            raise Broken("the call was not understood")
        status = reply.u32()
        reply.opaque()
        results: List[Any] = []
        for index in range(reply.u32()):
            code, status = reply.u32(), reply.u32()
            if code != operations[index].code:
                raise Broken("an answer to another question")
            if status != OK:
                raise Status(status)
            results.append(operations[index].read(reply))
        if len(results) != len(operations):
            raise Status(status)
        return results

    def _record(self) -> bytes:
        record, last = b"", False
        while not last:
            head = int(struct.unpack(">I", self._exactly(4))[0])
            last = bool(head & 0x80000000)
            record += self._exactly(head & 0x7FFFFFFF)
        return record

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            piece = self.socket.recv(size - len(data))
            if not piece:
                raise OSError("closed")
            data += piece
        return data


class Client:
    def __init__(self, address: str, directory: str, name: str) -> None:
        self.address, self.directory = address, directory
        self.name = name.encode()
        # What tells a client that went on from one that began anew.
        self.verifier = os.urandom(8)
        self.connection: Optional[Connection] = None
        self.session: Optional[bytes] = None
        self.client = 0
        self.sequence = 0
        self.server: Dict[str, Any] = {}
        self.file: Optional[Tuple[bytes, bytes]] = None  # handle, open state
        self.locked: Optional[bytes] = None
        self.end_of_file = 0
        self.reclaimed: List[Dict[str, str]] = []

    # ---- one request

    def ask(self, ask_for: Callable[[], Sequence[Operation]]) -> List[Any]:
        """With a session, until there is an answer; recovers what can be recovered on the way. What is asked for may
        name what was recovered, so it is said anew each time."""
        until = time.monotonic() + PATIENCE
        why = ""
        while time.monotonic() < until:
            try:
                if self.connection is None:
                    self.connection = Connection(self.address)
                if self.session is None:
                    self._known(self.connection)
                return self._in_session(self.connection, ask_for())
            except Broken as error:
                # The same request is sent again on another connection: the server knows by its number what it did.
                why, self.connection = str(error), None
            except Status as error:
                if error.code in FORGOTTEN:
                    why, self.session = str(error), None
                elif error.code == DELAY:
                    self.sequence += 1
                else:
                    self.sequence += 1
                    raise
            time.sleep(AGAIN)
        raise Broken(f"no answer for {PATIENCE:g} s: {why}")

    def _in_session(self, connection: Connection, operations: Sequence[Operation]) -> List[Any]:
        assert self.session is not None
        # The server keeps its answer, for whoever has to ask again; what was read is too long for that.
        kept = all(each.code != OP_READ for each in operations)
        first = Operation(OP_SEQUENCE, self.session + u32(self.sequence, 0, 0, kept), sequenced)
        results = connection.compound([first, *operations])
        self.sequence += 1
        return results[1:]

    def _known(self, connection: Connection) -> None:
        try:
            self._begin(connection)
        except (Broken, Status):
            # Half of it is none.
            self.session = None
            raise

    def _begin(self, connection: Connection) -> None:
        """A client that the server may know or not; what it had is claimed before anything else is asked for."""
        owner = self.verifier + opaque(self.name)
        asked = Operation(OP_EXCHANGE_ID, owner + u32(0, 0, 0), identified)
        (self.server,) = connection.compound([asked])
        still_known = self.client == self.server["client"]
        self.client = self.server["client"]
        channel = u32(0, 65536, 65536, 4096, 16, 8, 0)
        wanted = u64(self.client) + u32(self.server["sequence"], 0) + channel + channel + u32(0x40000000, 1, 0)
        (self.session,) = connection.compound([Operation(OP_CREATE_SESSION, wanted, session_made)])
        self.sequence = 1
        if still_known:
            return
        said: Dict[str, str] = {}
        if self.file is not None:
            handle, _ = self.file
            claim = u32(0, BOTH_WITHOUT_DELEGATION, 0) + self._owner(b"open") + u32(0, 1, 0)
            said["open"], results = self._tried(
                connection, Operation(OP_PUTFH, opaque(handle), nothing), Operation(OP_OPEN, claim, opened)
            )
            if results:
                self.file = handle, results[-1]
                if self.locked is not None:
                    said["lock"], results = self._tried(
                        connection, Operation(OP_PUTFH, opaque(handle), nothing), self._lock(self.file[1], reclaim=1)
                    )
                    self.locked = results[-1] if results else None
        said["complete"], _ = self._tried(connection, Operation(OP_RECLAIM_COMPLETE, u32(0), nothing))
        if self.file is not None:
            self.reclaimed.append(said)

    def _tried(self, connection: Connection, *operations: Operation) -> Tuple[str, List[Any]]:
        while True:
            try:
                return "ok", self._in_session(connection, operations)
            except Status as error:
                if error.code in FORGOTTEN:
                    raise
                self.sequence += 1
                if error.code != DELAY:
                    return str(error), []
            time.sleep(AGAIN)

    def _owner(self, what: bytes) -> bytes:
        return u64(self.client) + opaque(self.name + b" " + what)

    def _lock(self, state: bytes, reclaim: int) -> Operation:
        wanted = u32(WRITE_LOCK, reclaim) + u64(0, WHOLE_FILE) + u32(1, 0) + state + u32(0) + self._owner(b"lock")
        return Operation(OP_LOCK, wanted, stateid)

    # ---- orders

    def identity(self, _word: str) -> Dict[str, Any]:
        self.ask(lambda: [Operation(OP_PUTROOTFH, b"", nothing)])
        return {"owner": self.server["owner"], "scope": self.server["scope"]}

    def open(self, name: str) -> Dict[str, Any]:
        def asked() -> List[Operation]:
            # Made where it is not there, with a mode (attribute 33) that lets every client write.
            wanted = u32(0, BOTH_WITHOUT_DELEGATION, 0) + self._owner(b"open") + u32(1, 0, 2, 0, 2)
            wanted += opaque(u32(0o666)) + u32(0) + opaque(name.encode())
            size = Operation(OP_GETATTR, u32(1, 1 << 4), attributes)
            return [*self._way(), Operation(OP_OPEN, wanted, opened), Operation(OP_GETFH, b"", Reader.opaque), size]

        refused = 0
        began = time.monotonic()
        while True:
            try:
                state, handle, size = self.ask(asked)[-3:]
                break
            except Status as error:
                if error.code != GRACE or time.monotonic() - began > PATIENCE:
                    raise
                refused += 1
                time.sleep(AGAIN)
        self.file, self.locked = (handle, state), None
        self.end_of_file = int(struct.unpack(">Q", size)[0])
        return {"size": self.end_of_file, "refused": refused}

    def lock(self, _word: str) -> Dict[str, Any]:
        def asked() -> List[Operation]:
            handle, state = self._opened()
            return [Operation(OP_PUTFH, opaque(handle), nothing), self._lock(state, reclaim=0)]

        try:
            self.locked = self.ask(asked)[-1]
        except Status as error:
            return {"lock": str(error)}
        return {"lock": "ok"}

    def append(self, word: str) -> Dict[str, Any]:
        line = f"{word}\n".encode()

        def asked() -> List[Operation]:
            handle, state = self._opened()
            wanted = (self.locked or state) + u64(self.end_of_file) + u32(0) + opaque(line)
            return [
                Operation(OP_PUTFH, opaque(handle), nothing),
                Operation(OP_WRITE, wanted, lambda reply: (reply.u32(), reply.u32(), reply.fixed(8))),
                Operation(OP_COMMIT, u64(0) + u32(0), lambda reply: reply.fixed(8)),
            ]

        while True:
            (count, _, verifier), committed = self.ask(asked)[-2:]
            # Another verifier: the server lost its memory between the two, and what it held there.
            if count == len(line) and verifier == committed:
                self.end_of_file += count
                return {"kept": word}

    def read(self, name: str) -> Dict[str, Any]:
        found = Operation(OP_LOOKUP, opaque(name.encode()), nothing)
        handle = self.ask(lambda: [*self._way(), found, Operation(OP_GETFH, b"", Reader.opaque)])[-1]
        text, eof = b"", 0
        while not eof:
            # The anonymous state, for whoever has not opened the file (RFC 8881 8.2.3).
            wanted = b"\0" * 16 + u64(len(text)) + u32(32768)
            part = [
                Operation(OP_PUTFH, opaque(handle), nothing),
                Operation(OP_READ, wanted, lambda reply: (reply.u32(), reply.opaque())),
            ]
            eof, piece = self.ask(part.copy)[-1]
            text += piece
        return {"lines": text.decode().split("\n")[:-1]}

    def _opened(self) -> Tuple[bytes, bytes]:
        if self.file is None:
            raise Broken("no file is open")
        return self.file

    def _way(self) -> List[Operation]:
        steps = [Operation(OP_LOOKUP, opaque(part.encode()), nothing) for part in self.directory.split("/") if part]
        return [Operation(OP_PUTROOTFH, b"", nothing), *steps]


def main() -> None:
    address, directory, name = sys.argv[1:]
    client = Client(address, directory, name)
    orders = {
        "identity": client.identity,
        "open": client.open,
        "lock": client.lock,
        "append": client.append,
        "read": client.read,
    }
    for line in sys.stdin:
        verb, _, word = line.strip().partition(" ")
        began = time.monotonic()
        client.reclaimed = []
        try:
            answer = orders[verb](word)
        except (Broken, Status) as error:
            answer = {"error": str(error)}
        answer["seconds"] = round(time.monotonic() - began, 3)
        answer["reclaimed"] = client.reclaimed
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
