"""Errors and warnings of commands, one line each on standard error.

`gateway.cli` imports this module for every command, so it must load fast.
"""

import os
import sys
from typing import NoReturn


class UserError(Exception):
    """The user must fix something; the text says what. The exit code is 1."""


class WrongUsage(UserError):
    """The command line is wrong. The exit code is 2."""


def fail(what: str) -> NoReturn:
    raise UserError(what)


def misuse(what: str) -> NoReturn:
    raise WrongUsage(what)


def warn(what: str) -> None:
    print(f"warning: {printable(what)}", file=sys.stderr)


def complain(what: str) -> None:
    """Print the last line of a command that fails."""
    print(f"gateway: {printable(what)}", file=sys.stderr)


def system_text(error: Exception) -> str:
    """Return the system's message of an error, without the number and the path."""
    if isinstance(error, UnicodeDecodeError):
        return "it is not UTF-8"
    if isinstance(error, OSError) and error.errno:
        # Negative numbers are those of getaddrinfo. The text of other errors may hold a path or an address.
        return (os.strerror(error.errno) if error.errno > 0 else error.strerror or str(error)).lower()
    return str(error)


def printable(text: str) -> str:
    """Return the text with escapes for all but printable characters, line feeds and tabs."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() or each in "\n\t" else _escaped(each) for each in text)


def _escaped(character: str) -> str:
    byte = ord(character) - 0xDC00  # surrogateescape stores an undecodable byte this way
    return f"\\x{byte:02x}" if 0x80 <= byte <= 0xFF else character.encode("unicode_escape").decode()
