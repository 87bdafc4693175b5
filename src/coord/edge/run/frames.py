"""What the two ends of an ssh connection say to each other: a line of JSON, then bytes.

    {"is": what it is, ..., "bytes": N}\\n    and N bytes

It needs nothing but the standard library.
"""

import json
from collections.abc import Iterator
from typing import Any

Frame = tuple[dict[str, Any], bytes]


def packed(what: str, data: bytes = b"", **told: Any) -> bytes:
    """One frame, as it is sent."""
    head = json.dumps({"is": what, **told, "bytes": len(data)})
    return head.encode(errors="surrogateescape") + b"\n" + data


class Frames:
    """What has come of a stream, cut into frames."""

    def __init__(self) -> None:
        self._left = bytearray()

    def feed(self, data: bytes) -> Iterator[Frame]:
        """The frames that are whole with this. Raises ValueError for what is none."""
        self._left += data
        while (end := self._left.find(b"\n")) >= 0:
            told = json.loads(self._left[:end])
            if not (isinstance(told, dict) and isinstance(told.get("is"), str)):
                raise ValueError("this is no frame")
            size = told.get("bytes")
            if not isinstance(size, int) or size < 0:
                raise ValueError("this frame has no size")
            over = end + 1 + size
            if len(self._left) < over:
                return
            frame = bytes(self._left[end + 1 : over])
            del self._left[:over]
            yield told, frame
