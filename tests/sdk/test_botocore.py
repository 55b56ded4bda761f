"""botocore as the client: CloudWatch's PutMetricData by Signature Version 4."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from gateway.core.outcome.outcome import Reason
from tests.sdk.vendor import KEY, OTHER_SECRET, SECRET, Vendor, json_reply

pytestmark = pytest.mark.needs_package("botocore")

SCOPE = {"region": "eu-west-1", "service": "monitoring"}
OK = json_reply(200, "{}")
REFUSAL = json_reply(403, '{"__type": "SignatureDoesNotMatch", "message": "no"}')


def put_metric_data(url: str, secret: str, token: str | None = None, count: int = 1) -> Any:
    from botocore.config import Config
    from botocore.session import Session

    client = Session().create_client(
        "cloudwatch",
        "eu-west-1",
        endpoint_url=url,
        aws_access_key_id=KEY,
        aws_secret_access_key=secret,
        aws_session_token=token,
        config=Config(retries={"total_max_attempts": 1}, connect_timeout=5, read_timeout=5),
    )
    try:
        metric = {"MetricName": "disk 磁盘", "Value": 1.5, "Timestamp": datetime.now(UTC), "Unit": "Count"}
        return client.put_metric_data(Namespace="a b/ü", MetricData=[metric] * count)
    finally:
        client.close()


every_call = pytest.mark.parametrize(
    ("token", "count"),
    # From 10 KiB on, the body is compressed before it is signed.
    [
        pytest.param(None, 1, id="plain"),
        pytest.param("a+session/token==", 1, id="token"),
        pytest.param(None, 400, id="gzip"),
    ],
)


@every_call
async def test_its_call_is_accepted(token: str | None, count: int) -> None:
    async with Vendor("aws-sigv4", OK, REFUSAL, **SCOPE) as vendor:
        reply = await asyncio.to_thread(put_metric_data, vendor.url, SECRET, token, count)

    assert reply["ResponseMetadata"]["HTTPStatusCode"] == 200
    assert [(verified.key, verified.slots.get("token")) for verified in vendor.verified] == [(KEY, token)]


@every_call
async def test_call_with_another_secret_is_rejected(token: str | None, count: int) -> None:
    from botocore.exceptions import ClientError

    async with Vendor("aws-sigv4", OK, REFUSAL, **SCOPE) as vendor:
        with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
            await asyncio.to_thread(put_metric_data, vendor.url, OTHER_SECRET, token, count)

    assert vendor.refused == [Reason.BAD_SIGNATURE]


async def test_call_for_another_region_is_rejected() -> None:
    from botocore.exceptions import ClientError

    async with Vendor("aws-sigv4", OK, REFUSAL, region="us-east-1") as vendor:
        with pytest.raises(ClientError):
            await asyncio.to_thread(put_metric_data, vendor.url, SECRET)

    assert vendor.refused == [Reason.BAD_CREDENTIALS]
