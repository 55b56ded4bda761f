"""gateway serve: run the gateway until a signal stops it."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import structlog
import typer

from gateway.app import Gateway, Settings
from gateway.commands.arguments.loading import load_or_fail, retarget
from gateway.commands.arguments.options import ADMIN_TOKEN, DEFAULT_ROUTES, Routes, option, read_admin_token, setting
from gateway.commands.output.errors import UserError, fail, misuse
from gateway.commands.output.printing import print_diagnostics
from gateway.commands.roles.listening import check_address, run_or_fail, tls_pair
from gateway.core.vendor.route import Route
from gateway.delivery.queue import Limits as QueueLimits
from gateway.logs import LEVELS, configure
from gateway.reload import Origin
from gateway.specs.load import Specs, load
from gateway.specs.yaml.diagnostic import Mark
from gateway.web.admin.guard import is_local
from gateway.web.listener import parse_address

log = structlog.get_logger()

# Enough for all connections of a listener, its handshakes, and those to upstreams; the usual soft limit is 1,024.
OPEN_FILES = 8192


def serve(
    routes: Routes = DEFAULT_ROUTES,
    listen: Annotated[
        str, setting("LISTEN", "ADDR", "Where reporters connect; :0 takes a free port.")
    ] = "127.0.0.1:8080",
    admin: Annotated[
        str, setting("ADMIN", "ADDR", "Where /healthz, /readyz, /metrics and /api are.")
    ] = "127.0.0.1:9091",
    admin_token: Annotated[
        str | None,
        option(
            "SECRET",
            "Token that /api requires, as env:NAME or file:PATH; off loopback /api is closed without.",
            envvar=ADMIN_TOKEN,
        ),
    ] = None,
    tls_cert: Annotated[
        Path | None, setting("TLS_CERT", "FILE", "Listen by https: certificate and chain, in PEM form.")
    ] = None,
    tls_key: Annotated[
        Path | None, setting("TLS_KEY", "FILE", "The certificate's key, unless its file has it.")
    ] = None,
    only: Annotated[list[str] | None, option("ROUTE", "Serve this route and no other; repeatable.")] = None,
    target: Annotated[list[str] | None, option("ROUTE=URL", "Send a route's calls there instead; repeatable.")] = None,
    watch: Annotated[
        bool, typer.Option("--watch/--no-watch", envvar="GATEWAY_WATCH", help="Reload when files of routes change.")
    ] = True,
    grace_s: Annotated[float, setting("GRACE_S", "SECONDS", "How long stopping may take.", min=0)] = 25,
    drain_delay_s: Annotated[
        float, setting("DRAIN_DELAY_S", "SECONDS", "How long /readyz answers 503 before listening ends.", min=0)
    ] = 0,
    data: Annotated[
        Path | None, setting("DATA", "DIR", "Where queued routes keep data points until they are delivered.")
    ] = None,
    queue_max_points: Annotated[
        int, setting("QUEUE_MAX_POINTS", "N", "More data points reject new reports.", min=1)
    ] = QueueLimits().max_points,
    queue_max_bytes: Annotated[
        int, setting("QUEUE_MAX_BYTES", "N", "More bytes reject new reports.", min=1)
    ] = QueueLimits().max_bytes,
    queue_max_age_s: Annotated[
        float | None,
        setting(
            "QUEUE_MAX_AGE_S",
            "SECONDS",
            "Reject reports for a target whose oldest data point has waited longer.",
            min=1,
        ),
    ] = None,
    log_level: Annotated[str, setting("LOG_LEVEL", "LEVEL", "debug, info, warning or error.")] = "info",
    log_format: Annotated[
        str, setting("LOG_FORMAT", "FORMAT", "auto (text on a terminal, else json), json or text.")
    ] = "auto",
) -> None:
    """Run the gateway.

    SIGTERM answers pending requests, then ends; a second signal ends immediately. SIGHUP reloads the routes.

    \b
    Example:
      gateway serve --routes ./routes.d --listen 127.0.0.1:8080
    """
    if log_level not in LEVELS:
        misuse(f"--log-level: {log_level!r} is not one of {', '.join(LEVELS)}")
    if log_format not in ("auto", "json", "text"):
        misuse(f"--log-format: {log_format!r} is not one of auto, json, text")
    check_address(listen, "--listen")
    check_address(admin, "--admin")
    pair = tls_pair(tls_cert, tls_key)
    token = None if admin_token is None else read_admin_token(admin_token)
    configure(log_level, log_format, queued=True)  # type: ignore[arg-type]  # just checked
    specs = load_or_fail(routes, only=only)
    print_diagnostics(specs.diagnostics)
    specs.routes = _runnable(specs, target, data)

    def load_again() -> Specs:
        specs = load(routes, only=only)
        if not specs.diagnostics.has_errors:
            try:
                specs.routes = _runnable(specs, target, data)
            except UserError as error:
                specs.diagnostics.error(Mark(str(routes), 1, 1), "", str(error))
        return specs

    settings = Settings(
        listen=listen,
        tls=pair,
        admin=admin,
        admin_token=token,
        grace_s=grace_s,
        drain_delay_s=drain_delay_s,
        data=data,
        queue=QueueLimits(max_points=queue_max_points, max_bytes=queue_max_bytes, max_age_s=queue_max_age_s),
    )
    origin = Origin(folder=routes, load=load_again, first=specs, watch=watch)
    gateway = Gateway(specs.snapshot, settings, origin=origin)

    def ready() -> None:
        names = list(specs.routes)
        log.info("listening", address=gateway.address, tls=pair is not None, admin=gateway.admin_address, routes=names)
        if token is None and not is_local(parse_address(admin)[0]):
            log.warning("admin_api_closed", admin=admin, hint="off loopback it needs --admin-token")
        if not names:
            log.warning("no_route_loaded", folder=str(routes))

    _allow_open_files()
    raise typer.Exit(run_or_fail(gateway, on_ready=ready, addresses=(listen, admin)))


def _allow_open_files() -> None:
    """Raise the soft limit of open files as far as needed and permitted."""
    with suppress(ImportError, OSError, ValueError):  # systems without such a limit, and without permission
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        most = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
        if resource.RLIM_INFINITY != soft < most:
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def _runnable(specs: Specs, target: Sequence[str] | None, data: Path | None) -> dict[str, Route]:
    """Return the routes with their targets. Raises UserError if some are queued and there is no folder for that."""
    routes = retarget(specs.routes, target or ())
    queued = ", ".join(name for name, route in routes.items() if route.is_queued)
    if queued and data is None:
        fail(f"queued routes need a persistent folder: start serve with --data DIR (or GATEWAY_DATA): {queued}")
    return routes
