"""A process that appends points and says so: `python -m tests.delivery.queue.appender FOLDER MODE [SYNCHRONOUS]`.

It prints `acked NAME` for each point that the store has taken, and `refused NAME REASON` for each that it has not.
MODE is `once`, `for ever`, or `as told`: each line of its input is then a step, see `follow`.
"""

import asyncio
import os
import resource
import sys
from pathlib import Path

from gateway.core.outcome.errors import UpstreamError
from gateway.delivery.queue import Store
from tests.support.points import HERE, NOW_NS, new_point


def say(line: str) -> None:
    os.write(1, f"{line}\n".encode())


async def append(store: Store, name: str) -> None:
    try:
        await store.append([new_point(name)])
    except UpstreamError as error:
        say(f"refused {name} {error.outcome.reason}")
    else:
        say(f"acked {name}")


async def append_for_ever(store: Store) -> None:
    number = 0
    while True:
        await asyncio.gather(*(append(store, str(number + offset)) for offset in range(20)))
        number += 20


async def follow(store: Store) -> None:
    """Do what the input says; `room BYTES` is how large a file may be from then on, as on a disk that is full."""
    ids: list[int] = []
    for number, line in enumerate(sys.stdin):
        match line.split():
            case ["room", size]:
                resource.setrlimit(resource.RLIMIT_FSIZE, (int(size), resource.RLIM_INFINITY))
            case ["append"]:
                await append(store, str(number))
            case ["lease"]:
                ids = [point.id for point in await store.lease(HERE, 10, NOW_NS)]
                say(f"leased {len(ids)}")
            case ["ack"]:
                store.ack(ids)
            case ["settled"]:
                while (await store.stats()).depths[HERE].leased:
                    await asyncio.sleep(0.01)
                say("settled")


async def main(folder: str, mode: str, synchronous: str = "FULL") -> None:
    assert synchronous in ("FULL", "OFF")
    store = await Store.open(Path(folder), synchronous=synchronous)
    if mode == "for ever":
        await append_for_ever(store)
    elif mode == "as told":
        await follow(store)
    else:
        await append(store, "only")
    await store.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
