"""A bar for work that takes long: on standard error, and on a terminal only."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from gateway.commands.output.printing import err


@contextmanager
def progress(what: str, total: int, *, step: int, console: Console = err) -> Iterator[Callable[[int], None]]:
    """Give what is told of each advance. What takes one step is over too soon for a bar."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    shown = console.is_terminal and total > step
    with Progress(*columns, console=console, transient=True, disable=not shown) as bar:
        task = bar.add_task(what, total=total)
        yield lambda number: bar.advance(task, number)
