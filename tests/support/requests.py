"""Requests as people paste them, from the vendors' own samples, and their credentials."""

from gateway.core.http.text import format_request
from tests.support.vectors import read_vectors, request_of

RECEIVER = read_vectors("tencent_receiver.json")
CLOCK = str(RECEIVER["now"])
CASES = {case["id"]: case for case in RECEIVER["cases"]}
POST, GET = CASES["seed-sample-post"], CASES["seed-sample-get"]

SESSION = read_vectors("zstack.json")["credentials"]["session_uuid"]
REPORT = format_request(request_of(read_vectors("zstack.json")["cases"][0]))
# What the shipped routes need.
ENVIRON = {
    "ZSTACK_SESSION": SESSION,
    "TENCENT_SECRET_ID": "an-id",
    "TENCENT_SECRET_KEY": "the-key-of-an-id",
    "HUAWEI_ACCESS_KEY": "another-id",
    "HUAWEI_SECRET_KEY": "the-key-of-another-id",
    "JD_KEY": "a-jd-key",
    "JD_SECRET": "the-key-of-a-jd-key",
    "SCP_KEY": "an-scp-key",
    "SCP_SECRET": "the-key-of-an-scp-key",
    "ZSTACK_PASSWORD": "a-password",
}


def raw(case: dict) -> bytes:
    return format_request(request_of(case))
