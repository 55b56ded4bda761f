from dataclasses import replace
from typing import Any

import pytest

from gateway.core.http.json import read_json
from gateway.core.http.request import Response
from gateway.core.outcome.outcome import Code, Outcome, Reason, RejectedItem, failure
from gateway.core.outcome.reply import build_reply, plain_reply
from tests.support.specs import provider

NAMES: dict[str, Any] = {
    "body": {"id": 7},
    "query": {},
    "headers": {"x_a": "b"},
    "given": {"zone": "a"},
    "request": "post",
    "recipe": "session",
    "key": None,
}
REPLIES = """
    ok: {status: 202, json: {ok: accepted, id: body.id}, headers: {x-a: "{headers.x_a}", x-none: "{key}"}}
    error: {status: 503, json: {error: error.code, words: error.words, why: message, reason: reason}}
    errors:
      STALE: {code: E1, status: 403}
      UNAUTHENTICATED: {code: E2, words: who}
      BAD_FIELD: {status: 400, text: "bad: {message}", headers: {x-b: "{reason}"}}
      TOO_LARGE: {json: {big: "`true`"}}
      THROTTLED: [{when: retry_after_s, code: LATER}, {when: "request == 'get'", code: GET}, {code: NEVER}]
      NOT_FOUND: [{when: "`false`", code: E3}]
      default: {code: E0}
"""


def replied(outcome: Outcome, replies: str = REPLIES, **names: Any) -> Response:
    text = f"""
provider: acme
receive:
  request: {{method: POST, path: /, body: json}}
  verify: [session]
  each: {{item: body}}
  point: {{metric: item.m, value: item.v}}
  replies: {replies}
"""
    receive = provider(text.replace("given", "headers")).receive
    assert receive is not None
    return build_reply(receive.replies, outcome, NAMES | names)


def test_success_reply_is_in_the_vendors_dialect():
    response = replied(Outcome(Code.OK, accepted=3))

    assert response.status == 202
    assert response.headers == (("x-a", "b"), ("Content-Type", "application/json"))
    assert response.body == b'{"ok":3,"id":7}'


@pytest.mark.parametrize(
    ("outcome", "status", "body"),
    [
        pytest.param(failure(Reason.STALE, "m"), 403, {"error": "E1", "why": "m", "reason": "STALE"}, id="by reason"),
        pytest.param(
            failure(Reason.BAD_SIGNATURE, "m"),
            503,
            {"error": "E2", "words": "who", "why": "m", "reason": "BAD_SIGNATURE"},
            id="by code",
        ),
        pytest.param(
            failure(Reason.INTERNAL, "m"), 503, {"error": "E0", "why": "m", "reason": "INTERNAL"}, id="default"
        ),
        pytest.param(failure(Reason.TOO_LARGE, "m"), 503, {"big": True}, id="json of the row"),
        pytest.param(
            failure(Reason.THROTTLED, "m", retry_after_s=2),
            503,
            {"error": "LATER", "why": "m", "reason": "THROTTLED"},
            id="first row that holds",
        ),
        pytest.param(
            failure(Reason.THROTTLED, "m"), 503, {"error": "NEVER", "why": "m", "reason": "THROTTLED"}, id="last row"
        ),
        pytest.param(
            failure(Reason.UNKNOWN_CALL, "m"),
            503,
            {"error": "E0", "why": "m", "reason": "UNKNOWN_CALL"},
            id="no row holds: the default",
        ),
    ],
)
def test_error_row_is_chosen_by_reason_then_code_then_default(outcome: Outcome, status: int, body: Any):
    response = replied(outcome)

    assert (response.status, read_json(response.body)) == (status, body)


def test_error_row_overrides_status_text_and_headers():
    response = replied(failure(Reason.BAD_FIELD, "v is missing"))

    assert (response.status, response.body) == (400, b"bad: v is missing")
    assert response.headers == (("x-b", "BAD_FIELD"), ("Content-Type", "text/plain; charset=utf-8"))


@pytest.mark.parametrize(("accepted", "status"), [pytest.param(0, 500, id="first"), pytest.param(5, 501, id="second")])
def test_first_matching_shape_is_the_reply(accepted: int, status: int):
    error = "[{when: accepted == `0`, status: 500}, {status: 501, text: x}]"

    assert replied(Outcome(Code.INTERNAL, accepted=accepted), f"{{ok: {{}}, error: {error}}}").status == status


