"""A server of the tests' own: files, links and neighbours that a test sets, and a systemd-networkd that obeys."""

from typing import Callable, Dict, List, Optional, Sequence, Set, Tuple

from network.host import Host, Link
from network.settings import Card, Device, Reach, Settings

OURS = "/etc/systemd/network/05-hotpair-"
HERE, PEER = "198.18.2.11", "198.18.2.12"


def link(name: str, index: int, *addresses: str, mtu: int = 1500, kind: str = "", master: Optional[str] = None) -> Link:
    return Link(name, index, mtu, True, True, kind, master, f"02:00:00:00:00:{index:02x}", tuple(addresses))


BOND = Device("bond0", "bond", 9000, None, ("eth2", "eth3"), False, 100, "eth2")
VLAN = Device("bond0.10", "vlan", 9000, f"{HERE}/24", (), False)
FILES = tuple(f"{OURS}{name}" for name in ("bond0.netdev", "bond0.network", "bond0.10.netdev", "bond0.10.network"))
SETTINGS = Settings(
    FILES,
    (Card("eth2", False), Card("eth3", False)),
    (BOND, VLAN),
    (Reach("storage", HERE, PEER, 9000, 22),),
    None,
    ("198.18.2.100",),
)

SET_UP = (
    link("bond0", 7, mtu=9000, kind="bond"),
    link("bond0.10", 8, f"{HERE}/24", mtu=9000, kind="vlan"),
    link("eth2", 3, mtu=9000, master="bond0"),
    link("eth3", 4, mtu=9000, master="bond0"),
)


class Server(Host):
    def __init__(self) -> None:
        self.files: Dict[str, str] = {}
        self.here: Dict[str, Link] = {}
        self.stamps: Dict[str, str] = {}
        self.ran: List[str] = []
        self.codes: Dict[str, int] = {}
        self.neighbours: Dict[str, int] = {}
        """Who answers, with the size of the largest packet."""
        self.carried: Optional[int] = None
        """Of the peer's segments; None: no answer."""
        self.sessions: List[Tuple[str, str]] = []
        self.alive_pids: Set[int] = set()
        self.after_reload: Callable[[], None] = lambda: None
        self.clock = 0.0
        self.wire(link("eth0", 2, "192.0.2.11/24"), link("eth2", 3, f"{HERE}/24"), link("eth3", 4))

    def wire(self, *links: Link) -> None:
        for one in links:
            self.here[one.name] = one

    def managed_by(self, name: str, file: str) -> None:
        self.files[f"/run/systemd/netif/links/{self.here[name].index}"] = (
            f"ADMIN_STATE=configured\nNETWORK_FILE={file}\n"
        )

    def armed(self, *lines: str) -> None:
        self.files["/var/lib/hotpair/undo/armed"] = ""
        self.files["/var/lib/hotpair/undo/list"] = "\n".join(lines) + "\n"
        self.files["/run/hotpair/work.abc/pid"] = "4711\n"
        self.alive_pids.add(4711)

    def run(self, argv: Sequence[str], timeout: float = 30.0) -> Tuple[int, str]:  # noqa: ARG002
        line = " ".join(argv)
        self.ran.append(line)
        if line.startswith("ip link delete "):
            self.here.pop(argv[3], None)
        if line.startswith("systemctl reload"):
            self.after_reload()
        if line.startswith("nmcli"):
            return self.codes.get(line, 127), "yes\n"
        return self.codes.get(line, 0), "said\n"

    def read(self, path: str) -> Optional[str]:
        return self.files.get(path)

    def exists(self, path: str) -> bool:
        return path in self.files

    def digest(self, path: str) -> Optional[str]:
        return f"digest-of-{self.files[path]}" if path in self.files else None

    def listing(self, directory: str) -> List[str]:
        below = directory.rstrip("/") + "/"
        return sorted({path[len(below) :].split("/")[0] for path in self.files if path.startswith(below)})

    def write(self, path: str, text: str) -> None:
        self.files[path] = text

    def set(self, path: str, value: str) -> None:
        self.files[path] = value + "\n"

    def remove(self, path: str) -> None:
        self.files.pop(path, None)

    def relink(self, source: str, path: str) -> None:
        self.files[path] = self.files[source]

    def stamp(self, path: str) -> Optional[str]:
        return self.stamps.get(path, f"of-{self.files[path]}") if path in self.files else None

    def alive(self, pid: int) -> bool:
        return pid in self.alive_pids

    def now(self) -> float:
        return self.clock

    def sleep(self, seconds: float) -> None:
        self.clock += seconds

    def links(self) -> Dict[str, Link]:
        return dict(self.here)

    def routes(self, link: str) -> Tuple[str, ...]:
        return ("203.0.113.0/24 via 198.18.2.254",) if link == "eth2" else ()

    def ssh_sessions(self) -> List[Tuple[str, str]]:
        return self.sessions

    def answers(self, address: str, source: Optional[str] = None, size: Optional[int] = None, tries: int = 3) -> bool:  # noqa: ARG002
        return self.neighbours.get(address, 0) >= (84 if size is None else size)

    def segment(self, address: str, port: int, source: str) -> Optional[int]:  # noqa: ARG002
        return self.carried
