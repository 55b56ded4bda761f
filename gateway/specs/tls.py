"""The keys of a target's `tls`. Paths are read from the folder of the file that names them."""

from dataclasses import dataclass
from pathlib import Path

from gateway.core.http.request import PublicUrl
from gateway.core.vendor.route import TlsSettings
from gateway.file_fingerprint import fingerprint
from gateway.specs.binding import types as t
from gateway.specs.binding.place import Place
from gateway.specs.binding.table import Key, Table
from gateway.specs.yaml.document import Document
from gateway.tls import BadPem, target_context


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


def build_tls(keys: TlsKeys, url: PublicUrl) -> TlsSettings | None:
    """Return the settings of the target's calls, or None if they cannot be used, which is reported."""
    document = keys.at.scope.document
    if url.scheme != "https":
        document.environmental(keys.at.path, "calls to a URL of http:// are never encrypted", "write https://")
        return None
    if keys.cert is None and keys.key is not None:
        keys.at.error("a key without its certificate", "add `cert:`", "key")
        return None
    files = [_file(document, named) for named in (keys.ca, keys.cert, keys.key)]
    fingerprints = tuple(document.files[file] for file in files if file is not None)
    ca, cert, key = (None if file is None else str(file) for file in files)
    settings = TlsSettings(ca, cert, key, keys.strict, fingerprints)
    try:
        target_context(settings)
    except BadPem as error:
        path = (*keys.at.path, error.part)
        document.environmental(path, f"{document.written(path)!r} {error.what}")
        return None
    return settings


def _file(document: Document, named: str | None) -> Path | None:
    if named is None:
        return None
    file = Path(document.node.mark.file).parent / named
    document.files[file] = fingerprint(file)
    return file
