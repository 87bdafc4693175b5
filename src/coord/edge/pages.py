"""The files of the package that a page is made of, and where a finished page goes."""

import contextlib
import os

from coord.core.report.page import Assets
from coord.edge.store import refusing_disk_errors
from coord.errors import Refusal

FOLDER = "report"


def assets() -> Assets:
    """Template, style and script, as they were installed."""
    package = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
    found = []
    for kind in ("html", "css", "js"):
        path = os.path.join(package, FOLDER, f"page.{kind}")
        with open(path, encoding="utf-8", newline="") as stream:
            found.append(stream.read())
    return Assets(*found)


def write(path: str, text: str) -> int:
    """Put a page in the place of a file, whole or not at all; answer its bytes.

    Refusals: no_file when its folder is missing, disk, read_only.
    """
    target = os.path.realpath(path)
    folder = os.path.dirname(target)
    if not os.path.isdir(folder) or os.path.isdir(target):
        what = f"{path} is a folder" if os.path.isdir(target) else f"there is no folder {folder}"
        raise Refusal("no_file", what, "name a file in a folder that is there")
    data = text.encode(errors="replace")
    if os.path.exists(target) and not os.path.isfile(target):
        # A pipe or a device cannot be replaced.
        with open(target, "wb") as stream:
            stream.write(data)
        return len(data)
    temporary = f"{target}.{os.getpid()}.new"
    with refusing_disk_errors(target):
        try:
            with open(temporary, "xb") as stream:
                stream.write(data)
            os.replace(temporary, target)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
    return len(data)
