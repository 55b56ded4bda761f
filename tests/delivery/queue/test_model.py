"""After any sequence of operations and restarts, the store contains the same points as a dict."""

import asyncio
import tempfile
from dataclasses import dataclass
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gateway.core.outcome.outcome import Reason
from gateway.delivery.queue import Depth, Destination, PointFilter, State, Store
from tests.support.points import HERE, NOW_NS, THERE, S, new_point

DESTINATIONS = st.sampled_from([HERE, THERE])
# Without waiting for a disk at each step.
IN_MEMORY = Path("/dev/shm")
SOME = st.lists(st.integers(1, 25), max_size=6, unique=True)


@dataclass
class Expected:
    destination: Destination
    state: State = State.QUEUED
    not_before_ns: int = 0
    attempts: int = 0

    @property
    def next_attempt(self) -> float | None:
        return self.not_before_ns / S if self.state is State.QUEUED and self.not_before_ns else None


class StoreModel(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.folder = tempfile.TemporaryDirectory(dir=IN_MEMORY if IN_MEMORY.is_dir() else None)
        self.points: dict[int, Expected] = {}
        self.last_id = 0
        self.now_ns = NOW_NS
        self.open()

    def open(self) -> None:
        self.store = self.loop.run_until_complete(Store.open(Path(self.folder.name)))

    def teardown(self) -> None:
        self.loop.run_until_complete(self.store.close())
        self.loop.close()
        self.folder.cleanup()

    def held(self, ids: list[int]) -> list[int]:
        return [each for each in ids if each in self.points and self.points[each].state is State.LEASED]

    @rule(destinations=st.lists(DESTINATIONS, max_size=4))
    def append(self, destinations: list[Destination]) -> None:
        points = [new_point(destination=destination) for destination in destinations]
        self.loop.run_until_complete(self.store.append(points))
        for destination in destinations:
            self.last_id += 1
            self.points[self.last_id] = Expected(destination)

    @rule(destination=DESTINATIONS, limit=st.integers(1, 5))
    def lease(self, destination: Destination, limit: int) -> None:
        due = [
            each
            for each, point in sorted(self.points.items())
            if point.destination == destination and point.state is State.QUEUED and point.not_before_ns <= self.now_ns
        ]
        found = self.loop.run_until_complete(self.store.lease(destination, limit, self.now_ns))
        assert [point.id for point in found] == due[:limit]
        assert [point.attempts for point in found] == [self.points[each].attempts for each in due[:limit]]
        for point in found:
            self.points[point.id].state = State.LEASED

    @rule(ids=SOME)
    def ack(self, ids: list[int]) -> None:
        held = self.held(ids)
        self.store.ack(held)
        for each in held:
            del self.points[each]

    @rule(ids=SOME, wait_s=st.integers(0, 3))
    def retry_later(self, ids: list[int], wait_s: int) -> None:
        held = self.held(ids)
        until_ns = self.now_ns + wait_s * S
        self.store.retry_later(held, until_ns, Reason.UPSTREAM_DOWN, "down")
        for each in held:
            point = self.points[each]
            self.points[each] = Expected(point.destination, State.QUEUED, until_ns, point.attempts + 1)

    @rule(ids=SOME)
    def dead_letter(self, ids: list[int]) -> None:
        held = self.held(ids)
        self.store.dead_letter(held, Reason.TOO_OLD, "too old")
        for each in held:
            self.points[each].state = State.DEAD_LETTER
            self.points[each].not_before_ns = 0

    @rule(ids=SOME)
    def release(self, ids: list[int]) -> None:
        held = self.held(ids)
        self.store.release(held)
        for each in held:
            self.points[each].state = State.QUEUED

    @rule(ids=SOME)
    def retry(self, ids: list[int]) -> None:
        again = [
            each
            for each in ids
            if (point := self.points.get(each))
            and (point.state is State.DEAD_LETTER or (point.state is State.QUEUED and point.not_before_ns))
        ]
        assert self.loop.run_until_complete(self.store.retry(PointFilter(ids=ids))) == len(again)
        for each in again:
            self.points[each] = Expected(self.points[each].destination)

    @rule(ids=SOME)
    def drop(self, ids: list[int]) -> None:
        there = [each for each in ids if each in self.points]
        assert self.loop.run_until_complete(self.store.drop(PointFilter(ids=ids))) == len(there)
        for each in there:
            del self.points[each]

    @rule()
    def time_passes(self) -> None:
        self.now_ns += S

    @precondition(lambda self: self.points)
    @rule()
    def reopen(self) -> None:
        self.loop.run_until_complete(self.store.close())
        self.open()
        for point in self.points.values():
            if point.state is State.LEASED:
                point.state = State.QUEUED

    @invariant()
    def the_store_contains_the_same_points(self) -> None:
        found = self.loop.run_until_complete(self.store.points(PointFilter(), limit=1000))
        assert [(each.id, each.route, each.target, each.state, each.attempts, each.next_attempt) for each in found] == [
            (each, *point.destination, point.state, point.attempts, point.next_attempt)
            for each, point in sorted(self.points.items())
        ]

    @invariant()
    def the_counters_agree(self) -> None:
        depths = {each.destination: each for each in self.loop.run_until_complete(self.store.state()).targets}
        for destination in (HERE, THERE):
            points = [point for point in self.points.values() if point.destination == destination]
            depth = depths.get(destination, Depth(route="", target=""))
            counted = (depth.queued, depth.leased, depth.dead_letter)
            assert counted == tuple(sum(point.state is state for point in points) for state in State)
            assert (depth.bytes > 0, depth.oldest_s is not None) == (bool(points), depth.queued + depth.leased > 0)


StoreModel.TestCase.settings = settings(
    max_examples=40, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
test_the_store_behaves_as_a_dict = StoreModel.TestCase
