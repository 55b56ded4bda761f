"""Points routes at other URLs than their files name: at a stand-in, for a demonstration or a rehearsal."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from gateway.commands.arguments.options import fail, misuse
from gateway.core.http.request import PublicUrl
from gateway.core.http.url import split_url
from gateway.core.text import did_you_mean
from gateway.core.vendor.route import Route


def retarget(routes: Mapping[str, Route], pairs: Sequence[str]) -> dict[str, Route]:
    """Return the routes with the calls of each `ROUTE=URL` sent to that URL."""
    routes = dict(routes)
    for pair in pairs:
        name, equals, url = pair.partition("=")
        if not equals:
            misuse(f"--target: {pair!r} is not ROUTE=URL")
        if name not in routes:
            fail(f"--target: no route is named {name!r}; {did_you_mean(name, routes)}")
        base = base_url(url, "--target")
        route = routes[name]
        target = replace(route.target, scheme=base.scheme, host=base.host, base_path=base.prefix)
        routes[name] = replace(route, target=target)
    return routes


def base_url(url: str, option: str) -> PublicUrl:
    """Read a base URL from an option."""
    try:
        return split_url(url)
    except ValueError as error:
        misuse(f"{option}: {url!r}: {error}")
