"""huaweicloudsdkcore as the client: its signer and its HTTP client, with the call that no package of theirs has."""

import asyncio
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest

from gateway.core.http.request import Response
from gateway.core.outcome.outcome import Reason
from tests.sdk.vendor import KEY, OTHER_SECRET, SECRET, Vendor, json_reply

pytestmark = pytest.mark.needs_package("huaweicloudsdkcore")

OK = Response(200, (("Content-Type", "text/plain"),), b"upload ok")
REFUSAL = json_reply(401, '{"error_code": "APIG.0301", "error_msg": "verify aksk signature fail", "request_id": "r-2"}')
METRIC = {"name": "磁盘", "instance": "i-1", "cpu": 0.5}

every_way = pytest.mark.parametrize("recipe", ["huawei-sdk-hmac-sha256", "huawei-v11"])
every_call = pytest.mark.parametrize(
    ("method", "body", "query"),
    [
        ("POST", METRIC, []),
        ("POST", METRIC, [("service", "a b+c/~*磁"), ("all", True)]),
        ("GET", None, [("b", 2), ("a", 1)]),
    ],
    ids=["POST", "POST-with-a-query", "GET"],
)


def client_of(url: str, recipe: str, secret: str) -> Any:
    from huaweicloudsdkcore.auth.credentials import BasicCredentials
    from huaweicloudsdkcore.client import Client, ClientBuilder
    from huaweicloudsdkcore.region.region import Region
    from huaweicloudsdkcore.sdk_response import SdkResponse

    class Reply(SdkResponse):
        openapi_types: ClassVar[dict[str, str]] = {}
        attribute_map: ClassVar[dict[str, str]] = {}

    class ServiceClient(Client):
        def __init__(self) -> None:
            super().__init__()
            self.model_package = SimpleNamespace(Reply=Reply)

    credentials = BasicCredentials(KEY, secret, "default")
    credentials.with_derived_predicate(lambda request: recipe == "huawei-v11")
    builder = ClientBuilder(ServiceClient).with_credentials(credentials).with_region(Region("cn-north-4", url))
    return builder._with_derived_auth_service_name("cse").build()


def call(url: str, recipe: str, secret: str, method: str, body: Any, query: list[Any]) -> Any:
    client = client_of(url, recipe, secret)
    try:
        return client.do_http_request(
            method,
            "/v2/{project_id}/csemonitor/metric",
            header_params={"x-domain-name": "d 1", "Content-Type": "application/json", "x_user": "u"},
            query_params=query,
            body=body,
            response_type="Reply",
        )
    finally:
        client.close()


@every_way
@every_call
async def test_its_call_is_accepted(recipe: str, method: str, body: Any, query: list[Any]) -> None:
    async with Vendor(recipe, OK, REFUSAL) as vendor:
        reply = await asyncio.to_thread(call, vendor.url, recipe, SECRET, method, body, query)

    assert (reply.status_code, reply.raw_content) == (200, b"upload ok")
    assert [verified.key for verified in vendor.verified] == [KEY]


@every_way
@every_call
async def test_call_with_another_secret_is_rejected(recipe: str, method: str, body: Any, query: list[Any]) -> None:
    from huaweicloudsdkcore.exceptions.exceptions import ClientRequestException

    async with Vendor(recipe, OK, REFUSAL) as vendor:
        with pytest.raises(ClientRequestException, match=r"APIG\.0301"):
            await asyncio.to_thread(call, vendor.url, recipe, OTHER_SECRET, method, body, query)

    assert vendor.refused == [Reason.BAD_SIGNATURE]
