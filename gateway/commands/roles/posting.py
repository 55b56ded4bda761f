"""Posts a request to an address that its Host need not name, or shows how curl does."""

import asyncio
import shlex
from http.client import HTTPConnection, HTTPException

from gateway.commands.arguments.options import fail, system_text
from gateway.core.http.request import Request, Response


def curl(request: Request, address: str) -> str:
    """Return the request as a curl command; curl makes Host and Content-Length itself."""
    parts = ["curl", "-X", request.method]
    for name, value in request.headers:
        if (name.lower(), value) != ("host", address) and name.lower() != "content-length":
            parts += ["-H", f"{name}: {value}"]
    if request.body:
        parts += ["--data-binary", request.body.decode("utf-8", "surrogateescape")]
    return shlex.join([*parts, f"http://{address}{request.target}"])


async def post(request: Request, address: str, *, timeout_s: float) -> Response:
    """Send the request as it is. Raises UserError where there is no answer."""
    try:
        return await asyncio.to_thread(_post, request, address, timeout_s)
    except OSError as error:
        fail(f"{address}: {system_text(error)}")
    except HTTPException as error:
        fail(f"{address}: the answer is not HTTP: {error}")


def _post(request: Request, address: str, timeout_s: float) -> Response:
    connection = HTTPConnection(address, timeout=timeout_s)
    try:
        connection.putrequest(request.method, request.target, skip_host=True, skip_accept_encoding=True)
        for name, value in request.headers:
            if name.lower() != "content-length":
                connection.putheader(name, value.encode("utf-8", "surrogateescape"))
        connection.putheader("Content-Length", str(len(request.body)))
        connection.endheaders(request.body)
        answer = connection.getresponse()
        return Response(answer.status, tuple(answer.getheaders()), answer.read())
    finally:
        connection.close()
