"""tencentcloud-sdk-python-common as the client: TC3, and both ways of the older signature."""

import asyncio
from typing import Any

import pytest

from gateway.core.outcome.outcome import Reason
from tests.sdk.vendor import KEY, OTHER_SECRET, SECRET, Vendor, json_reply

pytestmark = pytest.mark.needs_package("tencentcloud")

OK = json_reply(200, '{"Response": {"RequestId": "r-1"}}')
REFUSAL = json_reply(
    200,
    '{"Response": {"Error": {"Code": "AuthFailure.SignatureFailure", "Message": "no"}, "RequestId": "r-2"}}',
)
METRICS = {"Metrics": [{"MetricName": "disk_usage", "Value": 1.5}], "AnnounceIp": "10.0.0.1", "Note": "磁盘 a+b/c~*"}

every_way = pytest.mark.parametrize(
    ("method", "signing", "recipe"),
    [
        pytest.param(method, signing, recipe, id=f"{signing}-{method}")
        for method in ("GET", "POST")
        for signing, recipe in (
            ("TC3-HMAC-SHA256", "tencent-tc3"),
            ("HmacSHA1", "tencent-v1"),
            ("HmacSHA256", "tencent-v1-sha256"),
        )
    ],
)


def put_monitor_data(address: str, method: str, signing: str, secret: str) -> Any:
    from tencentcloud.common.common_client import CommonClient
    from tencentcloud.common.credential import Credential
    from tencentcloud.common.profile.client_profile import ClientProfile
    from tencentcloud.common.profile.http_profile import HttpProfile

    http = HttpProfile(protocol="http", endpoint=address, reqMethod=method, reqTimeout=5)
    profile = ClientProfile(signMethod=signing, httpProfile=http)
    client = CommonClient("monitor", "2018-07-24", Credential(KEY, secret), "ap-guangzhou", profile)
    return client.call_json("PutMonitorData", METRICS)


@every_way
async def test_its_call_is_accepted(method: str, signing: str, recipe: str) -> None:
    async with Vendor(recipe, OK, REFUSAL) as vendor:
        reply = await asyncio.to_thread(put_monitor_data, vendor.address, method, signing, SECRET)

    assert reply == {"Response": {"RequestId": "r-1"}}
    assert [verified.key for verified in vendor.verified] == [KEY]


@every_way
async def test_call_with_another_secret_is_rejected(method: str, signing: str, recipe: str) -> None:
    from tencentcloud.common.exception.tencent_cloud_sdk_exception import TencentCloudSDKException

    async with Vendor(recipe, OK, REFUSAL) as vendor:
        with pytest.raises(TencentCloudSDKException, match=r"AuthFailure\.SignatureFailure"):
            await asyncio.to_thread(put_monitor_data, vendor.address, method, signing, OTHER_SECRET)

    assert vendor.refused == [Reason.BAD_SIGNATURE]
