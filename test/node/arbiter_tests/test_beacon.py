"""What a beacon proves: who sent it, over which network, and that it is not an old one."""

import unittest

from arbiter import beacon
from arbiter.word import Gate, PeerVip, Word

ONE, TWO = beacon.Key.of(b"1" * 32), beacon.Key.of(b"2" * 32)


def said(session: int = 1, sequence: int = 1, keys: tuple[bytes, ...] = (ONE.id,)) -> beacon.Beacon:
    return beacon.Beacon(
        node="b",
        session=session,
        sequence=sequence,
        word=Word(vips={"web": PeerVip(True, "master", Gate.READY, 0.05)}, digest="d", service="dead", public_up=False),
        keys=keys,
        hears={"public": 7, "heartbeat": None},
        claim=("token", True),
        concedes="other",
    )


class Wire(unittest.TestCase):
    def test_what_is_said_is_heard(self) -> None:
        datagram = beacon.seal(beacon.encode_payload(said()), "public", ONE)
        self.assertEqual(beacon.unseal(datagram, "public", [TWO, ONE]), said())
        self.assertLess(len(datagram), beacon.MAX_BYTES)

    def test_another_key_another_network_and_a_changed_byte_are_refused(self) -> None:
        datagram = beacon.seal(beacon.encode_payload(said()), "public", ONE)
        self.assertIsNone(beacon.unseal(datagram, "public", [TWO]))
        self.assertIsNone(beacon.unseal(datagram, "heartbeat", [ONE]))
        for position in range(len(datagram)):
            changed = bytearray(datagram)
            changed[position] ^= 1
            self.assertIsNone(beacon.unseal(bytes(changed), "public", [ONE]), position)

    def test_noise_is_refused(self) -> None:
        for noise in (b"", b"HPB", b"x" * 100, b"HPB\x01\x00" + b"\0" * 100, b"x" * 5000):
            self.assertIsNone(beacon.unseal(noise, "public", [ONE]))

    def test_an_authentic_beacon_with_unknown_fields_or_without_some_is_understood(self) -> None:
        datagram = beacon.seal(b'{"n":"b","se":3,"q":4,"new":[1]}', "storage", ONE)
        heard = beacon.unseal(datagram, "storage", [ONE])
        assert heard is not None
        self.assertEqual((heard.session, heard.sequence, dict(heard.word.vips)), (3, 4, {}))

    def test_an_authentic_beacon_of_nonsense_is_refused(self) -> None:
        for payload in (
            b"[]",
            b"{}",
            b"nonsense",
            b'{"n":"b","se":"x","q":1}',
            b'{"n":"b","se":1,"q":1,"v":{"w":[1]}}',
        ):
            self.assertIsNone(beacon.unseal(beacon.seal(payload, "public", ONE), "public", [ONE]))


class Old(unittest.TestCase):
    def test_a_beacon_counts_once_per_network_and_is_news_once(self) -> None:
        replay = beacon.Replay()
        self.assertIs(replay.admit("public", said(5, 1)), True)
        self.assertIs(replay.admit("heartbeat", said(5, 1)), False)
        self.assertIsNone(replay.admit("public", said(5, 1)))
        self.assertIs(replay.admit("public", said(5, 3)), True)
        self.assertIsNone(replay.admit("public", said(5, 2)))

    def test_an_earlier_session_is_refused(self) -> None:
        replay = beacon.Replay()
        replay.admit("public", said(5, 100))
        self.assertIs(replay.admit("public", said(6, 1)), True)
        self.assertIsNone(replay.admit("heartbeat", said(5, 101)))

    def test_what_was_known_before_a_restart_is_refused_after_it(self) -> None:
        replay = beacon.Replay(5, 100)
        self.assertIsNone(replay.admit("public", said(5, 100)))
        self.assertIs(replay.admit("public", said(5, 101)), True)


class Keys(unittest.TestCase):
    def test_the_newest_key_that_the_peer_accepts_is_used(self) -> None:
        ring = beacon.Keyring([TWO, ONE])
        ring.peer_accepts((ONE.id,))
        self.assertEqual({ring.sending() for _ in range(4)}, {ONE})
        ring.peer_accepts((TWO.id, ONE.id))
        self.assertEqual({ring.sending() for _ in range(4)}, {TWO})

    def test_with_a_silent_peer_each_key_has_its_turn(self) -> None:
        ring = beacon.Keyring([TWO, ONE])
        self.assertEqual({ring.sending() for _ in range(4)}, {ONE, TWO})

    def test_the_file(self) -> None:
        keys = beacon.parse_keys(f"# newest first\ncurrent {'ab' * 32}\n\nprevious {'cd' * 32}\n")
        self.assertEqual([key.secret for key in keys], [b"\xab" * 32, b"\xcd" * 32])
        for wrong in ("", "current", "current xyz", "current abcd"):
            with self.assertRaises(ValueError) as caught:
                beacon.parse_keys(wrong)
            self.assertNotIn("xyz", str(caught.exception))
