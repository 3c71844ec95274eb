"""What is on a disk before hotpair touches it. Nothing is written here, and whatever is not known to be empty counts
as full."""

from __future__ import annotations

import json
import os
import stat
from dataclasses import dataclass
from typing import Dict, List, Optional

from .kernel import run

# Where the beginnings of whatever may be there lie, at both ends.
ENDS = 1024 * 1024
BLOCK = 4 * 1024 * 1024
ZEROS = bytes(BLOCK)


@dataclass(frozen=True)
class Found:
    path: str
    # "empty": nothing known, and zeros at both ends. "file system", "drbd", "other": data. "in use", "absent".
    kind: str
    # in words, e.g. `ext4 (label "data")`
    what: str
    # bytes; 0 where it could not be asked
    size: int = 0
    # of a file system, as blkid calls it; empty otherwise
    file_system: str = ""


def probe(path: str) -> Found:
    """blkid and wipefs each look for what they know; two that disagree make "other"."""
    try:
        found = os.stat(path)
    except OSError as error:
        return Found(path, "absent", error.strerror or "cannot be read")
    try:
        # Whoever has it mounted, or has built something on it, keeps others from opening it alone.
        alone = os.O_EXCL if stat.S_ISBLK(found.st_mode) else 0
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | alone)
    except OSError as error:
        return Found(path, "in use", f"it cannot be opened alone: {error.strerror}")
    try:
        size = os.lseek(descriptor, 0, os.SEEK_END)
        known = _blkid(path)
        signatures = _signatures(path)
        if known is None or signatures is None:
            return Found(path, "other", "blkid or wipefs could not read it", size)
        kind = known.get("TYPE", "")
        if kind.startswith("drbd") or any(each.startswith("drbd") for each in signatures):
            return Found(path, "drbd", "metadata of DRBD", size)
        if known.get("USAGE") == "filesystem" and set(signatures) <= {kind}:
            label = f' (label "{known["LABEL"]}")' if known.get("LABEL") else ""
            return Found(path, "file system", f"{kind}{label}", size, kind)
        if known or signatures:
            names = signatures or [known.get("TYPE") or known.get("PTTYPE") or "something ambiguous"]
            return Found(path, "other", " and ".join(dict.fromkeys(names)), size)
        if not (_zeros(descriptor, 0, min(size, ENDS)) and _zeros(descriptor, max(0, size - ENDS), size)):
            return Found(path, "other", "data that neither blkid nor wipefs knows", size)
        return Found(path, "empty", "nothing", size)
    finally:
        os.close(descriptor)


def _blkid(path: str) -> Optional[Dict[str, str]]:
    """None: not readable. Several contradicting signatures are a TYPE of their own, which is nobody's."""
    said = run(["blkid", "-p", "-o", "export", path], 30.0)
    if said.code == 2:
        return {}
    if said.code == 8:
        return {"TYPE": "several signatures"}
    if said.code != 0:
        return None
    fields: Dict[str, str] = {}
    for line in said.text.splitlines():
        name, _, value = line.partition("=")
        fields[name] = value
    return {name: value for name, value in fields.items() if name != "DEVNAME"}


def _signatures(path: str) -> Optional[List[str]]:
    said = run(["wipefs", "--no-act", "--json", path], 30.0)
    if said.code != 0:
        return None
    if not said.text:
        return []
    try:
        return [str(each["type"]) for each in json.loads(said.text)["signatures"]]
    except (ValueError, KeyError, TypeError):
        return None


def _zeros(descriptor: int, start: int, end: int) -> bool:
    at = start
    while at < end:
        data = os.pread(descriptor, min(BLOCK, end - at), at)
        if not data:
            return False
        # As fast as memory: a disk of terabytes is read through here.
        if data != ZEROS[: len(data)]:
            return False
        at += len(data)
    return True


def all_zeros(path: str) -> bool:
    """Reads all of it."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return _zeros(descriptor, 0, os.lseek(descriptor, 0, os.SEEK_END))
    finally:
        os.close(descriptor)


def metadata_bytes(size: int) -> int:
    """What internal metadata takes of a disk of this size, for one peer, rounded up generously: a bitmap of one bit for
    each 4 KiB, an activity log of 32 KiB, a superblock of 4 KiB, each rounded to 4 KiB (drbd's drbd_meta_data.c)."""
    bitmap = -(-size // (4096 * 8))
    return -(-bitmap // 4096) * 4096 + 32 * 1024 + 4096 + 4096


def file_system_bytes(path: str, file_system: str) -> Optional[int]:
    """How much of the disk a file system uses, by its own superblock; None: not known."""
    try:
        with open(path, "rb") as file:
            if file_system in ("ext2", "ext3", "ext4"):
                file.seek(1024)
                block = file.read(1024)
                size = int.from_bytes(block[0x04:0x08], "little") | (int.from_bytes(block[0x150:0x154], "little") << 32)
                return size * (1024 << int.from_bytes(block[0x18:0x1C], "little"))
            if file_system == "xfs":
                block = file.read(512)
                return int.from_bytes(block[4:8], "big") * int.from_bytes(block[8:16], "big")
    except OSError:
        return None
    return None
