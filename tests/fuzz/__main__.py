"""Fuzz one target with atheris: python -m tests.fuzz NAME [SECONDS], what `make fuzz` runs.

Prints the number of executions. A crash ends the run with an exit code; its input is kept as crash-NAME-….
"""

import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["gateway"]):
    from tests.fuzz.targets import CORPORA, TARGETS

MAX_INPUT_BYTES = 8192


def main(name: str, seconds: str = "60") -> None:
    target = TARGETS[name]
    with tempfile.TemporaryDirectory(prefix="gateway-fuzz-") as corpus:
        for number, seed in enumerate(target.seeds()):
            (Path(corpus) / f"seed-{number}").write_bytes(seed)
        options = [
            f"-max_total_time={seconds}",
            f"-max_len={MAX_INPUT_BYTES}",
            f"-artifact_prefix=crash-{name}-",
            "-print_final_stats=1",
            "-verbosity=0",
            "-timeout=10",
            "-rss_limit_mb=1024",
        ]
        known = [str(folder) for folder in [CORPORA / name] if folder.is_dir()]
        atheris.Setup([sys.argv[0], *options, corpus, *known], target.run)
        atheris.Fuzz()


if __name__ == "__main__":
    main(*sys.argv[1:])
