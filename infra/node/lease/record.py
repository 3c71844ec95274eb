"""What is said to etcd, and what it answers: the keys of the pair as one record. Pure; the module etcd carries it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Dict, Mapping, Optional, Tuple, Union

HOLDER, SEQ, INSYNC, EPOCH = "holder", "seq", "insync", "epoch"
# Stands for the incarnation where the pair keeps no data: nothing can be missing on a node. No data is ever called so.
NO_DATA = "-"


@dataclass(frozen=True)
class Compare:
    """`mod`: the revision of the key's last change (0: it does not exist); `value`: its value."""

    key: str
    target: str
    expected: Union[int, str]


@dataclass(frozen=True)
class Request:
    """One transaction: `puts` happen if every compare holds. The answer carries all keys of the pair in either case."""

    compares: Tuple[Compare, ...] = ()
    puts: Tuple[Tuple[str, str], ...] = ()
    # Answered by the member alone, from what it has: old perhaps, but never invented.
    serializable: bool = False


READ = Request()
LOOK = Request(serializable=True)


@dataclass(frozen=True)
class Record:
    """The keys of the pair at one revision. A `mod` of 0: the key does not exist."""

    holder: str = ""
    holder_mod: int = 0
    seq: int = 0
    seq_mod: int = 0
    insync: Optional[Mapping[str, str]] = None
    insync_mod: int = 0
    epoch: int = 1
    epoch_mod: int = 0

    @property
    def holder_node(self) -> Optional[str]:
        return self.holder.split("/", 1)[0] or None


@dataclass(frozen=True)
class Answer:
    succeeded: bool
    record: Record


def record_of(keys: Mapping[str, Tuple[str, int]]) -> Record:
    """From key to (value, mod revision). Raises ValueError for a value that hotpair never writes."""
    holder, holder_mod = keys.get(HOLDER, ("", 0))
    seq, seq_mod = keys.get(SEQ, ("0", 0))
    epoch, epoch_mod = keys.get(EPOCH, ("1", 0))
    insync: Optional[Dict[str, str]] = None
    insync_mod = 0
    if INSYNC in keys:
        text, insync_mod = keys[INSYNC]
        listed = json.loads(text)
        if not isinstance(listed, dict) or not set(listed) <= {"a", "b"}:
            raise ValueError(f"insync is {text!r}")
        insync = {str(node): str(incarnation) for node, incarnation in listed.items()}
    return Record(holder, holder_mod, int(seq), seq_mod, insync, insync_mod, int(epoch), epoch_mod)


def insync_text(insync: Mapping[str, str]) -> str:
    return json.dumps(dict(insync), sort_keys=True, separators=(",", ":"))


def beginning(node: str, incarnation: str) -> Dict[str, str]:
    """Who is in sync when a list is written for the first time: the node whose data counts; without data, both."""
    return {"a": NO_DATA, "b": NO_DATA} if incarnation == NO_DATA else {node: incarnation}


def lists_no_data(insync: Optional[Mapping[str, str]]) -> bool:
    """Written when the pair kept none. Once it keeps some, that is no list."""
    return bool(insync) and set((insync or {}).values()) == {NO_DATA}
