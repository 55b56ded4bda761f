"""Points routes at other URLs than their files name: at a stand-in, for a demonstration or a rehearsal."""

from collections.abc import Sequence
from dataclasses import replace
from urllib.parse import urlsplit

from gateway.commands.options import fail
from gateway.core.route import Snapshot, make_snapshot
from gateway.core.suggest import nearest


def retarget(snapshot: Snapshot, pairs: Sequence[str]) -> Snapshot:
    """Return the snapshot with the calls of each `ROUTE=URL` sent to that URL."""
    routes = {route.name: route for route in snapshot.routes}
    for pair in pairs:
        name, equals, url = pair.partition("=")
        if not equals:
            fail(f"--target: {pair!r} is not ROUTE=URL")
        if name not in routes:
            fail(f"--target: no route is named {name!r}; {nearest(name, routes)}")
        scheme, host, base_path = split_url(url, "--target")
        route = routes[name]
        target = replace(route.target, scheme=scheme, host=host, base_path=base_path)
        routes[name] = replace(route, target=target)
    return make_snapshot(list(routes.values()))


def split_url(url: str, option: str) -> tuple[str, str, str]:
    """Return scheme, host with port, and the path without its last slash."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        fail(f"{option}: {url!r} is not http://HOST[:PORT] or https://HOST[:PORT]")
    return parts.scheme, parts.netloc, parts.path.rstrip("/")
