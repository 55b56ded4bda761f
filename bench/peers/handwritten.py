"""The conversion of zstack-to-tencent, written by hand; shared by the peers in Python."""

import base64
import hashlib
import hmac
import json
import math
import os
import random
import sys
import time

SESSIONS = [os.environ["ZSTACK_SESSION"].encode()]
SECRET_ID = os.environ["TENCENT_SECRET_ID"]
SECRET_KEY = os.environ["TENCENT_SECRET_KEY"].encode()
REGION = os.environ.get("TENCENT_REGION", "sh")

loads, dumps = json.loads, lambda value: json.dumps(value, separators=(",", ":")).encode()
if "orjson" in sys.argv[3:]:
    import orjson

    loads, dumps = orjson.loads, orjson.dumps


class BadReportError(Exception):
    """The reporter's error."""


def decode(report: object) -> tuple[str, list[dict[str, object]]]:
    params = report.get("params") if isinstance(report, dict) else None
    data = params.get("data") if isinstance(params, dict) else None
    if not isinstance(data, list) or not data:
        raise BadReportError("params.data is missing")
    namespace = params.get("namespace")
    if not isinstance(namespace, str) or not namespace or len(namespace) > 255 or namespace.startswith("ZStack"):
        raise BadReportError("namespace is missing or reserved")
    now_ms = time.time() * 1000
    items = []
    for index, datum in enumerate(data):
        metric, value, labels = datum.get("metricName"), datum.get("value"), datum.get("labels")
        if not isinstance(metric, str) or not metric:
            raise BadReportError(f"item {index}: metricName is missing")
        if isinstance(value, bool) or not isinstance(value, int | float):
            try:
                value = float(value)
            except (TypeError, ValueError):
                raise BadReportError(f"item {index}: value is not a number") from None
        if not math.isfinite(value):
            raise BadReportError(f"item {index}: value is not a finite number")
        if not isinstance(labels, dict) or not labels:
            raise BadReportError(f"item {index}: labels is missing")
        if now_ms - datum.get("time", now_ms) > 300_000:
            raise BadReportError(f"item {index}: too old")
        dimensions = {name: text if isinstance(text, str) else str(text) for name, text in labels.items()}
        items.append({"dimensions": dimensions, "metricName": metric, "value": value})
    return namespace, items


def signed_body(namespace: str, items: list[dict[str, object]]) -> bytes:
    nonce, now = random.randint(1, 2147483647), int(time.time())
    signed = f"Action=PutMonitorData&Nonce={nonce}&Region={REGION}&SecretId={SECRET_ID}&Timestamp={now}"
    text = f"POSTreceiver.monitor.tencentyun.com/v2/index.php?{signed}"
    signature = base64.b64encode(hmac.new(SECRET_KEY, text.encode(), hashlib.sha1).digest()).decode()
    return dumps(
        {
            "Action": "PutMonitorData",
            "Namespace": namespace,
            "Data": items,
            "SecretId": SECRET_ID,
            "Region": REGION,
            "Timestamp": now,
            "Nonce": nonce,
            "Signature": signature,
        }
    )
