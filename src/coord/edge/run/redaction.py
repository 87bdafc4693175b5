"""Keeping secrets out of a stream, whatever the pieces that it comes in.

Every byte that belongs to an occurrence of a secret becomes `*`, so that offsets stay what
they were. What may turn out to be the beginning of one is held back until it is known.
It needs nothing but the standard library.
"""

import os
from collections.abc import Iterable, Mapping

MASK = b"*"
# A shorter value would be found in everything.
LEAST_BYTES = 4
# More than that does not fit into an environment.
_MOST_BYTES = 128 << 10


def patterns(values: Iterable[bytes]) -> list[bytes]:
    """What is to be kept out for these values: each as a whole, and its lines.

    Programs print a key of several lines indented, or one by one.
    """
    found = {value for value in values if value}
    for value in tuple(found):
        lines = (line.strip() for line in value.splitlines())
        found |= {line for line in lines if len(line) >= 2 * LEAST_BYTES}
    return sorted(found)


class Redaction:
    """One stream on its way; pieces go in, redacted bytes come out."""

    def __init__(self, secrets: Iterable[bytes]) -> None:
        self._secrets = [secret for secret in secrets if secret]
        self._held = b""
        # How many of the bytes held belong to an occurrence that is whole.
        self._masked = 0

    def feed(self, data: bytes) -> bytes:
        """What is known of the stream, now that this piece has come."""
        return self._passed(self._held + data, may_go_on=True)

    def flush(self) -> bytes:
        """What was held back: the stream has ended."""
        return self._passed(self._held, may_go_on=False)

    def _passed(self, data: bytes, may_go_on: bool) -> bytes:
        spans = sorted([(-1, self._masked), *self._occurrences(data)])
        known = len(data) - (self._open_bytes(data) if may_go_on else 0)
        parts, at = [], 0
        for start, end in spans:
            # Occurrences may overlap, or reach into what is held back.
            start, stop = max(start, at), min(end, known)
            if stop > start:
                parts += [data[at:start], MASK * (stop - start)]
                at = stop
        parts.append(data[at:known])
        self._held = data[known:]
        # Those that lie in what is held back as a whole are found again.
        self._masked = max(0, max(end for start, end in spans if start < known) - known)
        return b"".join(parts)

    def _occurrences(self, data: bytes) -> Iterable[tuple[int, int]]:
        for secret in self._secrets:
            start = data.find(secret)
            while start >= 0:
                yield start, start + len(secret)
                start = data.find(secret, start + 1)

    def _open_bytes(self, data: bytes) -> int:
        """The length of the longest end of the data with which some secret begins."""
        return max((_overlap(data, secret) for secret in self._secrets), default=0)


def _overlap(data: bytes, secret: bytes) -> int:
    most = min(len(secret) - 1, len(data))
    first = secret[:1]
    at = data.find(first, len(data) - most) if most else -1
    while at >= 0:
        if secret.startswith(data[at:]):
            return len(data) - at
        at = data.find(first, at + 1)
    return 0


def values_in(files: Mapping[str, str]) -> dict[str, str]:
    """What files or descriptors hold, without the ends of their lines, by the same names.

    Raises OSError, and ValueError for what cannot be kept secret or be in an environment.
    """
    found = {}
    for name, path in files.items():
        with open(path, "rb") as stream:
            value = stream.read(_MOST_BYTES).rstrip(b"\r\n")
        if not LEAST_BYTES <= len(value) < _MOST_BYTES or b"\0" in value:
            raise ValueError(f"what {path} holds is too short, too long or no text")
        found[name] = os.fsdecode(value)
    return found
