"""One HTTP request with a deadline, by the standard library. What an answer means is others' business."""

from __future__ import annotations

import http.client
import ssl
import urllib.parse
from dataclasses import dataclass
from typing import Mapping

# More than any answer that is read here has.
MOST = 1024 * 1024


class Unreachable(Exception):
    """No whole answer within the time: refused, cut, slow, or not HTTP."""


@dataclass(frozen=True)
class Answer:
    status: int
    body: bytes


def request(method: str, url: str, headers: Mapping[str, str], body: bytes, timeout: float) -> Answer:
    parts = urllib.parse.urlsplit(url)
    host = parts.hostname or ""
    connection: http.client.HTTPConnection
    if parts.scheme == "https":
        connection = http.client.HTTPSConnection(
            host, parts.port, timeout=timeout, context=ssl.create_default_context()
        )
    else:
        connection = http.client.HTTPConnection(host, parts.port, timeout=timeout)
    try:
        target = parts.path or "/"
        connection.request(method, f"{target}?{parts.query}" if parts.query else target, body or None, dict(headers))
        answer = connection.getresponse()
        return Answer(answer.status, answer.read(MOST))
    except (OSError, http.client.HTTPException) as error:
        raise Unreachable(f"{parts.netloc}: {error or type(error).__name__}") from None
    finally:
        connection.close()
