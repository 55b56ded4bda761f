"""Changes to a call that its signature must detect."""

from collections.abc import Iterator

from hypothesis import strategies as st

from gateway.core.recipe.canonical import PairsStep
from gateway.core.recipe.dataflow import signed_names
from gateway.core.recipe.model import Recipe, names_read_by
from gateway.core.recipe.slots import ChosenSlot, DerivedSlot
from tests.core.recipe.samples import Call

# Not a hexadecimal digit: inside a percent-encoding it breaks the encoding.
LETTER = "q"


def changed_calls(call: Call) -> st.SearchStrategy[Call]:
    """Draw the call with one change to a part that is signed or that the recipe fixes."""
    return st.one_of(*_changes(call))


def _changes(call: Call) -> Iterator[st.SearchStrategy[Call]]:
    request, covered = call.request, call.recipe.signed
    if "method" in covered:
        others = st.sampled_from(["GET", "POST", "PATCH"]).filter(lambda method: method != request.method)
        yield others.map(lambda method: call.changed(method=method))
    if "scheme" in covered:
        yield st.just(call.changed(scheme="https" if request.scheme == "http" else "http"))
    if "path" in covered:
        yield _changed_path(call)
    if "query" in covered:
        yield _changed_parameters(request.query).map(lambda query: call.changed(target=f"{request.path}?{query}"))
    if covers_bytes(call.recipe):
        yield st.binary(max_size=20).filter(lambda body: body != request.body).map(lambda body: call.changed(body=body))
        yield _with_letter(request.body.decode("latin-1")).map(lambda text: call.changed(body=text.encode("latin-1")))
    elif "form" in covered and call.body_kind == "form":
        yield _changed_parameters(request.body.decode()).map(lambda form: call.changed(body=form.encode()))
    for name in sorted(_covered_headers(call)):
        value = request.header(name) or ""
        yield _with_letter(value).map(lambda text, name=name: call.with_header(name, text))
        yield st.just(call.with_header(name, value, LETTER))
        if value:
            yield st.just(call.with_header(name))


def _changed_path(call: Call) -> st.SearchStrategy[Call]:
    path, query = call.request.path, call.request.target.removeprefix(call.request.path)
    # A segment before a `..` has no meaning, so only the last one is changed then.
    changed = st.just(path + LETTER) if "." in path else _with_letter(path, at_least=1)
    return changed.map(lambda path: call.changed(target=path + query))


def _changed_parameters(text: str) -> st.SearchStrategy[str]:
    # Schemes differ in whether they sign a parameter without a name or without an equals sign.
    parts = text.split("&") if text else []
    bound = [index for index, part in enumerate(parts) if "=" in part[1:]]

    def put(index: int, *part: str) -> str:
        return "&".join([*parts[:index], *part, *parts[index + 1 :]])

    strategies = [st.just("&".join([*parts, f"{LETTER}={LETTER}"]))]
    for index in bound:
        strategies.append(st.just(put(index)))
        strategies.append(_with_letter(parts[index]).map(lambda part, index=index: put(index, part)))
    return st.one_of(*strategies)


def _covered_headers(call: Call) -> set[str]:
    """Return the present headers that are signed, and those whose value the recipe fixes."""
    lists = [slot for slot in call.recipe.slots.values() if isinstance(slot, ChosenSlot)]
    names = {name.strip().lower() for slot in lists for name in call.slots[slot.name].split(slot.sep)}
    for step in call.recipe.steps.values():
        if isinstance(step, PairsStep):
            names |= set(step.choose.choose(call.message.request.header_index))
    names |= {part.removeprefix("header.") for part in call.recipe.signed if part.startswith("header.")}
    flowing = signed_names(call.recipe.slots, call.recipe.steps)
    for carrier in call.recipe.carriers:
        computed = any(isinstance(call.recipe.slots[name], DerivedSlot) for name in carrier.slots)
        if carrier.place == "header" and (computed or not carrier.slots or carrier.slots & flowing):
            names.add(carrier.name.lower())
    return {name for name in names if call.request.header(name) is not None}


def covers_bytes(recipe: Recipe) -> bool:
    """True if the body is signed byte for byte, directly or through a digest in a header."""
    digests = {
        name
        for name, slot in recipe.slots.items()
        if isinstance(slot, DerivedSlot) and "body" in names_read_by(slot.of.names, recipe.slots, recipe.steps)
    }
    in_signed_header = any(
        f"{carrier.place}.{carrier.name}" in recipe.signed and carrier.slots & digests for carrier in recipe.carriers
    )
    return in_signed_header or "body" in signed_names(recipe.slots, recipe.steps)


def _with_letter(text: str, at_least: int = 0) -> st.SearchStrategy[str]:
    places = st.integers(at_least, len(text))
    return places.map(lambda at: text[:at] + LETTER + text[at:])


# Bytes that are not UTF-8 are lone surrogates in text.
_ANYTHING = st.sampled_from(
    [*'\0\t\r\n "%&+,/:;=?٣é', *["\udcff"] * 5, "%zz", "%ff", "%00", "..", "//", "\xa0", "{", "}"]
)
_WITHIN = st.integers(0, 2**16)


@st.composite
def garbled(draw: st.DrawFn, call: Call) -> Call:
    """Draw the call with random damage."""
    request = call.request
    part = draw(st.sampled_from(["method", "path", "query", "header", "header", "name", "more", "less", "body"]))
    if part == "method":
        return call.changed(method=draw(_garbled_text(request.method)))
    if part == "path":
        return call.changed(target=f"/{draw(_garbled_text(request.path[1:]))}?{request.query}")
    if part == "query":
        return call.changed(target=f"{request.path}?{draw(_garbled_text(request.query))}")
    if part == "body":
        text = draw(_garbled_text(request.body.decode("utf-8", "surrogateescape")))
        body = draw(st.sampled_from([text, text, text * 2, "[]", "{}", "null", '{"SecretId": 1e5, "Nonce": [1]}', ""]))
        return call.changed(body=body.encode("utf-8", "surrogateescape"))
    at = draw(_WITHIN) % len(request.headers)
    name, value = request.headers[at]
    before, after = request.headers[:at], request.headers[at + 1 :]
    if part == "less":
        return call.changed(headers=before + after)
    if part == "more":
        extra = draw(st.sampled_from(["Content-Encoding", "Content-Type", "Host", name]))
        return call.changed(headers=(*request.headers, (extra, draw(st.sampled_from(["gzip", "", value])))))
    name = draw(_garbled_text(name)) if part == "name" else name
    return call.changed(headers=(*before, (name, draw(_garbled_text(value)) if part == "header" else value), *after))


@st.composite
def _garbled_text(draw: st.DrawFn, text: str) -> str:
    start = draw(_WITHIN) % (len(text) + 1)
    end = draw(st.sampled_from([start, start, start + 1, start + 5, len(text)]))
    middle = draw(st.one_of(_ANYTHING, _ANYTHING, st.just(text[start:end] * 2)))
    return text[:start] + middle + text[end:]
