"""Each fuzz target takes its seeds, its corpus, and some mutations of them. `make fuzz` looks further."""

from random import Random

import pytest

from tests.fuzz.targets import CORPORA, TARGETS

MUTATIONS = 300


@pytest.mark.parametrize("name", TARGETS)
def test_fuzz_target_accepts_its_corpus_and_mutations(name: str) -> None:
    target = TARGETS[name]
    corpus = [*target.seeds(), *(file.read_bytes() for file in sorted((CORPORA / name).glob("*")))]
    random = Random(name)
    assert corpus
    for data in corpus:
        target.run(data)
    for _ in range(MUTATIONS):
        target.run(mutated(random.choice(corpus), random))


def mutated(data: bytes, random: Random) -> bytes:
    for _ in range(random.randrange(1, 4)):
        at = random.randrange(len(data) + 1)
        size = random.randrange(4)
        data = data[:at] + random.randbytes(random.randrange(4)) + data[at + size :]
    return data
