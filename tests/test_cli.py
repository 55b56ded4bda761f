"""The command line: exit codes, usage, help."""

import fcntl
import os
import re
import shlex
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import typer

from gateway import __version__, cli
from gateway.cli import COMMANDS, QUEUE_COMMANDS
from gateway.commands.output.errors import UserError, WrongUsage
from tests.support.processes import Started, accept_sigint, command
from tests.support.requests import ENVIRON, REPORT
from tests.support.terminal import run

ROOT = Path(__file__).parents[1]

each_command = pytest.mark.parametrize("name", [*COMMANDS, *(f"queue {name}" for name in QUEUE_COMMANDS)])


def ending(monkeypatch: pytest.MonkeyPatch, error: BaseException | None, code: int = 0) -> None:
    """Let `gateway check` end with this error or exit code."""

    def end() -> None:
        print("printed")
        if error is not None:
            raise error
        raise typer.Exit(code)

    app = typer.Typer()
    app.callback()(lambda: None)
    app.command("check")(end)
    monkeypatch.setattr(cli, "app", app)


def help_of(name: str) -> str:
    return run(*name.split(), "--help").output


def example_of(name: str) -> list[str]:
    match = re.search(r"Example:\n +(gateway .*)\n", help_of(name))
    assert match is not None
    return shlex.split(match[1])


# Exit codes.


@pytest.mark.parametrize("code", [0, 1])
def test_a_command_ends_with_its_own_exit_code(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    ending(monkeypatch, None, code)

    ended = run("check")

    assert (ended.code, ended.output, ended.errors) == (code, "printed\n", "")


def test_user_error_exits_1(monkeypatch: pytest.MonkeyPatch) -> None:
    ending(monkeypatch, UserError("the file is not there"))

    ended = run("check")

    assert (ended.code, ended.errors) == (1, "gateway: the file is not there\n")


def test_wrong_usage_exits_2_and_names_the_help(monkeypatch: pytest.MonkeyPatch) -> None:
    ending(monkeypatch, WrongUsage("--at: 'x' is no number"))

    ended = run("check")

    assert (ended.code, ended.errors) == (2, "gateway: --at: 'x' is no number (see: gateway check --help)\n")


def test_bug_exits_3_with_a_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    ending(monkeypatch, ZeroDivisionError("oops"))

    ended = run("check")

    assert ended.code == 3
    assert "ZeroDivisionError: oops" in ended.errors
    assert ended.errors.endswith("gateway: this is a bug of the gateway; please report it with the lines above\n")


def test_unexpected_os_error_is_reported_as_a_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    ending(monkeypatch, PermissionError(13, "denied"))

    assert run("check").code == 3


@pytest.mark.parametrize("error", [KeyboardInterrupt(), typer.Abort()], ids=["Ctrl-C", "abort"])
def test_interrupt_exits_130_silently(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    ending(monkeypatch, error)

    ended = run("check")

    assert (ended.code, ended.errors) == (130, "")


def test_terminal_control_sequences_are_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    ending(monkeypatch, UserError("no file \x1b[31m\udcff"))

    assert run("check").errors == "gateway: no file \\x1b[31m\\xff\n"


# Usage.


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["chek"], "no such command 'chek'. Did you mean 'check', 'schema'? (see: gateway --help)"),
        (["--bogus"], "no such option: --bogus (see: gateway --help)"),
        (["check", "--stric"], "no such option: --stric (Possible options: --strict) (see: gateway check --help)"),
        (["check", "a", "b"], "got unexpected extra argument(s) (b) (see: gateway check --help)"),
        (["try"], "missing argument 'ROUTE' (see: gateway try --help)"),
        (["try", "a-to-b"], "missing option '--request' (see: gateway try --help)"),
        (["queue", "lst"], "no such command 'lst'. Did you mean 'list'? (see: gateway queue --help)"),
        (
            ["queue", "list", "--stat"],
            "no such option: --stat (Possible options: --data, --point-state, --target) (see: gateway queue",
        ),
        (["demo", "--port", "99999"], "invalid value for '--port': Input should be less than or equal to 65535 (see: "),
    ],
    ids=" ".join,
)
def test_wrong_usage_is_one_line(arguments: list[str], said: str) -> None:
    ended = run(*arguments)

    assert (ended.code, ended.output) == (2, "")
    assert ended.complaint.startswith(f"gateway: {said}")


def test_no_command_prints_the_help_and_is_wrong_usage() -> None:
    ended = run()

    assert (ended.code, ended.output) == (2, "")
    assert ended.errors == run("--help").output


def test_group_without_a_command_prints_its_help_and_exits_2() -> None:
    ended = run("queue")

    assert (ended.code, ended.output) == (2, "")
    assert ended.errors == run("queue", "--help").output


def test_version_option() -> None:
    ended = run("--version")

    assert (ended.code, ended.output, ended.errors) == (0, f"gateway {__version__}\n", "")


# Help.