def test_partial_reply_lists_the_rejected_items():
    replies = (
        "{ok: {}, partial: {status: 207, json: {bad: rejected, code: error.c}}, error: {}, errors: {default: {c: 1}}}"
    )
    outcome = Outcome(Code.INTERNAL, Reason.PARTIAL, "m", 1, (RejectedItem(1, Reason.BAD_FIELD, "no", {"a": 1}),))

    response = replied(outcome, replies)

    bad = {"index": 1, "item": {"a": 1}, "reason": "BAD_FIELD", "message": "no"}
    assert (response.status, read_json(response.body)) == (207, {"bad": [bad], "code": 1})


def test_partial_without_a_shape_uses_the_error_shape():
    assert replied(Outcome(Code.UNAVAILABLE, Reason.PARTIAL, "m", 1)).status == 503


def test_reply_without_json_or_text_has_no_body():
    assert replied(Outcome(Code.OK), "{ok: {status: 204}, error: {}}") == Response(204)


@pytest.mark.parametrize(
    "ok",
    [
        pytest.param("{status: 99}", id="status out of range"),
        pytest.param("{status: 600}", id="status past the range"),
        pytest.param("{status: \"'200'\"}", id="status as text"),
        pytest.param("{status: body.nothing}", id="status null"),
        pytest.param("{json: length(accepted)}", id="failing expression"),
        pytest.param('{text: "{body}"}', id="map in text"),
        pytest.param("{when: '`false`'}", id="no shape holds"),
    ],
)
def test_failing_reply_becomes_an_internal_error_in_the_vendors_dialect(ok: str):
    error = "{status: 503, json: {why: error.words, details: message}}, errors: {INTERNAL: {words: broken}}"

    response = replied(Outcome(Code.OK, request_id="r1"), f"{{ok: {ok}, error: {error}}}")

    assert response.status == 503
    assert read_json(response.body) == {"why": "broken", "details": "the reply could not be built"}


def test_failing_error_reply_becomes_plain_json():
    response = replied(Outcome(Code.OK, request_id="r1"), "{ok: {status: 99}, error: {status: 99}}")

    assert response.status == 500
    assert response.headers == (("Content-Type", "application/json"), ("X-Request-Id", "r1"))
    assert read_json(response.body) == {
        "code": "INTERNAL",
        "reason": "INTERNAL",
        "message": "the reply could not be built",
        "request_id": "r1",
    }


@pytest.mark.parametrize("reason", Reason)
def test_provider_without_replies_sends_plain_json(reason: Reason):
    response = build_reply(None, failure(reason, "m"), NAMES)

    assert response == plain_reply(failure(reason, "m"))
    assert response.status == reason.code.status
    assert read_json(response.body) == {"code": reason.code, "reason": reason, "message": "m"}


@pytest.mark.parametrize(
    ("outcome", "header"),
    [
        pytest.param(Outcome(Code.OK, request_id="r1"), ("X-Request-Id", "r1"), id="request id"),
        pytest.param(failure(Reason.OVERLOADED, "m", retry_after_s=0.2), ("Retry-After", "1"), id="at least a second"),
        pytest.param(failure(Reason.OVERLOADED, "m", retry_after_s=7.4), ("Retry-After", "7"), id="retry after"),
        pytest.param(failure(Reason.STALE, "x\r\nSet-Cookie: a"), ("x-why", "x Set-Cookie: a"), id="no line break"),
    ],
)
def test_reply_carries_this_header(outcome: Outcome, header: tuple[str, str]):
    assert header in replied(outcome, '{ok: {}, error: {headers: {x-why: "{message}"}}}').headers


def test_success_has_no_retry_after():
    assert replied(Outcome(Code.OK, retry_after_s=5), "{ok: {}, error: {}}").headers == ()


@pytest.mark.parametrize(("status", "allowed"), [(405, ["GET, POST"]), (200, []), (404, [])])
def test_status_405_lists_the_methods_of_the_path(status: int, allowed: list[str]):
    outcome = replace(failure(Reason.WRONG_METHOD, "m"), allow=("GET", "POST"))

    headers = replied(outcome, f"{{ok: {{}}, error: {{status: {status}}}}}").headers

    assert [value for name, value in headers if name == "Allow"] == allowed


def test_content_type_of_a_shape_replaces_the_default():
    response = replied(Outcome(Code.OK), "{ok: {json: {}, headers: {Content-type: application/x}}, error: {}}")

    assert response.headers == (("Content-type", "application/x"),)
