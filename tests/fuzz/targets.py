"""What is fuzzed: each target takes any bytes, and fails by an exception that a caller could not expect.

The first bytes of an input choose among the shipped specs, so that one target covers all of them. `seeds` of a target
are valid inputs, from the cases and vectors of the shipped specs.
"""

import asyncio
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from gateway.core.context import RequestContext
from gateway.core.http.json import read_json
from gateway.core.http.received import ReceivedRequest
from gateway.core.http.request import Request, Response
from gateway.core.outcome.classify import classify
from gateway.core.outcome.errors import GatewayError
from gateway.core.pipeline import receive_report
from gateway.core.recipe.model import Recipe
from gateway.core.recipe.verify import NoReplayCheck
from gateway.core.vendor.routing import make_snapshot
from gateway.proof.cases.run import Mismatch, case_request
from gateway.proof.vectors import Vector, accept_vector
from gateway.specs.load import Trial, load
from gateway.specs.yaml.diagnostic import Diagnostics
from gateway.specs.yaml.reader import parse
from gateway.web.parser import Incoming
from gateway.web.server import HttpLimits, Server

ROUTES = Path(__file__).parents[2] / "routes.d"
CORPORA = Path(__file__).parents[1] / "data" / "fuzz"
CHOICE_BYTES = 2
MAX_BODY_BYTES = 65536


@dataclass(frozen=True, slots=True)
class Target:
    """`run` takes one input. `seeds` are inputs to begin with."""

    run: Callable[[bytes], None]
    seeds: Callable[[], Iterator[bytes]]


@cache
def specs() -> tuple[Sequence[Trial], Sequence[tuple[Recipe, Vector]]]:
    loaded = load(ROUTES, environ={}, trials=True, strict_environment=False)
    return loaded.trials, [(placed.recipe, placed.vector) for placed in loaded.vectors]


def chosen(data: bytes, number: int) -> int:
    return int.from_bytes(data[:CHOICE_BYTES], "big") % number


def choice(index: int) -> bytes:
    return index.to_bytes(CHOICE_BYTES, "big")


# The HTTP head, and what follows it on a connection.


class Wire(asyncio.Transport):
    """The caller's end of a connection, in memory."""

    def __init__(self) -> None:
        super().__init__({"peername": ("192.0.2.1", 1)})
        self.written = bytearray()
        self._closing = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        self._closing = True

    abort = close

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None: ...

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...


async def _answer(incoming: Incoming) -> Response:
    try:
        body = await incoming.body.read(max_bytes=MAX_BODY_BYTES, timeout_s=5)
    except GatewayError as error:
        return Response(400, (), error.outcome.message.encode())
    return Response(200, (), str(len(body)).encode())


async def _exchange(data: bytes) -> bytes:
    server = Server(_answer, HttpLimits(), scheme="http")
    wire, connection = Wire(), server()
    connection.connection_made(wire)
    middle = chosen(data, len(data) + 1)
    for segment in (data[CHOICE_BYTES:middle], data[middle:]):
        if segment and not wire.is_closing():
            connection.data_received(segment)
            for _ in range(4):
                await asyncio.sleep(0)
    connection.eof_received()
    for _ in range(4):
        await asyncio.sleep(0)
    connection.connection_lost(None)
    await server.cut()
    return bytes(wire.written)


