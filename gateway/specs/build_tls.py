"""From a target's `tls` to the context of its calls. Paths are read from the folder of the file that names them."""

from pathlib import Path
from ssl import SSLContext

from gateway.core.expression.compiler import KeyPath
from gateway.core.model import PublicUrl
from gateway.specs.document import Document
from gateway.specs.models import TlsSpec
from gateway.tls import BadPem, Pair, client_context

AT: KeyPath = ("send", "tls")


def build_tls(document: Document, spec: TlsSpec, url: PublicUrl) -> SSLContext | None:
    """Return the context, or None where there is none to be had, which is reported."""
    if url.scheme != "https":
        document.environmental(AT, "calls to a URL of http:// are never encrypted", "write https://")
        return None
    if spec.cert is None and spec.key is not None:
        document.error((*AT, "key"), "a key without its certificate", "add `cert:`")
        return None
    folder = Path(document.node.mark.file).parent
    pair = None if spec.cert is None else Pair(folder / spec.cert, None if spec.key is None else folder / spec.key)
    try:
        return client_context(None if spec.ca is None else folder / spec.ca, pair)
    except BadPem as error:
        at = (*AT, error.part)
        document.environmental(at, f"{document.written(at)} {error.what}")
        return None
