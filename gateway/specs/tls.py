"""From a target's `tls` to the context of its calls. Paths are read from the folder of the file that names them."""

from functools import lru_cache
from pathlib import Path
from ssl import SSLContext

from gateway.core.expression.compiler import KeyPath
from gateway.core.http.request import PublicUrl
from gateway.file_fingerprint import Fingerprint, fingerprint
from gateway.specs.schema.models import TlsSpec
from gateway.specs.yaml.document import Document
from gateway.tls import BadPem, Pair, client_context


def build_tls(document: Document, spec: TlsSpec, url: PublicUrl, place: KeyPath) -> SSLContext | None:
    """Return the context, or None where there is none to be had, which is reported."""
    if url.scheme != "https":
        document.environmental(place, "calls to a URL of http:// are never encrypted", "write https://")
        return None
    if spec.cert is None and spec.key is not None:
        document.error((*place, "key"), "a key without its certificate", "add `cert:`")
        return None
    ca, cert, key = (_file(document, named) for named in (spec.ca, spec.cert, spec.key))
    fingerprints = tuple(document.files[file] for file in (ca, cert, key) if file is not None)
    try:
        return _context(ca, None if cert is None else Pair(cert, key), spec.strict, fingerprints)
    except BadPem as error:
        at = (*place, error.part)
        document.environmental(at, f"{document.written(at)} {error.what}")
        return None


def written_tls(document: Document, spec: TlsSpec, place: KeyPath) -> dict[str, str]:
    """Return the keys that differ from their defaults, with their values as written."""
    names = [name for name, key in TlsSpec.model_fields.items() if getattr(spec, name) != key.default]
    return {name: document.written((*place, name)).strip("'") for name in names}


def _file(document: Document, named: str | None) -> Path | None:
    if named is None:
        return None
    file = Path(document.node.mark.file).parent / named
    document.files[file] = fingerprint(file)
    return file


@lru_cache(maxsize=256)
def _context(ca: Path | None, pair: Pair | None, strict: bool, fingerprints: tuple[Fingerprint, ...]) -> SSLContext:
    """Return the same context while the files stay the same: connections to a target outlive a reload then."""
    return client_context(ca, pair, strict=strict)
