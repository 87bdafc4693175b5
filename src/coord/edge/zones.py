"""Time zones by name, from the machine's own tables."""

from datetime import UTC, tzinfo

from coord.errors import Refusal


def named(name: str) -> tzinfo:
    """The zone of this name; UTC for "". Refuses with `usage`."""
    if not name or name == "UTC":
        return UTC
    import zoneinfo

    try:
        return zoneinfo.ZoneInfo(name)
    except (ValueError, OSError, zoneinfo.ZoneInfoNotFoundError):
        raise Refusal("usage", f"{name[:60]!r} is no time zone known here",
                      "give one like Europe/Berlin, or UTC") from None  # fmt: skip
