"""Pure: takes values and returns values.

No socket, file, clock, randomness, environment, logging, aiohttp, pydantic or async may be used below this package;
time, nonces and secrets come in as arguments. `tests/test_layers.py` holds it to that.
"""
