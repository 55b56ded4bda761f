"""What commands load."""

import pytest

from tests.support.terminal import run

WIRE = b"GET /v2/index.php?Namespace=pc HTTP/1.1\nHost: h\n\n"


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(("coverage", "tencent-receiver"), id="coverage"),
        pytest.param(
            (
                "sign",
                "tencent-receiver",
                "--request",
                "-",
                "--key",
                "an-id",
                "--secret",
                "bare",
                "--given",
                "region=sh",
            ),
            id="sign",
        ),
    ],
)
def test_commands_that_run_no_route_need_no_variables(arguments: tuple[str, ...]) -> None:
    assert run(*arguments, "--routes", "routes.d", stdin=WIRE).code == 0
