#!/usr/bin/python3
"""Writes and reads a block device past the page cache and says how long it took; bench/drbd.ts runs it on a server.
What was on the first AREA bytes of the device is gone afterwards.

usage: disk-load.py DEVICE SEED      one JSON line on standard output

A file of one's own would measure the file system, too; fio would bring Ceph's libraries and others into every image of
the lab.
"""

from __future__ import annotations

import json
import mmap
import os
import random
import sys
import time
from typing import Dict, List

AREA = 128 << 20
LARGE = 4 << 20
SMALL = 4096
# Of each writer, when it is one and when there are four.
WRITES = {1: 300, 4: 100}


def main(device: str, seed: str) -> None:
    buffer = mmap.mmap(-1, LARGE)
    buffer.write(os.urandom(SMALL) * (LARGE // SMALL))
    whole = memoryview(buffer)
    descriptor = os.open(device, os.O_RDWR | os.O_DIRECT)

    began = time.perf_counter()
    for at in range(0, AREA, LARGE):
        written = os.pwritev(descriptor, [whole], at)
        if written != LARGE:
            raise OSError(f"{written} of {LARGE} bytes written")
    os.fdatasync(descriptor)
    write = AREA / (time.perf_counter() - began)

    one = commits(descriptor, whole[:SMALL], 1, seed)
    four = commits(descriptor, whole[:SMALL], 4, seed)

    began = time.perf_counter()
    for at in range(0, AREA, LARGE):
        os.preadv(descriptor, [whole], at)
    read = AREA / (time.perf_counter() - began)
    print(json.dumps({"write": write, "read": read, "one": one, "four": four}))


def commits(descriptor: int, block: memoryview, writers: int, seed: str) -> Dict[str, float]:
    """4 KiB anywhere and a flush, as a commit is, one after the other in each of so many processes. Times in
    seconds."""
    began = time.perf_counter()
    pipes = []
    for writer in range(writers):
        out, into = os.pipe()
        if os.fork() == 0:
            own: List[float] = []
            places = random.Random(f"{seed}/{writer}")
            for _ in range(WRITES[writers]):
                at = places.randrange(AREA // SMALL) * SMALL
                start = time.perf_counter()
                os.pwritev(descriptor, [block], at)
                os.fdatasync(descriptor)
                own.append(time.perf_counter() - start)
            with os.fdopen(into, "w") as pipe:
                json.dump(own, pipe)
            os._exit(0)
        os.close(into)
        pipes.append(out)
    took: List[float] = []
    for out in pipes:
        with os.fdopen(out) as pipe:
            took += json.load(pipe)
    elapsed = time.perf_counter() - began
    for _ in pipes:
        os.wait()
    took.sort()
    return {
        "perSecond": len(took) / elapsed,
        "p50": took[len(took) // 2],
        "p99": took[min(len(took) - 1, len(took) * 99 // 100)],
    }


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
