"""Whether hotpair may set these networks up at all: what is asked for is there, and nobody else has it. All at once, in
words for the person who must change it. Asked before anything is installed; planned files are shown at their places.
"""

import re
from typing import Dict, Iterator, List, Optional

from .host import Host, Link
from .settings import PREFIX, Card, Settings, made

MANIFEST = "/var/lib/hotpair/manifest"
NETWORKD = "systemd-networkd.service"
MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")


def card_of(card: str, links: Dict[str, Link]) -> Optional[Link]:
    """The card of this name, or with this permanent address."""
    if not MAC.fullmatch(card):
        return links.get(card)
    # A bond and the VLANs on it have their first member's address.
    return next((link for link in links.values() if link.mac == card and link.kind == ""), None)


def changes(host: Host, settings: Settings) -> bool:
    """Whether what will be installed differs from what hotpair installed last."""
    recorded = {}
    for line in (host.read(MANIFEST) or "").splitlines():
        words = line.split(" ")
        if words[0] == "file" and len(words) == 9 and words[8].startswith(PREFIX):
            recorded[words[8]] = words[7]
    return recorded != {path: host.digest(path) for path in settings.files}


def problems(host: Host, settings: Settings) -> List[str]:
    links = host.links()
    found = [*networkd(host)]
    names = {}
    for card in settings.cards:
        link = card_of(card.id, links)
        if link is None:
            have = ", ".join(sorted(link.name for link in links.values() if link.kind == "" and link.name != "lo"))
            found.append(f"{card.id}: this server has no such network card (it has {have})")
        else:
            names[link.name] = card
    for device in made(settings):
        other = links.get(device.name)
        if other is not None and other.kind != device.kind:
            found.append(f"{device.name}: an interface of this name exists already, and is no {device.kind}")
    for name in [*names, *(device.name for device in made(settings) if device.name in links)]:
        found += owners(host, links[name], name not in names)
    members = {card: device.name for device in settings.devices for card in device.cards}
    for name, card in names.items():
        master = links[name].master
        if master is not None and master != members.get(card.id):
            found.append(f"{name}: is a member of {master}; take it out of there first (ip link set {name} nomaster)")
    if changes(host, settings):
        found += ssh(host, settings, links, names)
    return found


def networkd(host: Host) -> Iterator[str]:
    if host.run(["systemctl", "is-active", "--quiet", NETWORKD])[0] != 0:
        yield (
            f"{NETWORKD} does not run here, and hotpair does not start it beside whatever else sets this server's "
            "networks up; see that it takes nothing over (/etc/systemd/network, ip rule), then: "
            f"systemctl enable --now {NETWORKD}"
        )
    elif host.run(["systemctl", "is-enabled", "--quiet", NETWORKD])[0] != 0:
        yield f"{NETWORKD} would not run after a reboot: systemctl enable {NETWORKD}"


def owners(host: Host, link: Link, own: bool) -> Iterator[str]:
    """`own`: a device that nobody but hotpair has a reason to make."""
    file = host.configured_by(link)
    # One that its owner has removed, as this message says, is in use until systemd-networkd reads its files again.
    if file is not None and not file.startswith(PREFIX) and host.exists(file):
        yield (
            f"{link.name}: {file} sets it up. Remove that file, and do not reload systemd-networkd: it goes on "
            "with what it has read until hotpair has put its own files there"
        )
    elif own and file is None:
        yield f"{link.name}: exists, and was not made by systemd-networkd; remove it (ip link delete {link.name})"
    stanza = re.compile(rf"^\s*(auto|allow-\S+|iface|mapping)\s(.*\s)?{re.escape(link.name)}(\s|$)", re.MULTILINE)
    below = "/etc/network/interfaces.d"
    for path in ["/etc/network/interfaces", *(f"{below}/{name}" for name in host.listing(below))]:
        if stanza.search(host.read(path) or ""):
            yield f"{link.name}: {path} sets it up (ifupdown); remove it there, without ifdown"
    code, text = host.run(["nmcli", "-g", "GENERAL.NM-MANAGED", "device", "show", link.name])
    if code == 0 and text.strip() == "yes":
        yield (
            f"{link.name}: NetworkManager has it; name it in unmanaged-devices of its configuration, and: "
            f"nmcli device set {link.name} managed no"
        )


def ssh(host: Host, settings: Settings, links: Dict[str, Link], names: Dict[str, Card]) -> Iterator[str]:
    """A mistake on the network over which hotpair itself comes leaves nobody who could put it right."""
    accepted = {name: card.ssh for name, card in names.items()}
    accepted.update({device.name: device.ssh for device in settings.devices})
    used = {here for here, _ in host.ssh_sessions()}
    for link in sorted(links.values(), key=lambda link: link.name):
        if not accepted.get(link.name, True) and used & {address.split("/")[0] for address in link.addresses}:
            yield (
                f"{link.name}: SSH comes to this server over it, now. Reach the server over another network "
                "(nodes[].ssh.host), or accept the danger, with a reason: managed.overSsh"
            )
