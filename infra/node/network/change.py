"""One change of the networks: what was before, what is new, and the way back. systemd-networkd does the work; what it
does not do by itself (devices that nobody describes any more, addresses that stood there without a file) is done here.

The change belongs to a transaction of hotpair-apply, and ends with it: while its list of what to undo is armed, `back`
puts this server's networks back; afterwards it does nothing. So the way back is the same for a check that failed, for a
transaction that was killed, and, at the next boot, for a power cut.
"""

import json
import re
from dataclasses import dataclass
from typing import Dict, Iterable, List, Optional, Tuple

from .host import Host, Link
from .owner import NETWORKD, card_of
from .settings import PREFIX, Device, Settings

UNDO = "/var/lib/hotpair/undo"
RUN = "/run/hotpair"
RECORD = RUN + "/network-before.json"
PATIENCE = 20.0
"""Seconds in which systemd-networkd makes what its files say."""
RETURN = 5.0
"""Seconds in which it brings back what its own files said before."""


@dataclass(frozen=True)
class Was:
    """An interface before the change."""

    name: str
    mtu: int
    up: bool
    master: Optional[str]
    addresses: Tuple[str, ...]
    routes: Tuple[str, ...]


@dataclass(frozen=True)
class Before:
    transaction: str
    links: Tuple[Was, ...]
    answered: Tuple[Tuple[str, str], ...]
    """Address of this server and of whoever answered it."""
    large: Tuple[str, ...]
    """Networks over which the peer answered packets of the size that is asked for now."""


def transaction(host: Host) -> Optional[str]:
    """Which change of hotpair-apply is under way; None outside of one."""
    return host.stamp(UNDO + "/list") if host.exists(UNDO + "/armed") else None


def before(host: Host) -> Optional[Before]:
    """What was written down for the change that is under way; None where there is none."""
    text = host.read(RECORD)
    if text is None:
        return None
    raw = json.loads(text)
    if raw["transaction"] != transaction(host):
        return None
    return Before(
        raw["transaction"],
        tuple(
            Was(one["name"], one["mtu"], one["up"], one["master"], tuple(one["addresses"]), tuple(one["routes"]))
            for one in raw["links"]
        ),
        tuple((one[0], one[1]) for one in raw["answered"]),
        tuple(raw["large"]),
    )


def interrupted(host: Host) -> bool:
    """A change is armed that nobody carries out any more: this server was rebooted in its midst."""
    if transaction(host) is None or before(host) is not None:
        return False
    pids = [host.read(f"{RUN}/{name}/pid") for name in host.listing(RUN) if name.startswith("work.")]
    return not any(pid is not None and pid.strip().isdigit() and host.alive(int(pid)) for pid in pids)


def targets(host: Host, settings: Settings, links: Dict[str, Link]) -> List[Tuple[str, str]]:
    """Everybody who may answer over the networks that will change: the peer, the router, whoever is logged in."""
    wanted = [(reach.address, reach.peer) for reach in settings.reach]
    if settings.gateway is not None:
        wanted += [(reach.address, settings.gateway) for reach in settings.reach if reach.network == "public"]
    # A network whose interface is another one from now on has its address where it was so far.
    here = {address.split("/")[0] for link in links.values() for address in link.addresses}
    concerned = {reach.address for reach in settings.reach}
    wanted += [(own, other) for own, other in host.ssh_sessions() if own in concerned]
    return sorted({one for one in wanted if one[0] in here})


def note(host: Host, settings: Settings, current: str) -> Before:
    """Writes down what is here before the change."""
    links = host.links()
    addresses = {device.address for device in settings.devices}
    names = {link.name for card in settings.cards for link in [card_of(card.id, links)] if link is not None}
    names |= {device.name for device in settings.devices if device.name in links}
    names |= {link.name for link in links.values() if set(link.addresses) & addresses}
    answered = [(own, other) for own, other in targets(host, settings, links) if host.answers(other, own)]
    large = [
        reach.network
        for reach in settings.reach
        if (reach.address, reach.peer) in answered and host.answers(reach.peer, reach.address, reach.mtu)
    ]
    record = {
        "transaction": current,
        "links": [
            {
                "name": name,
                "mtu": links[name].mtu,
                "up": links[name].up,
                "master": links[name].master,
                # Never a VIP: the peer may have it by the time when it would be put back.
                "addresses": [one for one in links[name].addresses if one.split("/")[0] not in settings.vips],
                "routes": host.routes(name),
            }
            for name in sorted(names)
        ],
        "answered": answered,
        "large": large,
    }
    host.write(RECORD, json.dumps(record, indent=1) + "\n")
    written = before(host)
    if written is None:
        raise OSError(f"{RECORD} cannot be read back")
    return written


def stale(host: Host, links: Dict[str, Link]) -> List[str]:
    """Bonds and VLANs that systemd-networkd made of a file of hotpair's that is there no longer."""
    return [
        link.name
        for link in links.values()
        if link.kind in ("bond", "vlan")
        and (host.configured_by(link) or "").startswith(PREFIX)
        and not host.exists(f"{PREFIX}{link.name}.netdev")
    ]


