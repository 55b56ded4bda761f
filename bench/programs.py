"""The programs under test: how each is started on a port, with an upstream.

Each does the task of the route zstack-to-tencent. A program that is not installed names what is missing.
"""

import os
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

BENCH = Path(__file__).parent
PEERS = BENCH / "peers"
# `make bench` installs the packages of npm and mitmproxy there.
INSTALLED = BENCH / ".installed"
NODE_MODULES = INSTALLED / "node_modules"
MITMDUMP = INSTALLED / "mitmproxy" / "bin" / "mitmdump"
NJS_MODULES = Path("/usr/lib/nginx/modules")
ROUTE = BENCH.parent / "routes.d" / "zstack-to-tencent.yaml"

CREDENTIALS = {
    "ZSTACK_SESSION": "b86c9016b4f24953a9edefb53ca0678c",
    "TENCENT_SECRET_ID": "demo-secret-id",
    "TENCENT_SECRET_KEY": "demo-secret-key",
}


@dataclass(frozen=True, slots=True)
class Place:
    """Where a program runs: its port, the upstream's port, and a folder for its files."""

    port: int
    upstream_port: int
    folder: Path

    @property
    def upstream(self) -> str:
        return f"http://127.0.0.1:{self.upstream_port}"


@dataclass(frozen=True, slots=True)
class Command:
    """A command line and its environment, beside that of the credentials."""

    argv: list[str]
    env: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Program:
    """A program under test. `needs` are files that it requires. A `queued` one replies before it sends."""

    name: str
    command: Callable[[Place], Command]
    needs: tuple[Path, ...] = ()
    queued: bool = False

    @property
    def missing(self) -> str:
        return ", ".join(path.name for path in self.needs if not path.exists())


def gateway_command(routes: Path, place: Place, *arguments: str) -> Command:
    """Return the command line of a gateway with default log settings; its admin API is at the next port."""
    addresses = ["--listen", f"127.0.0.1:{place.port}", "--admin", f"127.0.0.1:{place.port + 1}"]
    argv = [sys.executable, "-m", "gateway", "serve", "--routes", str(routes), *addresses, *arguments]
    return Command(argv, {"TENCENT_URL": place.upstream})


def _gateway(delivery: str) -> Callable[[Place], Command]:
    def command(place: Place) -> Command:
        place.folder.mkdir(parents=True, exist_ok=True)
        text = ROUTE.read_text().partition("\ncases:")[0]
        default = "delivery: {mode: direct, timeout_s: 5}"
        if default not in text:
            raise ValueError(f"{ROUTE} has no line {default!r}")
        (place.folder / "route.yaml").write_text(text.replace(default, f"delivery: {delivery}"))
        data = ["--data", str(place.folder / "data")] if "queued" in delivery else []
        return gateway_command(place.folder, place, *data)

    return command


def _handwritten(*arguments: str) -> Callable[[Place], Command]:
    script = str(PEERS / "aiohttp_handler.py")
    return lambda place: Command([sys.executable, script, str(place.port), place.upstream, *arguments])


def _express(place: Place) -> Command:
    return Command(
        ["node", str(PEERS / "express_server.js"), str(place.port), place.upstream],
        {"NODE_PATH": str(NODE_MODULES), "NODE_ENV": "production"},
    )


def _node_red(place: Place) -> Command:
    place.folder.mkdir(parents=True, exist_ok=True)
    flow = shutil.copy(PEERS / "node_red_flow.json", place.folder)
    env = {"PORT": str(place.port), "UPSTREAM": place.upstream, "FLOW": str(flow), "USER_DIR": str(place.folder)}
    script = NODE_MODULES / "node-red" / "red.js"
    return Command(["node", str(script), "--settings", str(PEERS / "node_red_settings.js")], env)


def _njs(place: Place) -> Command:
    place.folder.mkdir(parents=True, exist_ok=True)
    text = (PEERS / "njs.conf").read_text()
    upstream = f"127.0.0.1:{place.upstream_port}"
    values = {
        "MODULES": str(NJS_MODULES),
        "FOLDER": str(place.folder),
        "PEERS": str(PEERS),
        "server UPSTREAM": f"server {upstream}",
        "127.0.0.1:PORT": f"127.0.0.1:{place.port}",
    }
    for name, value in values.items():
        text = text.replace(name, value)
    (place.folder / "njs.conf").write_text(text)
    return Command([nginx(), "-c", str(place.folder / "njs.conf")])


def _mitmproxy(place: Place) -> Command:
    argv = [str(MITMDUMP), "--quiet", "--listen-host", "127.0.0.1", "--listen-port", str(place.port)]
    argv += ["--mode", f"reverse:{place.upstream}", "--set", f"confdir={place.folder}"]
    return Command([*argv, "--scripts", str(PEERS / "mitmproxy_addon.py")])


def nginx() -> str:
    """Return the path of nginx, which is often not on the PATH of ordinary users."""
    return shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin") or "/usr/sbin/nginx"


# The first is the baseline of the ratios.
PROGRAMS = (
    Program("aiohttp by hand, json", _handwritten()),
    Program("aiohttp by hand, orjson", _handwritten("orjson")),
    Program("gateway, one call per report", _gateway("{mode: direct, timeout_s: 5, coalesce: false}")),
    Program("gateway, coalesced", _gateway("{mode: direct, timeout_s: 5}")),
    Program("gateway, queued", _gateway("{mode: queued, timeout_s: 5}"), queued=True),
    Program("Express", _express, (NODE_MODULES / "express",)),
    Program("Node-RED", _node_red, (NODE_MODULES / "node-red",)),
    Program("nginx with njs", _njs, (NJS_MODULES / "ngx_http_js_module.so",)),
    Program("mitmproxy", _mitmproxy, (MITMDUMP,)),
)
