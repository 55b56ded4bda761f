"""A process that appends points and prints the results: `python -m tests.delivery.queue.appender FOLDER MODE`.

It prints `acked NAME` for each stored point, and `rejected NAME REASON` for each rejected one.
MODE is `once`, `forever`, or `steps`: each line of its input is a step, see `follow`.
"""

import asyncio
import os
import resource
import sys
from pathlib import Path

from gateway.core.outcome.errors import UpstreamError
from gateway.delivery.queue import Store
from tests.support.points import HERE, NOW_NS, depth_of, new_point


def say(line: str) -> None:
    os.write(1, f"{line}\n".encode())


async def append(store: Store, name: str) -> None:
    try:
        await store.append([new_point(name)])
    except UpstreamError as error:
        say(f"rejected {name} {error.outcome.reason}")
    else:
        say(f"acked {name}")


async def append_forever(store: Store) -> None:
    number = 0
    while True:
        await asyncio.gather(*(append(store, str(number + offset)) for offset in range(20)))
        number += 20


async def follow(store: Store) -> None:
    """Run the steps of the input. `room BYTES` limits the size of files, as a full disk does."""
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
                while (await depth_of(store)).leased:
                    await asyncio.sleep(0.01)
                say("settled")


async def main(folder: str, mode: str) -> None:
    store = await Store.open(Path(folder))
    if mode == "forever":
        await append_forever(store)
    elif mode == "steps":
        await follow(store)
    else:
        await append(store, "only")
    await store.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
