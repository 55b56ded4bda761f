"""Times and nonces of recipes: how they are written, and read back."""

from uuid import UUID

from gateway.core.recipe.model import NonceSlot

NS = 1_000_000_000

# Format: nanoseconds in one unit of it, and what its text may look like.
TIME_FORMATS = {"epoch": (NS, "[0-9]{1,12}"), "epoch_ms": (1_000_000, "[0-9]{1,15}")}


def write_time(time_ns: int, time_format: str) -> str:
    return str(time_ns // TIME_FORMATS[time_format][0])


def read_time(text: str, time_format: str) -> int:
    """Return nanoseconds since the epoch. Raises ValueError."""
    return int(text) * TIME_FORMATS[time_format][0]


def make_nonce(slot: NonceSlot, entropy: bytes) -> str:
    """Turn 16 random bytes into a nonce, over the whole range that the scheme allows."""
    if slot.low is None or slot.high is None:
        return str(UUID(bytes=entropy, version=4))
    return str(slot.low + int.from_bytes(entropy) % (slot.high - slot.low + 1))
