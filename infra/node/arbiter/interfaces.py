"""Which links of this node are up and which of them have a VIP: the kernel's tables, kept as they change."""

from __future__ import annotations

from typing import Callable, Dict, Optional, Set

from . import config, kernel


class Interfaces:
    """Asks nobody and decides nothing: the callbacks are told what changed.

    `on_link(network, up)`: at every look, changed or not. `on_replaced(network)`: another interface has the name now,
    so that sockets bound to the old one are deaf. `on_address(vip, index)`: a VIP came, or (index None) went.
    """

    def __init__(
        self,
        settings: config.Config,
        on_link: Callable[[config.Network, bool], None],
        on_replaced: Callable[[str], None],
        on_address: Callable[[config.Vip, Optional[int]], None],
    ) -> None:
        self._config = settings
        self._on_link = on_link
        self._on_replaced = on_replaced
        self._on_address = on_address
        self.netlink = kernel.Netlink()
        # by network name; 0: there is no such interface
        self.indexes: Dict[str, int] = {}
        self.macs: Dict[int, bytes] = {}
        # indexes of the interfaces that have the address, by VIP name
        self.held_on: Dict[str, Set[int]] = {vip.name: set() for vip in settings.vips}

    def look(self) -> None:
        """Reads links and addresses anew, whatever was heard of them before."""
        links = kernel.links()
        by_name = {link.name: link for link in links}
        self.macs = {link.index: link.mac for link in links}
        for network in self._config.networks:
            self._link_state(network, by_name.get(network.interface))
        present = {(address.address, address.index): address for address in kernel.addresses()}
        for vip in self._config.vips:
            for index in self.held_on[vip.name].copy():
                if (vip.address, index) not in present:
                    self.held_on[vip.name].discard(index)
                    self._on_address(vip, None)
        for address in present.values():
            self._address(address, gone=False)

    def follow(self) -> None:
        """What the kernel told since the last time."""
        changes = self.netlink.changes()
        if changes is None:
            self.look()
            return
        for change in changes:
            if change.address is not None:
                self._address(change.address, change.gone)
            link = change.link
            if link is None:
                continue
            if not change.gone:
                self.macs[link.index] = link.mac
            for network in self._config.networks:
                if network.interface == link.name:
                    self._link_state(network, None if change.gone else link)

    def mac_of(self, network: str) -> bytes:
        return self.macs.get(self.indexes.get(network, 0), b"")

    def _link_state(self, network: config.Network, link: Optional[kernel.Link]) -> None:
        self._on_link(network, link is not None and link.up)
        index = link.index if link is not None else 0
        if self.indexes.get(network.name) != index:
            self.indexes[network.name] = index
            self._on_replaced(network.name)

    def _address(self, address: kernel.Address, gone: bool) -> None:
        for vip in self._config.vips:
            if vip.address != address.address:
                continue
            held = self.held_on[vip.name]
            if gone:
                held.discard(address.index)
                self._on_address(vip, None)
            elif address.index not in held:
                held.add(address.index)
                self._on_address(vip, address.index)
