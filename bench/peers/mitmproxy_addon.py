"""The task of zstack-to-tencent as a mitmproxy addon, in reverse proxy mode. It shares the hand-written conversion."""

import hmac
import sys
from pathlib import Path

from mitmproxy import http

sys.path.insert(0, str(Path(__file__).parent))
from handwritten import SESSIONS, BadReportError, decode, dumps, loads, signed_body

JSON = {"content-type": "application/json"}


def failure(code: str, description: str, details: str) -> http.Response:
    error = {"error": {"code": code, "description": description, "details": details}}
    return http.Response.make(503, dumps(error), JSON)


def request(flow: http.HTTPFlow) -> None:
    scheme, _, session = flow.request.headers.get("authorization", "").partition(" ")
    if not any(scheme == "OAuth" and hmac.compare_digest(session.encode(), known) for known in SESSIONS):
        flow.response = failure("ID.1001", "session expired", "unknown session")
        return
    try:
        namespace, items = decode(loads(flow.request.content or b""))
    except (ValueError, BadReportError) as error:
        flow.response = failure("SYS.1007", "One or more API argument is invalid", str(error))
        return
    flow.request.path = "/v2/index.php"
    del flow.request.headers["authorization"]
    flow.request.content = signed_body(namespace, items)


def response(flow: http.HTTPFlow) -> None:
    if flow.response is None or flow.request.path != "/v2/index.php":
        return
    result = loads(flow.response.content or b"null")
    if flow.response.status_code == 200 and result.get("code") == 0:
        flow.response = http.Response.make(200, b"{}", JSON)
    else:
        flow.response = failure("SYS.1006", "An operation failed", str(result.get("message")))