@cache
def _loop() -> asyncio.AbstractEventLoop:
    def fail(loop: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
        failures.append(context)

    loop = asyncio.new_event_loop()
    loop.set_exception_handler(fail)
    return loop


failures: list[dict[str, object]] = []


def http(data: bytes) -> None:
    written = _loop().run_until_complete(_exchange(data))
    assert not written or written.startswith(b"HTTP/1."), written[:80]
    assert not written.startswith(b"HTTP/1.1 500"), data
    assert not failures, failures


def http_seeds() -> Iterator[bytes]:
    for _, request in _requests():
        yield choice(0xFFFF) + as_text(request)


# The body of a report, for each case of the shipped specs.


@cache
def _requests() -> Sequence[tuple[Trial, Request]]:
    found = []
    for trial in specs()[0]:
        if trial.case.request is not None:
            try:
                found.append((trial, case_request(trial.case, trial.route)))
            except Mismatch:
                continue
    return found


def body(data: bytes) -> None:
    trial, request = _requests()[chosen(data, len(_requests()))]
    request = replace(request, body=data[CHOICE_BYTES:])
    route = replace(trial.route, source=replace(trial.route.source, verifiers=None))
    match = make_snapshot([route]).match(request)
    if match is None or match.form is None or match.form.local_call is not None or route.is_relay:
        return
    try:
        receive_report(match, match.read(request), RequestContext(trial.case.now_ns, NoReplayCheck()))
    except GatewayError as error:
        assert error.outcome.message


def body_seeds() -> Iterator[bytes]:
    for index, (_, request) in enumerate(_requests()):
        yield choice(index) + request.body


# The verifier, with each vector of each recipe.


def verifier(data: bytes) -> None:
    vectors = specs()[1]
    recipe, vector = vectors[chosen(data, len(vectors))]
    try:
        request = as_request(data[CHOICE_BYTES:], vector.message.request.scheme)
    except ValueError:
        return
    try:
        accept_vector(recipe, replace(vector, message=ReceivedRequest(request, vector.message.body_kind)))
    except GatewayError as error:
        assert error.outcome.message


def verifier_seeds() -> Iterator[bytes]:
    for index, (_, vector) in enumerate(specs()[1]):
        yield choice(index) + as_text(vector.message.request)


def as_text(request: Request) -> bytes:
    head = [f"{request.method} {request.target} HTTP/1.1", *(f"{name}: {value}" for name, value in request.headers)]
    return "\r\n".join([*head, "", ""]).encode("utf-8", "surrogateescape") + request.body


def as_request(raw: bytes, scheme: str) -> Request:
    """Read what `as_text` writes. Raises ValueError."""
    head, _, body = raw.partition(b"\r\n\r\n")
    first, *lines = head.decode("utf-8", "surrogateescape").split("\r\n")
    method, target, _ = first.split(" ", 2)
    headers = tuple((name, value) for name, _, value in (line.partition(": ") for line in lines))
    return Request(method, target, headers, body, scheme)


# What an upstream answers, by the rules of each shipped target.


def upstream(data: bytes) -> None:
    trials = specs()[0]
    trial = trials[chosen(data, len(trials))]
    rest = data[CHOICE_BYTES:]
    answer = Response(100 + chosen(rest, 500), (("Content-Type", "application/json"),), rest[CHOICE_BYTES:])
    send = trial.route.target.send
    if send is not None:
        classify(send.outcome, answer, {"call_id": "0" * 32, "given": dict(trial.route.target.given)})


def upstream_seeds() -> Iterator[bytes]:
    for index, trial in enumerate(specs()[0]):
        answer = trial.case.answer
        if answer is not None and "json" in answer:
            yield choice(index) + choice(int(answer.get("status", 200)) - 100) + json.dumps(answer["json"]).encode()


# Text formats.


def yaml(data: bytes) -> None:
    diagnostics = Diagnostics()
    parse(data, "spec.yaml", diagnostics)
    assert all(found.mark.line >= 1 and found.mark.column >= 1 for found in diagnostics)


def yaml_seeds() -> Iterator[bytes]:
    for file in sorted(ROUTES.glob("*.yaml")):
        yield file.read_bytes()


def json_text(data: bytes) -> None:
    try:
        read_json(data)
    except ValueError as error:
        assert str(error)


def json_seeds() -> Iterator[bytes]:
    yield from (b'{"a": [1, 2.5e3, -0, true, null, "\\u00e9\\ud83d\\ude00"]}', b"[[[[1]]]]", b"[1e400, NaN]", b"9" * 50)


TARGETS = {
    "http": Target(http, http_seeds),
    "body": Target(body, body_seeds),
    "verifier": Target(verifier, verifier_seeds),
    "upstream": Target(upstream, upstream_seeds),
    "yaml": Target(yaml, yaml_seeds),
    "json": Target(json_text, json_seeds),
}
