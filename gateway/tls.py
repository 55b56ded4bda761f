"""TLS contexts from PEM files, for the listener and for calls to upstreams.

No setting disables verification. `strict=False` accepts certificates that violate the profile of RFC 5280.
"""

import os
import ssl
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NoReturn

from gateway.core.vendor.route import TlsSettings
from gateway.files import read_regular_file

# The protocol of the listener and of calls.
PROTOCOLS = ("http/1.1",)
# The last one: the key and the certificate are of different kinds.
_MISMATCH = ("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH", "NO_CERTIFICATE_ASSIGNED")
# The CA bundle of a system has about 200 KiB.
MAX_BYTES = 4_194_304
# Errors of VERIFY_X509_STRICT only, X509_V_ERR_… in OpenSSL's x509_vfy.h: extensions that RFC 5280 requires.
_STRICT_CODES = frozenset({78, *range(80, 95)})
_STRICT_HINT = "; issue the certificate again with this extension, or set `tls: {strict: false}` on the target"


class BadPem(ValueError):
    """An unusable file. `part` is the setting that names it, `ca`, `cert` or `key`; `what` is the reason, without the
    path."""

    def __init__(self, part: str, file: Path, what: str) -> None:
        # A key that was set in place of its path must not be logged.
        super().__init__(f"{'the value' if '-----' in str(file) else file} {what}")
        self.part = part
        self.what = what


class _Encrypted(Exception):
    pass


@dataclass(frozen=True, slots=True)
class Pair:
    """The files of a certificate chain and of its key; without `key`, one file contains both."""

    cert: Path
    key: Path | None = None


def server_context(pair: Pair) -> ssl.SSLContext:
    """Return the context of a listener with this certificate. Raises BadPem."""
    return _restricted(ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), pair)


def client_context(ca: Path | None, pair: Pair | None = None, *, strict: bool = True) -> ssl.SSLContext:
    """Return the context of calls, which trusts `ca`, or else the system's CAs. `pair` is the client certificate.

    With `strict`, certificates must follow the profile of RFC 5280 on every version of Python; without it, they may
    lack extensions such as the Authority Key Identifier. The chain, the dates and the host name are always verified.
    Raises BadPem.
    """
    if ca is not None:
        _check_pem("ca", ca, "certificate")
    try:
        context = ssl.create_default_context(cafile=ca)
    except ssl.SSLError as error:
        assert ca is not None
        raise BadPem("ca", ca, f"cannot be used: {reason_of(error) if error.reason else 'it is damaged'}") from None
    # Both flags are the default since Python 3.13. A file may contain an intermediate certificate as trust anchor.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN | ssl.VERIFY_X509_STRICT
    if not strict:
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return _restricted(context, pair)


def _restricted(context: ssl.SSLContext, pair: Pair | None) -> ssl.SSLContext:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(PROTOCOLS)
    if pair is not None:
        _load_pair(context, pair)
    return context


def _load_pair(context: ssl.SSLContext, pair: Pair) -> None:
    part, key = ("cert", pair.cert) if pair.key is None else ("key", pair.key)
    _check_pem("cert", pair.cert, "certificate")
    _check_pem(part, key, "private key", " in PEM form" if pair.key else ", and no file with the key is named")

    def refuse() -> NoReturn:
        raise _Encrypted

    try:
        # Without a password callback, OpenSSL prompts at the terminal.
        context.load_cert_chain(pair.cert, pair.key, password=refuse)
    except _Encrypted:
        raise BadPem(part, key, "holds an encrypted key: write it without a passphrase") from None
    except ssl.SSLError as error:
        if error.reason in _MISMATCH:
            raise BadPem(part, key, "is not the key of the certificate") from None
        what = reason_of(error) if error.reason else "it or its key is damaged"
        raise BadPem("cert", pair.cert, f"cannot be used: {what}") from None
    except OSError as error:
        raise _unreadable("cert", pair.cert, error) from None


def _check_pem(part: str, file: Path, kind: str, hint: str = " in PEM form") -> None:
    """Raise BadPem if the file does not hold a `kind`, certificate or private key."""
    try:
        content = read_regular_file(file, MAX_BYTES)
    except (OSError, ValueError) as error:  # ValueError: a path with a null byte
        raise _unreadable(part, file, error) from None
    if f"{kind.upper()}-----".encode() not in content:
        raise BadPem(part, file, f"holds no {kind}{hint}")


def _unreadable(part: str, file: Path, error: Exception) -> BadPem:
    reason = os.strerror(error.errno).lower() if isinstance(error, OSError) and error.errno else str(error)
    return BadPem(part, file, f"cannot be read: {reason}")


@lru_cache(maxsize=256)
def target_context(settings: TlsSettings | None) -> ssl.SSLContext | None:
    """Return the context of calls to a target: the same one for equal settings. Raises BadPem.

    Loading a target makes its context, so later changes to the files have no effect before they are loaded. Connections
    belong to a context, and survive a reload that leaves the files unchanged.
    """
    if settings is None:
        return None
    pair = Pair(Path(settings.cert), Path(settings.key) if settings.key else None) if settings.cert else None
    return client_context(Path(settings.ca) if settings.ca else None, pair, strict=settings.strict)


def reason_of(error: ssl.SSLError) -> str:
    """Return OpenSSL's reason, which contains no data of the connection."""
    reason = (error.reason or "no reason").lower().replace("_", " ")
    if isinstance(error, ssl.SSLCertVerificationError) and error.verify_message:
        hint = _STRICT_HINT if error.verify_code in _STRICT_CODES else ""
        return f"{reason}: {error.verify_message.rstrip('.')}{hint}"
    return reason
