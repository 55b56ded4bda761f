"""Base URLs of routes and commands."""

import re
from urllib.parse import urlsplit

from gateway.core.http.request import PublicUrl

_PRINTABLE = re.compile("[!-~]+")  # characters that a request line may contain unencoded


def address_of(scheme: str, host: str) -> str:
    """Return `host:port`, with the default port of the scheme if the host has none."""
    if host.rpartition(":")[2].isdigit():
        return host
    return f"{host}:{443 if scheme == 'https' else 80}"


def split_url(url: str) -> PublicUrl:
    """Split `http[s]://HOST[:PORT][/PREFIX]`. Raises ValueError with a message for the user."""
    try:
        parts = urlsplit(url)
        is_valid = _PRINTABLE.fullmatch(url) is not None and parts.port != 0
    except ValueError:
        is_valid = False
    if not is_valid or parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("this is not a URL: write http://HOST[:PORT] or https://HOST[:PORT]")
    if parts.username is not None or parts.query or parts.fragment:
        raise ValueError("a base URL has neither user, query nor fragment")
    return PublicUrl(parts.scheme, parts.netloc, parts.path.rstrip("/"))
