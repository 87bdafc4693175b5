"""The frames that the two ends of an ssh connection exchange."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as some

from coord.edge.run.frames import Frames, packed

TOLD = some.lists(some.tuples(some.text(), some.binary()), max_size=4)


@given(TOLD, some.integers(min_value=1, max_value=20))
def test_what_was_packed_comes_out_however_it_was_cut(told: list, size: int):
    stream = b"".join(packed("it", data, text=text) for text, data in told)
    frames = Frames()

    pieces = [stream[start : start + size] for start in range(0, len(stream), size)]
    came = [one for piece in pieces for one in frames.feed(piece)]

    assert [(head["text"], data) for head, data in came] == told


NO_FRAMES = (
    [1], 1, None, {}, {"is": 1, "bytes": 0}, {"is": "log"}, {"is": "log", "bytes": -1},
    {"is": "log", "bytes": "1"},
)  # fmt: skip


@pytest.mark.parametrize("head", NO_FRAMES)
def test_a_line_that_is_no_frame_is_refused(head: object):
    with pytest.raises(ValueError, match="frame"):
        list(Frames().feed(json.dumps(head).encode() + b"\n"))
