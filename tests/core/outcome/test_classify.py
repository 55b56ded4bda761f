from typing import Any

import pytest

from gateway.core.http.json import write_json
from gateway.core.http.request import Response
from gateway.core.outcome.classify import Classified, as_seen_by_reporter, classify
from gateway.core.outcome.outcome import Code, Outcome, Reason
from tests.support.specs import provider

OF = """
    - of: body.code
      codes: {OK: [0], INVALID_ARGUMENT: [A.1, "A.*"], RESOURCE_EXHAUSTED: ["A.1*"], UNAUTHENTICATED: ["true"]}
      message: body.message
"""


def classified(
    rules: str, status: int = 200, body: bytes = b"", polled: str | None = None, **headers: str
) -> Classified:
    poll = "poll: {every_s: 1}" if "poll:" in rules else ""
    text = f"provider: acme\nsend:\n  item: metric\n  request: {{method: POST, path: /}}\n  outcome: {rules}\n  {poll}"
    send = provider(text).send
    assert send is not None
    fields = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    return classify(send.outcome, Response(status, fields, body), {"call_id": "id1", "given": {"zone": "a"}}, polled)


@pytest.mark.parametrize(
    ("status", "code", "reason"),
    [
        (200, Code.OK, None),
        (299, Code.OK, None),
        (100, Code.INTERNAL, Reason.UPSTREAM_GARBLED),
        (302, Code.INTERNAL, Reason.UPSTREAM_GARBLED),
        (400, Code.INVALID_ARGUMENT, Reason.UPSTREAM_REJECTED),
        (401, Code.UNAUTHENTICATED, Reason.UPSTREAM_AUTH),
        (403, Code.PERMISSION_DENIED, Reason.UPSTREAM_AUTH),
        (404, Code.NOT_FOUND, Reason.UPSTREAM_REJECTED),
        (405, Code.UNIMPLEMENTED, Reason.UPSTREAM_REJECTED),
        (408, Code.DEADLINE_EXCEEDED, Reason.UPSTREAM_TIMEOUT),
        (413, Code.INVALID_ARGUMENT, Reason.UPSTREAM_REJECTED),
        (429, Code.RESOURCE_EXHAUSTED, Reason.THROTTLED),
        (500, Code.INTERNAL, Reason.UPSTREAM_GARBLED),
        (501, Code.UNIMPLEMENTED, Reason.UPSTREAM_REJECTED),
        (502, Code.UNAVAILABLE, Reason.UPSTREAM_DOWN),
        (503, Code.UNAVAILABLE, Reason.UPSTREAM_DOWN),
        (504, Code.DEADLINE_EXCEEDED, Reason.UPSTREAM_TIMEOUT),
        (599, Code.UNAVAILABLE, Reason.UPSTREAM_DOWN),
    ],
)
def test_code_without_rules_follows_the_status(status: int, code: Code, reason: Reason | None):
    outcome = classified("[]", status).outcome

    assert (outcome.code, outcome.reason) == (code, reason)
    assert outcome.message == (
        ""
        if code is Code.OK
        else f"the answer was not understood (status {status})"
        if status < 400
        else f"the upstream answered with status {status}"
    )


@pytest.mark.parametrize("status", [200, 204])
def test_success_without_a_matching_rule_is_garbled(status: int):
    outcome = classified("[{status: 201, code: OK}]", status).outcome

    assert (outcome.code, outcome.reason) == (Code.INTERNAL, Reason.UPSTREAM_GARBLED)


@pytest.mark.parametrize(
    ("body", "code", "message"),
    [
        pytest.param(b'{"code": 0}', Code.OK, "", id="number"),
        pytest.param(b'{"code": "0"}', Code.OK, "", id="number as text"),
        pytest.param(b'{"code": "A.1", "message": "m"}', Code.INVALID_ARGUMENT, "m", id="exact before prefix"),
        pytest.param(
            b'{"code": "A.12"}', Code.RESOURCE_EXHAUSTED, "the upstream answered with status 200", id="longest"
        ),
        pytest.param(b'{"code": "A.2", "message": 5}', Code.INVALID_ARGUMENT, "the upstream answered", id="prefix"),
        pytest.param(b'{"code": 7, "message": "odd"}', Code.INTERNAL, "odd", id="unknown: by status, message kept"),
        pytest.param(b'{"code": null}', Code.INTERNAL, "the answer was not understood (status 200)", id="null"),
        pytest.param(b'{"code": [0]}', Code.INTERNAL, "the answer was not understood", id="list"),
        pytest.param(b"<html>", Code.INTERNAL, "the answer was not understood", id="not JSON"),
        pytest.param(b"", Code.INTERNAL, "the answer was not understood", id="nothing"),
        pytest.param(b'{"code": true}', Code.UNAUTHENTICATED, "the upstream answered", id="true"),
    ],
)
def test_rule_on_the_body_decides_the_code(body: bytes, code: Code, message: str):
    outcome = classified(OF, 200, body).outcome

    assert outcome.code is code
    assert outcome.message.startswith(message)


def test_status_decides_if_the_body_does_not():
    assert classified(OF, 429, b'{"code": 7}').outcome.code is Code.RESOURCE_EXHAUSTED


@pytest.mark.parametrize(
    ("status", "code"), [(202, Code.UNAVAILABLE), (203, Code.UNAVAILABLE), (204, Code.OK), (418, Code.INVALID_ARGUMENT)]
)
def test_first_matching_rule_wins(status: int, code: Code):
    rules = "[{status: [202, 203], code: UNAVAILABLE}, {when: 'status < `300`', code: OK}]"

    assert classified(rules, status).outcome.code is code


