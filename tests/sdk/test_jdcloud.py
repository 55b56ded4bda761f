"""jdcloud_sdk as the client. It signs by JDCLOUD3; JDCLOUD2, of its releases up to 1.6.9, is held by vectors alone."""

import asyncio
from typing import Any

import pytest

from gateway.core.outcome.outcome import Reason
from tests.sdk.vendor import KEY, OTHER_SECRET, SECRET, Vendor, json_reply

pytestmark = pytest.mark.needs_package("jdcloud_sdk")

OK = json_reply(200, '{"requestId": "r-1", "result": {"success": true}}')
REFUSAL = json_reply(
    403, '{"requestId": "r-2", "error": {"status": "HTTP_UNAUTHORIZED", "code": 403, "message": "no"}}'
)
SCOPE = {"region": "jdcloud-api", "service": "monitor"}


def put_metric_data() -> Any:
    from jdcloud_sdk.services.monitor.apis.PutMetricDataRequest import PutMetricDataParameters, PutMetricDataRequest

    parameters = PutMetricDataParameters()
    parameters.setMetricDataList([{"namespace": "ns", "metric": "磁盘", "values": {"value": "1"}, "timestamp": 1}])
    return PutMetricDataRequest(parameters)


def describe_services() -> Any:
    from jdcloud_sdk.services.monitor.apis.DescribeServicesRequest import (
        DescribeServicesParameters,
        DescribeServicesRequest,
    )

    parameters = DescribeServicesParameters()
    parameters.setProductType("1 磁+盘/~*")
    parameters.setFilters([{"name": "serviceCodes", "values": ["vm", "b a"]}])
    return DescribeServicesRequest(parameters)


every_call = pytest.mark.parametrize("build", [put_metric_data, describe_services])


def send(address: str, build: Any, secret: str) -> Any:
    from jdcloud_sdk.core.config import Config
    from jdcloud_sdk.core.credential import Credential
    from jdcloud_sdk.core.logger import FATAL, Logger
    from jdcloud_sdk.services.monitor.client.MonitorClient import MonitorClient

    client = MonitorClient(Credential(KEY, secret), Config(address, "http", 5), Logger(FATAL))
    return client.send(build())


@every_call
async def test_its_call_is_accepted(build: Any) -> None:
    async with Vendor("jdcloud3", OK, REFUSAL, **SCOPE) as vendor:
        reply = await asyncio.to_thread(send, vendor.address, build, SECRET)

    assert reply.error is None
    assert reply.result == {"success": True}
    assert [verified.key for verified in vendor.verified] == [KEY]


@every_call
async def test_call_with_another_secret_is_rejected(build: Any) -> None:
    async with Vendor("jdcloud3", OK, REFUSAL, **SCOPE) as vendor:
        reply = await asyncio.to_thread(send, vendor.address, build, OTHER_SECRET)

    assert reply.error.code == 403
    assert vendor.refused == [Reason.BAD_SIGNATURE]
