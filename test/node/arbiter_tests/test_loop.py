"""What is read when several sources have something to read at once."""

import os
import unittest
from typing import List, Tuple

from arbiter.loop import Loop


class Waits(unittest.TestCase):
    def ready(self) -> int:
        read, write = os.pipe()
        os.write(write, b"x")
        os.close(write)
        self.addCleanup(os.close, read)
        return read

    def test_all_that_have_something_are_read(self) -> None:
        loop = Loop()
        seen: List[int] = []
        sources = [self.ready(), self.ready()]
        for source in sources:
            loop.watch(source, seen.append)
        loop.wait(30)
        self.assertEqual(sorted(seen), sorted(sources))

    def test_a_source_that_another_one_made_forgotten_is_not_read(self) -> None:
        loop = Loop()
        seen: List[int] = []
        sources = [self.ready(), self.ready()]

        def read(source: int) -> None:
            seen.append(source)
            for each in sources:
                loop.forget(each)

        for source in sources:
            loop.watch(source, read)
        loop.wait(30)
        self.assertEqual(len(seen), 1)

    def test_a_new_source_with_the_number_of_a_forgotten_one_is_not_read_in_its_place(self) -> None:
        loop = Loop()
        seen: List[Tuple[str, int]] = []
        sources = [self.ready(), self.ready()]

        def read(source: int) -> None:
            seen.append(("old", source))
            other = next(each for each in sources if each != source)
            loop.forget(other)
            loop.watch(other, lambda number: seen.append(("new", number)))

        for source in sources:
            loop.watch(source, read)
        loop.wait(30)
        self.assertEqual([which for which, _ in seen], ["old"])
        loop.forget(seen[0][1])
        loop.wait(30)
        self.assertEqual([which for which, _ in seen], ["old", "new"])


if __name__ == "__main__":
    unittest.main()
