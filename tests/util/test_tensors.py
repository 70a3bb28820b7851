import json

import numpy as np
import pytest
from safetensors.numpy import save

from shiftcast.util.tensors import first_byte, read_header, read_tensors

LOGITS = np.arange(6, dtype=np.float16).reshape(2, 3)
WHOLE = save({"a": LOGITS, "b": np.zeros(2, np.uint8)}, metadata={"said": "by us"})


def headed(header, content=b"a"):
    text = header if isinstance(header, bytes) else json.dumps({"a": header}).encode()
    return len(text).to_bytes(8, "little") + text + content


def test_arrays_and_the_texts_beside_them_are_read():
    tensors, texts = read_tensors(WHOLE)
    assert (tensors["a"] == LOGITS).all()
    assert texts == {"said": "by us"}
    start, end = read_header(WHOLE)["a"]["data_offsets"]
    content = WHOLE[first_byte(WHOLE) :][start:end]
    assert content == LOGITS.tobytes()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        WHOLE[:-1],
        WHOLE + b"x",
        headed(b"[1]"),
        headed(b'{"a":' + b"[" * 300_000),
        headed(b'{"a":{},"a":{}}'),
        headed({"dtype": "BF16", "shape": [1], "data_offsets": [0, 2]}, b"ab"),
        headed({"dtype": "U8", "shape": [2**40, 2**40], "data_offsets": [0, 1]}),
        (1 << 40).to_bytes(8, "little") + b"{}",
    ],
)
def test_what_is_no_such_file_is_refused(data):
    short = data == WHOLE[: len(data)] and len(data) < len(WHOLE)
    said = "it is truncated$" if short else r"it is truncated(?: or something else \(|$)"
    with pytest.raises(ValueError, match=rf"^{len(data):,} bytes: {said}"):
        read_tensors(data)


def test_a_file_of_too_many_tensors_is_refused():
    entry = {"dtype": "U8", "shape": [0], "data_offsets": [0, 0]}
    data = headed(json.dumps({str(n): entry for n in range(10_001)}).encode(), b"")
    with pytest.raises(ValueError, match="10,001 tensors, expected at most 10,000"):
        read_tensors(data)
