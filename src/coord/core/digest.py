"""SHA-256, with as little to load as the work needs.

Loading OpenSSL takes longer than all the hashing of a short command; for megabytes
it is worth it, being two to four times as fast. Both give the same bytes.
"""

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from hashlib import sha256
else:
    try:
        # The interpreter's own; where it has another name, OpenSSL's will do.
        from _sha256 import sha256
    except ImportError:
        from hashlib import sha256

__all__ = ["sha256", "sha256_for"]

_MANY_BYTES = 1 << 19


class Sha256(Protocol):
    """What hashes some bytes."""

    def __call__(self, data: bytes, /) -> Any:
        """The digest object."""


def sha256_for(byte_count: int) -> Sha256:
    """What to hash that many bytes in all with."""
    if byte_count < _MANY_BYTES:
        return sha256
    import hashlib

    return hashlib.sha256
