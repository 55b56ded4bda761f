from dataclasses import replace
from typing import Any

import pytest

from gateway.core.http.request import PublicUrl, Secret
from gateway.core.recipe.keyring import Credential
from tests.support.specs import stand_in

TARGET = replace(
    stand_in("provider: acme\nsend: {item: metric, request: {method: POST, path: /, json: items}}").target,
    url=PublicUrl("https", "h:1", "/base"),
    credential=Credential(Secret("a secret"), "a key"),
)


@pytest.mark.parametrize(
    "other",
    [
        {"url": PublicUrl("http", "h:1", "/base")},
        {"url": PublicUrl("https", "h:2", "/base")},
        {"url": PublicUrl("https", "h:1", "")},
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
