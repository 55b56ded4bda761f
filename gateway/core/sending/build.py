"""Build one unsigned request from a call form."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from gateway.core.expression import EvaluationError
from gateway.core.http.json import write_scalar
from gateway.core.http.request import PublicUrl
from gateway.core.http.unsigned import UnsignedRequest
from gateway.core.vendor.provider import CallForm


def build_request(form: CallForm, url: PublicUrl, names: Mapping[str, Any]) -> UnsignedRequest:
    """Evaluate the form's expressions with `names`. Raises EvaluationError or ValueError."""
    headers = tuple((name, value) for name, text in form.headers if (value := text(names)) is not None)
    query = _parameters(form.query(names)) if form.query is not None else ()
    path = url.prefix + (form.path(names) or "/")
    request = UnsignedRequest(form.method, url.scheme, url.host, path, query, headers)
    if form.json is not None:
        return replace(request, body_kind="json", body=form.json(names))
    if form.form is not None:
        return replace(request, body_kind="form", body=_parameters(form.form(names)))
    if form.text is not None:
        return replace(request, body_kind="text", body=form.text(names) or "")
    return request


def _parameters(values: Any) -> tuple[tuple[str, str], ...]:
    if not isinstance(values, dict):
        raise ValueError("parameters are not a map")
    parameters = []
    for name, value in values.items():
        text = write_scalar(value)
        if text is not None:
            parameters.append((name, text))
        elif value is not None:
            raise EvaluationError(f"the parameter {name}", f"the parameter {name} is not text")
    return tuple(parameters)


class BadSegment(EvaluationError):
    """A value that cannot be one segment of a path."""


def path_segment(value: str) -> str:
    """Percent-encode a value as one path segment (RFC 3986, section 3.3). Raises BadSegment for `.`, `..` and ""."""
    if value in ("", ".", ".."):
        raise BadSegment("the path", f"{value!r} cannot be a segment of the path")
    try:
        return quote(value, safe="")
    except UnicodeEncodeError:
        raise BadSegment("the path", "a segment of the path is not UTF-8") from None
