"""Nonces and signatures are remembered until they expire, and no key can evict those of others."""

import time

import pytest

from gateway.core.outcome.errors import CallerError
from gateway.core.outcome.outcome import Reason
from gateway.web.replay_memory import Replays

NS = 1_000_000_000


def later(seconds: float = 60) -> int:
    return time.time_ns() + int(seconds * NS)


def test_a_request_is_remembered_until_it_expires() -> None:
    replays = Replays()

    assert replays.remember(("r", "1"), later())
    assert not replays.remember(("r", "1"), later())
    assert (replays.seen(("r", "1")), replays.seen(("r", "2"))) == (True, False)


def test_expired_entries_make_room() -> None:
    replays = Replays(2)
    for number in range(5):
        replays.remember(("r", str(number)), later(-2), owner="a")

    assert replays.remember(("r", "new"), later(), owner="a")
    assert len(replays) == 1


def test_one_key_has_half_of_the_room_and_evicts_no_other() -> None:
    replays = Replays(10)
    replays.remember(("r", "of b"), later(), owner="b")
    for number in range(5):
        replays.remember(("r", str(number)), later(), owner="a")

    with pytest.raises(CallerError) as caught:
        replays.remember(("r", "one more"), later(), owner="a")

    assert caught.value.outcome.reason is Reason.OVERLOADED
    assert not replays.remember(("r", "of b"), later(), owner="b")
    assert not replays.remember(("r", "0"), later(), owner="a")
