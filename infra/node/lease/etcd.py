"""One connection to one member of etcd, over TLS with a client certificate, through its JSON gateway.

A connection does one request at a time and keeps its deadline whatever the network does; after any failure it is
closed, since a late answer would be taken for the next one's. A slow member therefore delays nobody but its own thread.
Errors say what happened in a few words; what follows from them is decided elsewhere.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import queue
import socket
import ssl
import threading
import time
from typing import Any, Callable, Dict, List, Mapping, Optional, Tuple

from .record import Answer, Compare, Request, record_of
from .settings import Settings

_STACK = 256 * 1024


class EtcdError(Exception):
    """No usable answer, for a reason in a few words."""


def now() -> float:
    """Seconds since boot, suspension included: the clock of every deadline here."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Identity:
    """This node's certificate and the authority it trusts; read anew when the files change, as a rotation does."""

    def __init__(self, ca: str, certificate: str, key: str) -> None:
        self._paths = (ca, certificate, key)
        self._lock = threading.Lock()
        self._stamp: Optional[Tuple[Tuple[int, int], ...]] = None
        self._context: Optional[ssl.SSLContext] = None

    def context(self) -> ssl.SSLContext:
        with self._lock:
            try:
                stamp = tuple((found.st_mtime_ns, found.st_ino) for found in map(os.stat, self._paths))
                if self._context is None or stamp != self._stamp:
                    ca, certificate, key = self._paths
                    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
                    context.minimum_version = ssl.TLSVersion.TLSv1_2
                    context.load_verify_locations(ca)
                    context.load_cert_chain(certificate, key)
                    self._context, self._stamp = context, stamp
            except (OSError, ssl.SSLError) as error:
                # In the middle of a rotation certificate and key may not match for a moment.
                if self._context is None:
                    raise EtcdError(f"certificate: {error}") from None
            return self._context


class Member:
    """Not for several threads at once."""

    def __init__(self, endpoint: Tuple[str, int], identity: Identity, prefix: str) -> None:
        self._endpoint = endpoint
        self._identity = identity
        self._prefix = prefix
        self._connection: Optional[http.client.HTTPSConnection] = None

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                connection.close()
            except OSError:
                pass

    def ask(self, request: Request, timeout: float) -> Answer:
        """`timeout` in seconds, for everything together: connecting, TLS, the answer. Raises EtcdError."""
        whole = {"key": _text(self._prefix), "range_end": _text(_after(self._prefix))}
        if request.serializable:
            said = self.call("/v3/kv/range", {**whole, "serializable": True}, timeout)
            return Answer(True, record_of(self._keys(said)))
        if not request.puts:
            said = self.call("/v3/kv/range", whole, timeout)
            return Answer(True, record_of(self._keys(said)))
        everything = {"requestRange": whole}
        puts = [
            {"requestPut": {"key": _text(self._prefix + key), "value": _text(value)}} for key, value in request.puts
        ]
        said = self.call(
            "/v3/kv/txn",
            {
                "compare": [self._compare(compare) for compare in request.compares],
                "success": [*puts, everything],
                "failure": [everything],
            },
            timeout,
        )
        try:
            return Answer(bool(said.get("succeeded")), record_of(self._keys(said["responses"][-1]["response_range"])))
        except (KeyError, IndexError, TypeError, ValueError) as error:
            self.close()
            raise EtcdError(f"answer not understood: {error!r}") from None

    def call(self, path: str, body: Mapping[str, Any], timeout: float) -> Dict[str, Any]:
        """Any call of the gateway, e.g. `/v3/maintenance/status`."""
        until = now() + timeout
        try:
            if self._connection is None:
                self._connection = self._connect(timeout)
            connection = self._connection
            self._remaining(connection, until)
            connection.request(
                "POST",
                path,
                json.dumps(body).encode(),
                {"Content-Type": "application/json"},
            )
            self._remaining(connection, until)
            response = connection.getresponse()
            self._remaining(connection, until)
            content = response.read()
            if response.status != 200:
                raise EtcdError(_reason(response.status, content))
            said = json.loads(content)
            if not isinstance(said, dict):
                raise EtcdError("answer is no JSON object")
            return said
        except EtcdError:
            self.close()
            raise
        except (socket.timeout, TimeoutError):
            self.close()
            raise EtcdError(f"no answer within {timeout:g} s") from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            self.close()
            raise EtcdError(_short(error)) from None
        except BaseException:
            self.close()
            raise

    def _connect(self, timeout: float) -> http.client.HTTPSConnection:
        host, port = self._endpoint
        connection = http.client.HTTPSConnection(host, port, timeout=timeout, context=self._identity.context())
        connection.connect()
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    @staticmethod
    def _remaining(connection: http.client.HTTPSConnection, until: float) -> None:
        left = until - now()
        if left <= 0:
            raise socket.timeout()
        connection.sock.settimeout(left)

    def _keys(self, said: Mapping[str, Any]) -> Dict[str, Tuple[str, int]]:
        found: Dict[str, Tuple[str, int]] = {}
        for entry in said.get("kvs", []):
            key = base64.b64decode(entry["key"]).decode()[len(self._prefix) :]
            found[key] = (base64.b64decode(entry.get("value", "")).decode(), int(entry["mod_revision"]))
        return found

    def _compare(self, compare: Compare) -> Dict[str, Any]:
        key = _text(self._prefix + compare.key)
        if compare.target == "mod":
            return {"key": key, "target": "MOD", "result": "EQUAL", "mod_revision": str(compare.expected)}
        return {"key": key, "target": "VALUE", "result": "EQUAL", "value": _text(str(compare.expected))}