@pytest.mark.parametrize(
    "when",
    ["headers.x_done == 'yes'", "body.done == `1`", "contains(text, 'done')", "call_id == 'id1'", "status == `200`"],
)
def test_rules_see_all_parts_of_the_answer(when: str):
    assert classified(write_json([{"when": when, "code": "OK"}]).decode(), 200, b'{"done":1}', X_Done="yes").outcome.ok


def test_rule_without_a_code_sets_the_message():
    outcome = classified("[{message: body.why}]", 403, b'{"why": "blocked"}').outcome

    assert (outcome.code, outcome.message) == (Code.PERMISSION_DENIED, "blocked")


def test_message_is_truncated_at_500_characters():
    outcome = classified("[{code: INTERNAL, message: text}]", 200, b"x" * 501).outcome

    assert outcome.message == "x" * 500


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("7", 7), ("0", 0), ("Fri, 31 Dec 1999 23:59:59 GMT", None), ("-1", None), ("1e9", None), ("9" * 9, None)],
)
def test_retry_after_is_read_in_seconds(value: str, seconds: float | None):
    assert classified("[]", 503, Retry_After=value).outcome.retry_after_s == seconds


POLL = "[{status: 202, poll: body.location, message: body.state}]"


def test_unfinished_call_is_a_timeout_with_a_path_to_poll():
    result = classified(POLL, 202, b'{"location": "/jobs/1?a=b"}')

    assert result.poll == "/jobs/1?a=b"
    assert (result.outcome.reason, result.outcome.message) == (Reason.UPSTREAM_TIMEOUT, "the upstream has not finished")


def test_unfinished_call_may_have_a_message():
    assert classified(POLL, 202, b'{"location": "/jobs/1", "state": "queued"}').outcome.message == "queued"


@pytest.mark.parametrize(
    ("body", "path"),
    [(b"", "/jobs/1"), (b"{}", "/jobs/1"), (b'{"location": "/jobs/2"}', "/jobs/2")],
    ids=["no body", "no path", "another path"],
)
def test_polled_path_is_polled_again_without_a_new_path(body: bytes, path: str):
    assert classified(POLL, 202, body, polled="/jobs/1").poll == path


@pytest.mark.parametrize(
    "location", ["http://h/jobs", "//h\\u0020/jobs", "jobs", "", "/a#b", "/\\u00e9", "/" + "a" * 4001]
)
def test_invalid_path_is_not_polled(location: str):
    result = classified(POLL, 202, b'{"location": "%s"}' % location.encode())

    assert (result.poll, result.outcome.message) == (None, "the answer names no path to poll")


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        pytest.param("[{status: 200, poll: body.location}]", "the answer names no path to poll", id="no path"),
        pytest.param(
            "[{when: length(status), code: OK}]", "the answer cannot be classified: length(status)", id="failing"
        ),
    ],
)
def test_answer_is_garbled_if_a_rule_fails(rules: str, message: str):
    outcome = classified(rules).outcome

    assert (outcome.code, outcome.reason) == (Code.INTERNAL, Reason.UPSTREAM_GARBLED)
    assert outcome.message.startswith(message)


@pytest.mark.parametrize(
    ("code", "seen"),
    [
        (Code.OK, Code.OK),
        (Code.INVALID_ARGUMENT, Code.INVALID_ARGUMENT),
        (Code.UNAUTHENTICATED, Code.UNAVAILABLE),
        (Code.PERMISSION_DENIED, Code.UNAVAILABLE),
        (Code.NOT_FOUND, Code.INTERNAL),
        (Code.UNIMPLEMENTED, Code.INTERNAL),
        (Code.RESOURCE_EXHAUSTED, Code.RESOURCE_EXHAUSTED),
        (Code.UNAVAILABLE, Code.UNAVAILABLE),
        (Code.DEADLINE_EXCEEDED, Code.DEADLINE_EXCEEDED),
        (Code.INTERNAL, Code.INTERNAL),
    ],
)
def test_reporter_sees_codes_of_the_gateways_errors_as_server_errors(code: Code, seen: Code):
    outcome: Any = as_seen_by_reporter(Outcome(code, Reason.UPSTREAM_AUTH, "m"))

    assert outcome == Outcome(seen, Reason.UPSTREAM_AUTH, "m")


def test_answer_names_rejected_items():
    rules = "[{code: INVALID_ARGUMENT, rejected: {each: body.errors, same: '{m: metric}', message: why}}]"
    body = {"errors": [{"metric": "a", "why": "old"}, {"metric": "b"}]}

    named = classified(rules, body=write_json(body)).entries

    assert [(each.index, each.same, each.message) for each in named] == [
        (None, {"m": "a"}, "old"),
        (None, {"m": "b"}, ""),
    ]


@pytest.mark.parametrize(
    ("index", "read"),
    [pytest.param(2, 2, id="index"), pytest.param("2", -1, id="text"), pytest.param(True, -1, id="true")],
)
def test_invalid_index_matches_no_item(index: Any, read: int):
    rules = "[{code: INVALID_ARGUMENT, rejected: {each: body, index: '@'}}]"

    assert [each.index for each in classified(rules, body=write_json([index])).entries] == [read]


def test_answer_without_a_list_names_no_items():
    rules = "[{code: INVALID_ARGUMENT, rejected: {each: body.errors, index: '@'}}]"

    assert classified(rules, body=b'{"errors": "all"}').entries == ()
