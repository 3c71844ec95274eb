"""Whether this node is still reached over the networks that hotpair sets up, and by packets of the stated size."""

from typing import List

from .change import before, missing
from .host import Host
from .owner import card_of
from .settings import Reach, Settings

HEADERS = 80
"""IPv4 and TCP with every option (RFC 9293 §3.1): what a segment is shorter than its packet, at most, rounded up."""
ETHERNET = 1500


def problems(host: Host, settings: Settings) -> List[str]:
    """Of what must hold after a change, the part that does not."""
    found = missing(host, settings)
    was = before(host)
    if was is not None:
        # Who was silent before the change says nothing about it.
        found += [
            f"{other} answered {own} before this change, and does not now"
            for own, other in was.answered
            if not host.answers(other, own)
        ]
    for reach in settings.reach:
        if reach.mtu > ETHERNET and not found:
            found += too_large(host, reach, was is not None and reach.network in was.large)
    return found


def too_large(host: Host, reach: Reach, went: bool) -> List[str]:
    """
    `went`: packets of this size went through before. The nodes change one after the other: as long as the peer's own
    interface does not take packets of this size, the way between the two cannot be judged, and is not. The second
    node's change judges it, and every later one.
    """
    if host.answers(reach.peer, reach.address, reach.mtu) or not host.answers(reach.peer, reach.address):
        return []
    what = f"{reach.network}: the peer answers, but no packet of {reach.mtu} bytes that may not be parted"
    if went:
        return [f"{what}; before this change one did"]
    segment = host.segment(reach.peer, reach.port, reach.address)
    if segment is None or segment < reach.mtu - HEADERS:
        return []
    return [f"{what}, though its own interface takes them: what lies between the two does not carry them"]


def spares(host: Host, settings: Settings) -> List[str]:
    """Members of bonds that could not carry now: the next cable may be the last."""
    links = host.links()
    return [
        f"{device.name}: its member {card} has no link"
        for device in settings.devices
        for card in device.cards
        for link in [card_of(card, links)]
        if link is not None and not link.carrier
    ]


def pending(host: Host, settings: Settings) -> List[str]:
    """Networks whose size of packets nothing has proven yet, for `status`."""
    return [
        f"{reach.network}: no packet of {reach.mtu} bytes is answered by {reach.peer} yet: its own change is "
        "still to come, or what lies between does not carry them"
        for reach in settings.reach
        if reach.mtu > ETHERNET
        and host.answers(reach.peer, reach.address, tries=1)
        and not host.answers(reach.peer, reach.address, reach.mtu, tries=1)
    ]