def member_of(settings: Settings, name: str, identity: Optional[Identity] = None) -> Member:
    identity = identity or Identity(settings.ca, settings.certificate, settings.key)
    return Member(settings.endpoints[name], identity, settings.prefix)


def ask_all(settings: Settings, request: Request, timeout: float) -> Dict[str, Any]:
    """Every member at once: an Answer or an EtcdError by member's name."""
    identity = Identity(settings.ca, settings.certificate, settings.key)
    found: Dict[str, Any] = {}

    def one(name: str) -> None:
        member = member_of(settings, name, identity)
        try:
            found[name] = member.ask(request, timeout)
        except EtcdError as error:
            found[name] = error
        finally:
            member.close()

    threads = [threading.Thread(target=one, args=(name,), daemon=True) for name in settings.endpoints]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout + 1.0)
    return {name: found.get(name, EtcdError("no answer")) for name in settings.endpoints}


class Worker:
    """A thread that asks one member, so that one that hangs delays nobody. Answers go to `done`, from its thread."""

    def __init__(
        self, member: Member, timeout: float, done: Callable[[int, Optional[Answer], str], None], name: str
    ) -> None:
        self._member = member
        self._timeout = timeout
        self._done = done
        self._requests: queue.SimpleQueue[Tuple[int, Request]] = queue.SimpleQueue()
        before = threading.stack_size(_STACK)
        try:
            threading.Thread(target=self._run, name=name, daemon=True).start()
        finally:
            threading.stack_size(before)

    def send(self, ticket: int, request: Request) -> None:
        self._requests.put((ticket, request))

    def _run(self) -> None:
        while True:
            ticket, request = self._requests.get()
            answer: Optional[Answer] = None
            error = ""
            try:
                answer = self._member.ask(request, self._timeout)
            except EtcdError as failed:
                error = str(failed)
            except Exception as failed:
                self._member.close()
                error = repr(failed)
            self._done(ticket, answer, error)


def _text(value: str) -> str:
    return base64.b64encode(value.encode()).decode()


def _after(prefix: str) -> str:
    """The end of the range of all keys with this prefix."""
    return prefix[:-1] + chr(ord(prefix[-1]) + 1)


def _reason(status: int, content: bytes) -> str:
    try:
        text = str(json.loads(content).get("message") or json.loads(content).get("error"))
    except (ValueError, AttributeError):
        text = content[:80].decode(errors="replace")
    return f"HTTP {status}: {text}"


def _short(error: BaseException) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"TLS: {error.verify_message}"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__


def describe(found: Mapping[str, Any]) -> List[str]:
    """One line per member that gave no answer."""
    return [f"{name}: {error}" for name, error in found.items() if isinstance(error, EtcdError)]
