"""The keys of a target's `tls`. Paths are read from the folder of the file that names them."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from ssl import SSLContext

from gateway.core.http.request import PublicUrl
from gateway.file_fingerprint import Fingerprint, fingerprint
from gateway.specs.binding import types as t
from gateway.specs.binding.place import Place
from gateway.specs.binding.table import Key, Table
from gateway.specs.yaml.document import Document
from gateway.tls import BadPem, Pair, client_context


@dataclass(frozen=True, slots=True)
class TlsKeys:
    at: Place
    ca: str | None = None
    cert: str | None = None
    key: str | None = None
    strict: bool = True


TLS = Table(
    "tls",
    TlsKeys,
    Key("ca", t.NOT_EMPTY, "the trusted CAs, instead of those of the system"),
    Key("cert", t.NOT_EMPTY, "the client certificate with its chain, for upstreams that request one"),
    Key("key", t.NOT_EMPTY, "its key, without a passphrase, unless `cert` contains it"),
    Key("strict", t.BOOLEAN, "`true` requires certificates that follow RFC 5280"),
)


def build_tls(keys: TlsKeys, url: PublicUrl) -> SSLContext | None:
    """Return the context of the target's calls, or None when it cannot be made, which is reported."""
    document = keys.at.scope.document
    if url.scheme != "https":
        document.environmental(keys.at.path, "calls to a URL of http:// are never encrypted", "write https://")
        return None
    if keys.cert is None and keys.key is not None:
        keys.at.error("a key without its certificate", "add `cert:`", "key")
        return None
    ca, cert, key = (_file(document, named) for named in (keys.ca, keys.cert, keys.key))
    fingerprints = tuple(document.files[file] for file in (ca, cert, key) if file is not None)
    try:
        return _context(ca, None if cert is None else Pair(cert, key), keys.strict, fingerprints)
    except BadPem as error:
        path = (*keys.at.path, error.part)
        document.environmental(path, f"{document.written(path)!r} {error.what}")
        return None


def _file(document: Document, named: str | None) -> Path | None:
    if named is None:
        return None
    file = Path(document.node.mark.file).parent / named
    document.files[file] = fingerprint(file)
    return file


@lru_cache(maxsize=256)
def _context(ca: Path | None, pair: Pair | None, strict: bool, fingerprints: tuple[Fingerprint, ...]) -> SSLContext:
    """Return the same context while the files stay the same: connections survive a reload."""
    return client_context(ca, pair, strict=strict)
