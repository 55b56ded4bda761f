import pytest

from gateway.core.http.request import Request
from gateway.core.http.text import format_request, length_warnings, parse_request

POST = Request("POST", "/p?q=1", (("Host", "h"), ("X-A", "b: c")), b"body\n\nmore\n")


@pytest.mark.parametrize(
    ("data", "request_"),
    [
        pytest.param(b"POST /p?q=1 HTTP/1.1\r\nHost: h\r\nX-A: b: c\r\n\r\nbody\n\nmore\n", POST, id="CR LF"),
        pytest.param(b"POST /p?q=1 HTTP/1.1\nHost:h\nX-A: b: c \t\n\nbody\n\nmore\n", POST, id="LF"),
        pytest.param(b"\n\nPOST /p?q=1\nHost: h\nX-A: b: c\n\nbody\n\nmore\n", POST, id="without a version"),
        pytest.param(b"GET /p HTTP/1.0\n\n", Request("GET", "/p"), id="no header"),
        pytest.param(b"GET /p HTTP/2\n\n", Request("GET", "/p"), id="as browsers copy it"),
        pytest.param(b"GET /p HTTP/1.1\n\n\n", Request("GET", "/p", (), b"\n"), id="every byte after it is body"),
        pytest.param(b"GET http://h:1/p?q HTTP/1.1\n\n", Request("GET", "/p?q"), id="absolute form"),
        pytest.param(b"GET http://h?q HTTP/1.1\n\n", Request("GET", "/?q"), id="absolute form without a path"),
        pytest.param(b"GET / HTTP/1.1\nA: \xc3\xa4\xff\n\n", Request("GET", "/", (("A", "ä\udcff"),)), id="any bytes"),
        pytest.param(
            b"GET / HTTP/1.1\nA:\nA: 2\n\n", Request("GET", "/", (("A", ""), ("A", "2"))), id="doubled header"
        ),
    ],
)
def test_request_text_is_parsed(data: bytes, request_: Request):
    assert parse_request(data) == (request_, [])


def test_missing_blank_line_is_a_warning():
    request, warnings = parse_request(b"POST / HTTP/1.1\nHost: h\n")

    assert request == Request("POST", "/", (("Host", "h"),))
    assert warnings == ["there is no blank line after the headers: the body is empty"]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\r\n", "it is empty; the first line of a request is such as 'POST /path HTTP/1.1'"),
        (b"hello\n\n", "line 1: 'hello' is not a request line such as 'POST /path HTTP/1.1'"),
        (b"x" * 99, "line 1: '" + "x" * 60 + "…' is not a request line"),
        (b"get / HTTP/1.1\n\n", "line 1: 'get / HTTP/1.1' is not a request line"),
        (b"GET / HTTP/1.1\nHost: h\nnothing\n\n", "line 3: 'nothing' is not a header such as 'Host: example.org'"),
        (b"GET / HTTP/1.1\nHost : h\n\n", "line 2: 'Host : h' is not a header"),
        (b"GET / HTTP/1.1\nA: b\n c\n\n", "line 3: ' c' is not a header"),
    ],
    ids=["empty", "prose", "long", "lower case", "no colon", "blank before the colon", "folded"],
)
def test_error_names_the_invalid_line(data: bytes, message: str):
    with pytest.raises(ValueError) as caught:
        parse_request(data)

    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("value", "warnings"),
    [
        ("4", []),
        ("5", ["Content-Length says 5, and the body has 4 bytes"]),
        ("x", ["Content-Length says x, and the body has 4 bytes"]),
    ],
)
def test_wrong_content_length_is_a_warning(value: str, warnings: list[str]):
    assert length_warnings(Request("POST", "/", (("content-length", value),), b"body")) == warnings


@pytest.mark.parametrize(
    ("request_", "data"),
    [
        (Request("GET", "/p", (("Host", "h"),)), b"GET /p HTTP/1.1\r\nHost: h\r\n\r\n"),
        (Request("POST", "/", (), b"ab"), b"POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\nab"),
        (Request("POST", "/", (("content-length", "9"),), b"ab"), b"POST / HTTP/1.1\r\ncontent-length: 9\r\n\r\nab"),
    ],
    ids=["no body", "length added", "length kept"],
)
def test_request_is_written_in_wire_format(request_: Request, data: bytes):
    assert format_request(request_) == data


def test_written_request_is_parsed_to_the_same_request():
    request, _ = parse_request(format_request(POST))

    assert request.body == POST.body
    assert request.headers == (*POST.headers, ("Content-Length", "11"))
