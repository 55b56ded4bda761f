"""Makes nonces."""

from uuid import UUID

from gateway.core.recipe.model import NonceSlot


def make_nonce(slot: NonceSlot, entropy: bytes) -> str:
    """Turn 16 random bytes into a nonce, over the whole range that the scheme allows."""
    if slot.low is None or slot.high is None:
        return str(UUID(bytes=entropy, version=4))
    return str(slot.low + int.from_bytes(entropy) % (slot.high - slot.low + 1))
