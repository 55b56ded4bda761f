"""ZStack in, Tencent out, written by hand on aiohttp and uvloop: `aiohttp_handler.py PORT UPSTREAM [orjson]`.

It does what the route zstack-to-tencent does for a report of one namespace: verify the session, decode and check each
item, sign the call, send it, and answer in ZStack's format.
"""

import hmac
import sys

import aiohttp
import uvloop
from aiohttp import web
from handwritten import SESSIONS, BadReportError, decode, dumps, loads, signed_body


def failure(code: str, description: str, details: str) -> web.Response:
    error = {"error": {"code": code, "description": description, "details": details}}
    return web.Response(status=503, body=dumps(error), content_type="application/json")


def application(upstream: str) -> web.Application:
    url = f"{upstream}/v2/index.php"

    async def report(request: web.Request) -> web.Response:
        scheme, _, session = request.headers.get("Authorization", "").partition(" ")
        if scheme != "OAuth":
            return web.Response(status=400, text="missing header 'Authorization'")
        if not any(hmac.compare_digest(session.strip().encode(), known) for known in SESSIONS):
            return failure("ID.1001", "session expired", "unknown session")
        try:
            namespace, items = decode(loads(await request.read()))
        except ValueError:
            return failure("SYS.1007", "One or more API argument is invalid", "the body is not JSON")
        except BadReportError as error:
            return failure("SYS.1007", "One or more API argument is invalid", str(error))
        body = signed_body(namespace, items)
        try:
            async with request.app[CLIENT].post(url, data=body, headers=HEADERS) as answer:
                result = loads(await answer.read())
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            return failure("SYS.1015", "HTTP error", str(error))
        if answer.status != 200 or result.get("code") != 0:
            return failure("SYS.1006", "An operation failed", str(result.get("message")))
        return web.Response(body=b"{}", content_type="application/json")

    async def client(app: web.Application):
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=5)) as session:
            app[CLIENT] = session
            yield

    app = web.Application(client_max_size=1 << 20)
    app.router.add_post("/zstack/v1/zwatch/metrics", report)
    app.cleanup_ctx.append(client)
    return app


CLIENT = web.AppKey("client", aiohttp.ClientSession)
HEADERS = {"content-type": "application/json"}

if __name__ == "__main__":
    port, loop = int(sys.argv[1]), uvloop.new_event_loop()
    web.run_app(application(sys.argv[2]), host="127.0.0.1", port=port, access_log=None, print=None, loop=loop)
