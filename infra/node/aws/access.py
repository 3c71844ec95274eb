"""Where AWS is for this instance, and how long one answer may take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Mapping

# Seconds for one answer.
TIMEOUT = 2.0


@dataclass(frozen=True)
class Access:
    region: str
    # of "metadata", "ec2" and "route53"; without a slash at the end
    endpoints: Mapping[str, str]
    timeout: float = TIMEOUT


def access(region: str, others: Mapping[str, str], timeout: float = TIMEOUT) -> Access:
    """`others`: endpoints in the place of AWS's own."""
    return Access(
        region,
        {
            # Amazon EC2 user guide, instance metadata; AWS general reference, service endpoints.
            "metadata": "http://169.254.169.254",
            "ec2": f"https://ec2.{region}.amazonaws.com",
            "route53": "https://route53.amazonaws.com",
            **others,
        },
        timeout,
    )
