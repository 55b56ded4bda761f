"""A process that has imported the gateway, and forks for each command that tests start. See `processes.py`.

A request on the socket has the arguments, the environment and the folder as JSON, and four file descriptors: a socket
for the process id and the exit code, and the standard streams. A keeper waits for the command and sends its exit code.
"""

import gc
import json
import os
import signal
import socket
import sys
from contextlib import suppress
from importlib import import_module

from gateway.__main__ import main
from gateway.cli import COMMANDS, QUEUE_COMMANDS
from gateway.specs.load import load


def serve(descriptor: int) -> None:
    for module, _ in (COMMANDS | QUEUE_COMMANDS).values():
        import_module(f"gateway.commands.{module.partition(':')[0]}")
    load(None, {})  # reads the shipped specs
    gc.freeze()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    requests = socket.socket(fileno=descriptor)
    while True:
        request, descriptors, _, _ = socket.recv_fds(requests, 1_048_576, 4)
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        if not request:
            return
        if os.fork() == 0:
            requests.detach()
            keep(**json.loads(request), descriptors=descriptors)
            return
        for each in descriptors:
            os.close(each)


def keep(arguments: list[str], environ: dict[str, str], cwd: str, python: list[str], descriptors: list[int]) -> None:
    """Run the command in a child, and send its process id and its exit code."""
    process = os.fork()
    if process == 0:
        run(arguments, environ, cwd, python, descriptors[1:])
        return
    report = socket.socket(fileno=descriptors[0])
    report.send(str(process).encode())
    os.closerange(0, descriptors[0])
    os.closerange(descriptors[0] + 1, 256)
    _, status = os.waitpid(process, 0)
    report.send(str(os.waitstatus_to_exitcode(status)).encode())
    os._exit(0)


def run(arguments: list[str], environ: dict[str, str], cwd: str, python: list[str], streams: list[int]) -> None:
    """Run the command as `python -m gateway` would, or in a new Python if one is given."""
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    os.closerange(3, 256)
    sys.stdout, sys.stderr = open(1, "w"), open(2, "w", buffering=1)  # noqa: SIM115  # their kinds of file differ
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environ)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if python:
        os.execvp(python[0], [*python, "-m", "gateway", *arguments])
    sys.argv[1:] = arguments
    main()


if __name__ == "__main__":
    serve(int(sys.argv[1]))
