"""Points routes at other URLs than their files name: at a stand-in, for a demonstration or a rehearsal."""

import re
from collections.abc import Sequence
from dataclasses import replace
from urllib.parse import urlsplit

from gateway.commands.options import fail, misuse
from gateway.core.route import Snapshot, make_snapshot
from gateway.core.suggest import nearest

_PRINTABLE = re.compile(r"[!-~]+")


def retarget(snapshot: Snapshot, pairs: Sequence[str]) -> Snapshot:
    """Return the snapshot with the calls of each `ROUTE=URL` sent to that URL."""
    routes = {route.name: route for route in snapshot.routes}
    for pair in pairs:
        name, equals, url = pair.partition("=")
        if not equals:
            misuse(f"--target: {pair!r} is not ROUTE=URL")
        if name not in routes:
            fail(f"--target: no route is named {name!r}; {nearest(name, routes)}")
        scheme, host, base_path = split_url(url, "--target")
        route = routes[name]
        target = replace(route.target, scheme=scheme, host=host, base_path=base_path)
        routes[name] = replace(route, target=target)
    return make_snapshot(list(routes.values()))


def split_url(url: str, option: str) -> tuple[str, str, str]:
    """Return scheme, host with port, and the path without its last slash."""
    try:
        parts = urlsplit(url)
        sound = _PRINTABLE.fullmatch(url) is not None and parts.port != 0
    except ValueError:
        sound = False
    if not sound or parts.scheme not in ("http", "https") or not parts.hostname:
        misuse(f"{option}: {url!r} is not http://HOST[:PORT] or https://HOST[:PORT]")
    if parts.username is not None or parts.query or parts.fragment:
        misuse(f"{option}: a base URL has neither user, query nor fragment")
    return parts.scheme, parts.netloc, parts.path.rstrip("/")
