"""A running gateway for the tests of this package."""

from collections.abc import AsyncIterator

import pytest

from tests.support.gateway import Running, running


@pytest.fixture
async def gateway() -> AsyncIterator[Running]:
    """The shipped route, and an upstream that takes everything."""
    async with running() as gateway:
        yield gateway