def reload(host: Host, without: Iterable[str], links: Dict[str, Link]) -> List[str]:
    """Devices go first, VLANs before what they stand on: systemd-networkd never removes one."""
    names = sorted(set(without), key=lambda name: (links[name].kind != "vlan", name))
    for name in names:
        host.run(["ip", "link", "delete", name])
    if names:
        # It makes a device anew only when it has seen that it is gone.
        host.sleep(0.5)
    code, text = host.run(["systemctl", "reload", NETWORKD])
    return [] if code == 0 else [f"systemctl reload {NETWORKD}: {text.strip()}"]


def missing(host: Host, settings: Settings) -> List[str]:
    """What is asked for and is not there."""
    links = host.links()
    lacking = []
    for device in settings.devices:
        link = card_of(device.name, links)
        if link is None:
            lacking.append(f"{device.name} does not exist")
            continue
        if link.mtu != device.mtu:
            lacking.append(f"{device.name} has MTU {link.mtu} instead of {device.mtu}")
        if device.address is not None and device.address not in link.addresses:
            lacking.append(f"{device.name} does not have {device.address}")
        if not link.up:
            lacking.append(f"{device.name} is down")
        for id in device.cards:
            card = card_of(id, links)
            if card is None or card.master != device.name:
                lacking.append(f"{id} is no member of {device.name}")
    return lacking


def wait(host: Host, settings: Settings, seconds: float) -> List[str]:
    until = host.now() + seconds
    lacking = missing(host, settings)
    while lacking and host.now() < until:
        host.sleep(0.2)
        lacking = missing(host, settings)
    return lacking


def tune(host: Host, devices: Tuple[Device, ...]) -> None:
    """
    Members that were taken out of a bond, and its timers: systemd-networkd sets them only where it makes the device.
    And the kernel settings of interfaces that did not exist when /etc/sysctl.d was read (udev does it, where it runs).
    """
    links = host.links()
    for device in devices:
        if device.kind == "bond":
            cards = {card_of(id, links): id for id in device.cards}
            for link in links.values():
                if link.master == device.name and link not in cards:
                    host.run(["ip", "link", "set", link.name, "nomaster"])
            primary = next((link.name for link, id in cards.items() if link is not None and id == device.primary), "")
            timers = f"/sys/class/net/{device.name}/bonding/"
            for name, wanted in (("miimon", str(device.miimon)), ("primary", primary)):
                if (host.read(timers + name) or "").strip() != wanted:
                    host.set(timers + name, wanted)
        host.run(["/usr/lib/systemd/systemd-sysctl", f"--prefix=/net/ipv4/conf/{device.name}"])


def up(host: Host, settings: Settings) -> List[str]:
    """What could not be set up; nothing when all of it stands. In a change, the networks are other ones afterwards."""
    current = transaction(host)
    failed = []
    if current is not None and interrupted(host):
        # The settings are put back by hotpair-undo, which comes after this.
        return back(host)
    if current is not None and before(host) is not None:
        failed = back(host)
    elif current is not None:
        note(host, settings, current)
        links = host.links()
        failed = reload(host, stale(host, links), links)
    lacking = failed or wait(host, settings, PATIENCE)
    tune(host, settings.devices)
    return lacking


def files_back(host: Host) -> None:
    """
    As hotpair-apply will do it (put_back), which may come after this: a file with a predecessor beside it gets that, a
    new one goes. Both can be repeated.
    """
    for line in (host.read(UNDO + "/list") or "").splitlines():
        kind, _, path = line.partition(" ")
        if kind not in ("new", "change", "gone", "back") or not path.startswith(PREFIX):
            continue
        old = re.sub(r"/([^/]*)$", r"/.\1.hotpair-old", path)
        if host.exists(old):
            host.relink(old, path)
        elif kind == "new":
            host.remove(path)


def back(host: Host) -> List[str]:
    """Takes the change back that is under way, and says what did not come back. Can be repeated."""
    if transaction(host) is None:
        return []
    was = before(host)
    files_back(host)
    links = host.links()
    failed = reload(host, stale(host, links), links)
    return failed if was is None else [*failed, *restore(host, was)]


def restore(host: Host, was: Before) -> List[str]:
    """systemd-networkd brings back what its files say; the rest is put there by hand."""
    until = host.now() + RETURN
    while lost(host, was) and host.now() < until:
        host.sleep(0.2)
    # Twice: it may still be taking away what it had set up itself.
    for _ in range(2):
        links = host.links()
        for one in was.links:
            link = links.get(one.name)
            if link is None:
                continue
            if one.master is None and link.master is not None:
                host.run(["ip", "link", "set", one.name, "nomaster"])
            if link.mtu != one.mtu:
                host.run(["ip", "link", "set", one.name, "mtu", str(one.mtu)])
            if one.up and not link.up:
                host.run(["ip", "link", "set", one.name, "up"])
            for address in one.addresses:
                if address not in link.addresses:
                    host.run(["ip", "addr", "add", address, "brd", "+", "dev", one.name])
            for route in one.routes:
                if route not in host.routes(one.name):
                    host.run(["ip", "-4", "route", "replace", *route.split(), "dev", one.name])
        if not lost(host, was):
            return []
        host.sleep(1.0)
    return lost(host, was)


def lost(host: Host, was: Before) -> List[str]:
    links = host.links()
    missing_links = [f"{one.name} does not exist" for one in was.links if one.name not in links]
    return missing_links + [
        f"{one.name} does not have {address}"
        for one in was.links
        if one.name in links
        for address in one.addresses
        if address not in links[one.name].addresses
    ]
