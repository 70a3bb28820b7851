"""Whatever bytes come, a reader reads them or refuses them in words; `make fuzz` is the long form."""

import resource
import warnings
from contextlib import suppress
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fuzz.readers import MEBIBYTES, bundle, mutate, parts
from shiftcast.errors import ShiftcastError

NAMES = (
    *("architecture", "dataset", "recipe", "suite", "ledger", "run", "submission", "predictions"),
    *("estimate-npz", "estimate-npy", "estimate-csv", "estimate-parquet", "estimate-others"),
    *("estimate-safetensors", "difficulty-npz", "submit-parquet"),
    *("estimate-labels", "submit-npz", "submit-safetensors", "submit-csv", "submit-npy"),
)


def test_every_reader_is_fuzzed(readers):
    assert set(NAMES) == set(readers)


@pytest.mark.parametrize("name", NAMES)
def test_valid_inputs_are_read(readers, name):
    for seed in readers[name].seeds:
        readers[name].read(seed)


def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@pytest.mark.parametrize("name", NAMES)
def test_odd_inputs_are_read_or_refused_in_little_memory(readers, name):
    reader = readers[name]

    def read(data):
        before = peak()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of libraries, about what they are given
            with suppress(ShiftcastError):
                reader.read(data)
        assert peak() - before < MEBIBYTES

    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
    @given(seed=st.integers(0, 2**32), place=st.integers(0, len(reader.seeds) - 1))
    def mutated(seed, place):
        read(mutate(reader.form, reader.seeds[place], Random(seed)))  # noqa: S311

    @settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
    @given(data=st.binary(max_size=300))
    def any_bytes(data):
        read(data)

    mutated()
    any_bytes()


def test_what_raises_anything_else_is_found():
    """The property can fail: a reader that trusts its input fails within a thousand mutations."""

    def trusting(data):
        return int(parts(data)[0].partition(b": ")[2].partition(b"}")[0])

    seed = bundle(b'{"n": 1}', b"")
    assert trusting(seed) == 1
    with pytest.raises(ValueError, match="invalid literal"):  # noqa: PT012
        for number in range(1000):
            trusting(mutate("bundle", seed, Random(number)))  # noqa: S311
