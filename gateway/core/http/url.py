"""Base URLs, as routes and commands name them."""

import re
from urllib.parse import urlsplit

from gateway.core.http.request import PublicUrl

_PRINTABLE = re.compile("[!-~]+")  # what goes out in a request line without being encoded first


def address_of(scheme: str, host: str) -> str:
    """Return `host:port`, with the default port of the scheme if the host has none."""
    if host.rpartition(":")[2].isdigit():
        return host
    return f"{host}:{443 if scheme == 'https' else 80}"


def split_url(url: str) -> PublicUrl:
    """Split `http[s]://HOST[:PORT][/PREFIX]`. Raises ValueError, in words for a person, for anything else."""
    try:
        parts = urlsplit(url)
        sound = _PRINTABLE.fullmatch(url) is not None and parts.port != 0
    except ValueError:
        sound = False
    if not sound or parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("this is not a URL: write http://HOST[:PORT] or https://HOST[:PORT]")
    if parts.username is not None or parts.query or parts.fragment:
        raise ValueError("a base URL has neither user, query nor fragment")
    return PublicUrl(parts.scheme, parts.netloc, parts.path.rstrip("/"))
