"""Whatever is done in whatever order, the store holds what a plain dict would hold, across restarts too."""

import asyncio
import tempfile
from dataclasses import dataclass
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gateway.core.outcome.outcome import Reason
from gateway.delivery.queue import Depth, Destination, State, Store
from tests.support.points import HERE, NOW_NS, THERE, new_point

DESTINATIONS = st.sampled_from([HERE, THERE])
SOME = st.lists(st.integers(1, 25), max_size=6, unique=True)


@dataclass
class Expected:
    destination: Destination
    state: State = State.QUEUED
    not_before_ns: int = 0
    attempts: int = 0


class StoreModel(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.folder = tempfile.TemporaryDirectory()
        self.points: dict[int, Expected] = {}
        self.last_id = 0
        self.now_ns = NOW_NS
        self.open()

    def open(self) -> None:
        # OFF: here nothing is about crashes, and each step would wait for the disk.
        self.store = self.loop.run_until_complete(Store.open(Path(self.folder.name), synchronous="OFF"))

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

    @rule(ids=SOME, wait_ns=st.integers(0, 3))
    def postpone(self, ids: list[int], wait_ns: int) -> None:
        held = self.held(ids)
        until_ns = self.now_ns + wait_ns
        self.store.postpone(held, until_ns, Reason.UPSTREAM_DOWN, "down")
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
        assert self.loop.run_until_complete(self.store.retry(ids)) == len(again)
        for each in again:
            self.points[each] = Expected(self.points[each].destination)

    @rule(ids=SOME)
    def drop(self, ids: list[int]) -> None:
        there = [each for each in ids if each in self.points]
        assert self.loop.run_until_complete(self.store.drop(ids)) == len(there)
        for each in there:
            del self.points[each]

    @rule()
    def time_goes_on(self) -> None:
        self.now_ns += 1

    @precondition(lambda self: self.points)
    @rule()
    def reopen(self) -> None:
        self.loop.run_until_complete(self.store.close())
        self.open()
        for point in self.points.values():
            if point.state is State.LEASED:
                point.state = State.QUEUED

    @invariant()
    def the_same_points_are_there(self) -> None:
        found = self.loop.run_until_complete(self.store.points(limit=1000))
        assert [(point.id, point.destination, point.state, point.attempts, point.not_before_ns) for point in found] == [
            (each, point.destination, point.state, point.attempts, point.not_before_ns)
            for each, point in sorted(self.points.items())
        ]

    @invariant()
    def the_counters_agree(self) -> None:
        depths = self.loop.run_until_complete(self.store.stats()).depths
        for destination in (HERE, THERE):
            points = [point for point in self.points.values() if point.destination == destination]
            depth = depths.get(destination, Depth())
            counted = (depth.queued, depth.leased, depth.dead_letter)
            assert counted == tuple(sum(point.state is state for point in points) for state in State)
            assert (depth.bytes > 0, depth.oldest_ns is not None) == (bool(points), depth.queued + depth.leased > 0)


StoreModel.TestCase.settings = settings(
    max_examples=40, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
test_the_store_does_what_a_dict_does = StoreModel.TestCase
