"""What the stages of receiving depend on, beside the request and its route."""

from dataclasses import dataclass

from gateway.core.recipe.verify import ReplayMemory, Verified


@dataclass(frozen=True, slots=True)
class RequestContext:
    """The time, the replay memory, and facts about one request.

    `peer` is the client's IP address; None skips the check of the route's networks. `caller` is the result of
    `verify_head`. `request_id` is the gateway's own id. A login needs `entropy`, 16 random bytes.
    """

    now_ns: int
    replays: ReplayMemory
    peer: str | None = None
    caller: Verified | None = None
    request_id: str = ""
    entropy: bytes = b""