def test_the_help_lists_every_command_with_a_whole_sentence() -> None:
    ended = run("--help")

    listed = re.findall(r"^  (\w+) +(.*)$", ended.output.partition("Commands:\n")[2], re.MULTILINE)
    assert [name for name, _ in listed] == [*COMMANDS, "queue"]
    assert [text for _, text in listed if not text.endswith(".") or text.endswith("..")] == []


@each_command
def test_the_list_of_commands_has_the_first_line_of_the_command_help(name: str) -> None:
    *group, last = name.split()
    summary = re.search(rf"^  {last} +(.*)$", run(*group, "--help").output.partition("Commands:\n")[2], re.MULTILINE)

    assert summary is not None
    assert f"\n\n  {summary[1]}\n\n" in help_of(name)


def test_the_help_imports_no_command_and_no_large_library() -> None:
    options = ["-X", "importtime", "-m", "gateway", "--help"]
    ended = subprocess.run([sys.executable, *options], capture_output=True, text=True, timeout=60, cwd=ROOT)

    imported = {line.rpartition("|")[2].strip() for line in ended.stderr.splitlines()}
    assert "gateway.cli" in imported
    assert imported & {"aiohttp", "pydantic", "structlog", "rich", "gateway.commands.check", "gateway.core"} == set()


@each_command
def test_the_help_of_a_command_has_an_example_that_parses(name: str) -> None:
    program, *words = example_of(name)
    named = name.split()
    command = typer.main.get_command(cli.app)
    for word in named:
        _, command, _ = command.resolve_command(typer.Context(command), [word])

    context = command.make_context(name, words[len(named) :])

    assert (program, words[: len(named)]) == ("gateway", named)
    assert context.args == []


@each_command
def test_command_help_explains_every_option(name: str) -> None:
    text = help_of(name)

    assert not re.search(r"--[\w-]+ <", text)
    assert not re.search(r"^  --[\w-]+( [A-Z=]+)?$\n  --", text, re.MULTILINE)
    assert "[[" not in text


# As a process.


def ended(*arguments: str, stdout: int, errors: Path) -> tuple[int, str]:
    """Run a command with this standard output; return its exit code and what it wrote to standard error."""
    with open(os.devnull, "rb") as nothing, errors.open("wb") as stderr:
        streams = {"stdin": nothing.fileno(), "stdout": stdout, "stderr": stderr.fileno()}
        return Started(arguments, **streams, environ=os.environ).wait(), errors.read_text()


def test_a_full_disk_is_one_line(tmp_path: Path) -> None:
    with open("/dev/full", "wb") as full:
        code, errors = ended("check", "--json", stdout=full.fileno(), errors=tmp_path / "errors")

    assert (code, errors) == (1, "gateway: standard output cannot be written: no space left on device\n")


async def test_limited_output_encoding_does_not_crash(tmp_path: Path) -> None:
    (tmp_path / "report.http").write_bytes(REPORT)
    environ = ENVIRON | {"PYTHONIOENCODING": "ascii"}
    arguments = ("try", "zstack-to-tencent", "--request", str(tmp_path / "report.http"))

    async with command(*arguments, environ=environ, python=(sys.executable,)) as process:
        code, output = await process.end()

    assert code == 0
    assert output.startswith("\\u2500\\u2500 verified by ")


def test_ctrl_c_while_it_waits_for_standard_input_is_130(tmp_path: Path) -> None:
    (stdin, writing), (reading, stdout) = os.pipe(), os.pipe()
    os.write(writing, b"P")
    arguments = ("try", "zstack-to-tencent", "--request", "-")
    process = Started(arguments, stdin=stdin, stdout=stdout, stderr=stdout, environ=os.environ | ENVIRON)
    os.close(stdout)
    until(lambda: unread_bytes(stdin) == 0)

    os.kill(process.pid, signal.SIGINT)
    code = process.wait()

    assert (code, os.read(reading, 1000)) == (130, b"")
    for each in (stdin, writing, reading):
        os.close(each)


def unread_bytes(pipe: int) -> int:
    return int.from_bytes(fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)), sys.byteorder)


def until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)


INTERRUPTED_IMPORT = """
import os, signal, sys
wanted = sys.argv.pop(1)
class Interrupt:
    def find_spec(self, name, path=None, target=None):
        if name == wanted:
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Interrupt())
from gateway.__main__ import main
main()
"""


@pytest.mark.parametrize("module", ["gateway.cli", "pydantic", "gateway.commands.check"])
def test_ctrl_c_during_the_imports_is_130(module: str) -> None:
    command = [sys.executable, "-c", INTERRUPTED_IMPORT, module, "check", "--help"]

    ended = subprocess.run(command, capture_output=True, timeout=60, cwd=ROOT, preexec_fn=accept_sigint)

    assert (ended.returncode, ended.stdout, ended.stderr) == (130, b"", b"")


@pytest.mark.parametrize("arguments", ["--help", "check routes.d", "show zstack --json", "demo --once --port 0"])
def test_command_with_closed_output_exits_quietly(arguments: str, tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)

    code, errors = ended(*arguments.split(), stdout=writing, errors=tmp_path / "errors")

    os.close(writing)
    said = [line for line in errors.splitlines() if ": note: " not in line]
    assert (code, said) == (1, [])
