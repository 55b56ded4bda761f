from dataclasses import replace
from typing import Any

import pytest

from gateway.core.http.request import PublicUrl, Secret
from gateway.core.recipe.keyring import Credential
from tests.support.specs import stand_in

TARGET = replace(
    stand_in("provider: acme\nsend: {item: metric, request: {method: POST, path: /, json: items}}").target,
    scheme="https",
    host="h:1",
    base_path="/base",
    credential=Credential(Secret("a secret"), "a key"),
)


def test_target_has_the_base_url_of_its_calls():
    assert TARGET.url == PublicUrl("https", "h:1", "/base")


@pytest.mark.parametrize(
    "other",
    [
        {"scheme": "http"},
        {"host": "h:2"},
        {"base_path": ""},
        {"credential": Credential(Secret("a secret"), "another key")},
        {"credential": Credential(Secret("another secret"), "a key")},
        {"credential": None},
    ],
    ids=str,
)
def test_different_url_or_credential_is_a_different_account(other: dict[str, Any]):
    assert replace(TARGET, **other).account != TARGET.account


def test_account_shows_no_secret():
    assert "a secret" not in str(TARGET.account)
