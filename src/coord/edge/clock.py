"""The wall clock and chance, both frozen by the environment in tests."""

import os
import time

from coord.core import digest
from coord.core.event import is_integer
from coord.edge import environment
from coord.errors import Refusal

_BOOT_ID = "/proc/sys/kernel/random/boot_id"
# What an event id can carry: 48 bits, less the room that ids from the future need.
_LATEST_MS = (1 << 48) - 1 - 3_600_000


def now_ms() -> int:
    """Milliseconds since the epoch; `COORD_NOW_MS` freezes it."""
    frozen = environment.get(environment.NOW_MS)
    if not frozen:
        return time.time_ns() // 1_000_000
    is_number = frozen.isascii() and frozen.isdigit() and len(frozen) <= 15
    if not (is_number and is_integer(int(frozen))):
        raise Refusal("usage", f"{environment.NOW_MS}={frozen!r} is not a number of milliseconds")
    return min(int(frozen), _LATEST_MS)


def boot_ms() -> int:
    """Milliseconds since this machine was started, its sleep included; nothing sets it."""
    which = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    return time.clock_gettime_ns(which) // 1_000_000


def boot_id() -> str:
    """What tells this start of the machine from the one before."""
    try:
        with open(_BOOT_ID, encoding="ascii") as stream:
            return stream.read().strip()
    except OSError:
        return ""


class Chance:
    """Random bytes; `COORD_SEED` makes them repeatable.

    salt: what distinguishes one use of the seed from the next, such as the newest
    event id: two commands in a row must not draw the same bytes.
    """

    def __init__(self, salt: str = "") -> None:
        self._seed = environment.get(environment.SEED)
        self._salt = salt
        self._draws = 0

    def draw(self, count: int) -> bytes:
        """`count` random bytes, at most 32."""
        if not self._seed:
            return os.urandom(count)
        self._draws += 1
        text = f"{self._seed}\n{self._salt}\n{self._draws}"
        return digest.sha256(text.encode()).digest()[:count]

    def name(self, length: int) -> str:
        """A random lower-case base32 word of at most 16 characters."""
        return base32(self.draw(16))[:length]


def base32(data: bytes) -> str:
    """Lower-case base32 without padding, from the end of `data`."""
    number = int.from_bytes(data, "big")
    digits = "abcdefghijklmnopqrstuvwxyz234567"
    return "".join(digits[(number >> shift) & 31] for shift in range(0, len(data) * 8, 5))
