"""What this instance knows of itself, by IMDSv2: a token first, then questions with it (Amazon EC2 user guide)."""

from __future__ import annotations

import datetime
import json
import time
from dataclasses import dataclass
from typing import Dict, List, Optional

from .access import Access
from .request import Answer, request

# Six hours, the longest there is.
TOKEN_SECONDS = 21600
# New credentials are there five minutes before the old ones end.
SPARE = 60.0


class MetadataError(Exception):
    """The instance does not say what it should; the message says what."""


@dataclass(frozen=True)
class Credentials:
    key: str
    secret: str
    token: str
    # Unix seconds
    ends: float


class Metadata:
    def __init__(self, access: Access) -> None:
        self._access = access
        self._token = ""
        self._credentials: Optional[Credentials] = None
        self._known: Dict[str, str] = {}

    def _ask(self, method: str, path: str, headers: Dict[str, str]) -> Answer:
        return request(method, self._access.endpoints["metadata"] + path, headers, b"", self._access.timeout)

    def _fetch_token(self) -> None:
        answer = self._ask("PUT", "/latest/api/token", {"X-aws-ec2-metadata-token-ttl-seconds": str(TOKEN_SECONDS)})
        if answer.status != 200:
            raise MetadataError(f"no metadata token: HTTP {answer.status}")
        self._token = answer.body.decode()

    def get(self, path: str) -> Optional[str]:
        """None: there is no such thing. A token that is not accepted any more is exchanged once."""
        for again in (False, True):
            if not self._token or again:
                self._fetch_token()
            answer = self._ask("GET", f"/latest/{path}", {"X-aws-ec2-metadata-token": self._token})
            if answer.status == 200:
                return answer.body.decode()
            if answer.status == 404:
                return None
            if answer.status != 401:
                break
        raise MetadataError(f"metadata {path}: HTTP {answer.status}")

    def constant(self, path: str) -> str:
        """What does not change while the instance runs."""
        if path not in self._known:
            value = self.get(path)
            if not value:
                raise MetadataError(f"the instance has no {path}")
            self._known[path] = value.strip()
        return self._known[path]

    def lines(self, path: str) -> List[str]:
        return (self.get(path) or "").split()

    def credentials(self) -> Credentials:
        if self._credentials is None or self._credentials.ends - SPARE < time.time():
            role = (self.lines("meta-data/iam/security-credentials/") or [""])[0]
            text = self.get(f"meta-data/iam/security-credentials/{role}") if role else None
            if not text:
                raise MetadataError("the instance has no role, so it may not call AWS")
            try:
                raw = json.loads(text)
                ends = datetime.datetime.strptime(raw["Expiration"], "%Y-%m-%dT%H:%M:%SZ")
                self._credentials = Credentials(
                    raw["AccessKeyId"],
                    raw["SecretAccessKey"],
                    raw["Token"],
                    ends.replace(tzinfo=datetime.timezone.utc).timestamp(),
                )
            except (KeyError, ValueError) as error:
                raise MetadataError(f"the role's credentials are not understood ({error!r})") from None
        return self._credentials

    def forget_credentials(self) -> None:
        """They were refused: the next call asks again."""
        self._credentials = None
