"""Groups of runs that any clone may execute: their places, as the git remote counts them.

`run:@NAME` is the domain of a group, beside those of the runs themselves, and
`run:@NAME*N` what each of its runs holds a place of while an attempt is open. Nobody else
leases a resource of kind `run`.
"""

from collections.abc import Mapping
from typing import Any

DOMAIN = "run:@"


def domain_of(spec: Mapping[str, Any]) -> str:
    """The domain of a request's group; "" where it has none."""
    return f"{DOMAIN}{spec['group']['name']}" if "group" in spec else ""


def resource_of(domain: str, limit: int) -> str:
    """What a run of a group holds a place of, at most so many at once."""
    return f"{domain}*{limit}" if limit > 1 else domain


def places_of(spec: Mapping[str, Any]) -> dict[str, str]:
    """What a run holds a place of beside itself: the resource of its group, by domain."""
    domain = domain_of(spec)
    return {domain: resource_of(domain, spec["group"]["limit"])} if domain else {}
