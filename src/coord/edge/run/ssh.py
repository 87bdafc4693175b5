"""A connection to another host: ssh, the Python there, and our own code, which it is sent.

Nothing has to be installed there but a POSIX shell and Python 3.11 (and git, for runs with
a workspace). The code is a zip of a few of our modules, kept there by its hash. Whatever is
secret goes through the connection, never through a command line.

    ssh HOST python3 -c BOOT    reads the loader and executes that
    loader                      answers `want` for the code, or `have`, then begins the far end
    far end                     `edge.run.far`, in frames

It needs nothing but the standard library and ssh.
"""

import functools
import hashlib
import io
import os
import select
import signal
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import coord
from coord.edge import process
from coord.edge.run.frames import Frame, Frames, packed
from coord.edge.run.output import write_all

SENTINEL = b"\ncoord-far "
_PYTHON = "python3"
# In UTF-8, whatever the language there: arguments are the bytes that they were here.
_FLAGS = "-I -S -B -X utf8"
_BOOT = 'b=open(0,"rb",closefd=False);exec(b.read(int(b.readline())))'
_LOADER = """
import os, sys
def answer(text):
    os.write(1, ("\\ncoord-far " + text + "\\n").encode())
if sys.version_info < (3, 11):
    answer("old " + sys.version.split()[0])
    sys.exit()
state = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
state = os.path.join(state, "coord")
path = os.path.join(state, "code-%s.zip" % NAME)
try:
    os.makedirs(state, mode=0o700, exist_ok=True)
    if not os.path.exists(path):
        answer("want")
        data = b.read(int(b.readline()))
        aside = "%s.%d" % (path, os.getpid())
        with open(aside, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(aside, path)
except OSError as error:
    answer("fault " + str(error))
    sys.exit()
answer("have")
sys.path.insert(0, path)
from coord.edge.run import far
far.serve(state, STORE)
"""
# What the far end is made of: whole folders, and modules.
_CODE = ("core", "core/run", "edge/run", "__init__.py", "errors.py", "edge/__init__.py",
         "edge/environment.py", "edge/git.py")  # fmt: skip
_OPTIONS = ("-T", "-o", "BatchMode=yes", "-o", "ConnectTimeout=15", "-o", "ServerAliveInterval=15",
            "-o", "ServerAliveCountMax=3")  # fmt: skip
_HELLO_S = 60.0
# How long ssh may take to end when the connection has.
_ENDS_S = 2.0
_CHUNK_BYTES = 1 << 18
_LONGEST_ANSWER_BYTES = 4096
_SSH_FAILED = 255


class Broken(Exception):
    """The connection has ended, or was never there; is_final: it will not be otherwise."""

    def __init__(self, text: str, is_final: bool = False) -> None:
        super().__init__(text)
        self.is_final = is_final


@functools.cache
def code() -> tuple[str, bytes]:
    """The code of the far end: its name, which follows from its content, and a zip."""
    import zipfile

    root = os.path.dirname(coord.__file__)
    packing = io.BytesIO()
    with zipfile.ZipFile(packing, "w") as archive:
        for path in sorted(_files(root)):
            with open(os.path.join(root, path), "rb") as stream:
                # Without a date: the same content is to have the same name.
                named = zipfile.ZipInfo(f"coord/{path}")
                archive.writestr(named, stream.read(), zipfile.ZIP_DEFLATED)
    data = packing.getvalue()
    return hashlib.sha256(data).hexdigest()[:16], data


def _files(root: str) -> Iterable[str]:
    for part in _CODE:
        if part.endswith(".py"):
            yield part
            continue
        for name in os.listdir(os.path.join(root, part)):
            if name.endswith(".py"):
                yield f"{part}/{name}"


class Connection:
    """One connection, from its beginning to its end."""

    def __init__(
        self, words: Sequence[str], host: str, environment: Mapping[str, str], errors: str
    ) -> None:
        """Start ssh; raises `Broken`.

        words: ssh itself, with the user's options. errors: a file for what it complains of.
        """
        self._errors = errors
        command = f"exec {_PYTHON} {_FLAGS} -c '{_BOOT}'"
        given, self._writing = os.pipe2(os.O_CLOEXEC)
        self.reading, taken = os.pipe2(os.O_CLOEXEC)
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        complaints = os.open(errors, flags, 0o600)
        try:
            streams = {0: given, 1: taken, 2: complaints}
            everything = [*words, *_OPTIONS, "--", host, command]
            self._pid = process.start(everything, environment, streams).pid
        except process.NotStarted as error:
            self._pid = 0
            self.close()
            raise Broken(str(error), is_final=True) from error
        finally:
            for descriptor in (given, taken, complaints):
                os.close(descriptor)
        self._frames = Frames()
        self._come: list[Frame] = []

    def open(self, store: str) -> None:
        """Have the far end there; raises `Broken`."""
        name, data = code()
        loader = f"NAME, STORE = {name!r}, {store!r}\n{_LOADER}".encode()
        self._write(b"%d\n%s" % (len(loader), loader))
        left, ends_at = b"", time.monotonic() + _HELLO_S
        while True:
            # Whatever a login prints before has no meaning.
            at = left.find(SENTINEL)
            end = left.find(b"\n", at + len(SENTINEL)) if at >= 0 else -1
            if end < 0:
                if at >= 0 and len(left) - at > _LONGEST_ANSWER_BYTES:
                    raise Broken("its answers make no sense")
                # It may print without end.
                left = left[at if at >= 0 else -len(SENTINEL) :]
                left += self._read(ends_at - time.monotonic())
                continue
            answer = left[at + len(SENTINEL) : end].decode(errors="replace")
            left = left[end + 1 :]
            if answer == "want":
                self._write(b"%d\n%s" % (len(data), data))
            elif answer == "have":
                self._come += self._frames.feed(left)
                return
            elif answer.startswith("old "):
                raise Broken(f"its {_PYTHON} is {answer[4:]}, and 3.11 is needed", is_final=True)
            else:
                raise Broken(answer, is_final=True)

    def send(self, what: str, data: bytes = b"", **told: Any) -> None:
        """Send a frame; raises `Broken`."""
        self._write(packed(what, data, **told))

    def expect(self, what: str) -> Mapping[str, Any]:
        """The next frame, which is to be of this kind; raises `Broken`."""
        ends_at = time.monotonic() + _HELLO_S
        while not self._come:
            self._come += self._fed(self._read(ends_at - time.monotonic()))
        told, _ = self._come.pop(0)
        if told["is"] == "fault":
            raise Broken(told["text"], is_final=True)
        if told["is"] != what:
            raise Broken(f"its answer {told['is']} is not {what}")
        return told

    def came(self) -> list[Frame]:
        """The frames that have come, of which nothing has to be waited for; raises `Broken`."""
        if not self._come:
            self._come += self._fed(self._read(0.0) if _is_readable(self.reading, 0.0) else b"")
        came, self._come = self._come, []
        return came

    def _fed(self, data: bytes) -> list[Frame]:
        try:
            return [*self._frames.feed(data)]
        except (ValueError, KeyError) as error:
            raise Broken("its answers make no sense") from error

    def _write(self, data: bytes) -> None:
        try:
            write_all(self._writing, data)
        except OSError as error:
            raise self._broken() from error

    def _read(self, wait_s: float) -> bytes:
        if wait_s < 0 or not _is_readable(self.reading, wait_s):
            raise Broken("it does not answer")
        data = os.read(self.reading, _CHUNK_BYTES)
        if not data:
            raise self._broken()
        return data

    def _broken(self) -> Broken:
        """Why the connection has ended, in ssh's own last words."""
        status = self._ended()
        with open(self._errors, encoding="utf-8", errors="replace") as stream:
            lines = [line.strip() for line in stream if line.strip()]
        said = lines[-1] if lines else "the connection has ended"
        return Broken(said, is_final=status not in (0, _SSH_FAILED) and status > 0)

    def _ended(self) -> int:
        """The exit status of ssh, which is ended where it has not."""
        if self._writing >= 0:
            os.close(self._writing)
            self._writing = -1
        if not self._pid:
            return 0
        handle = os.pidfd_open(self._pid)
        try:
            if not _is_readable(handle, _ENDS_S):
                os.kill(self._pid, signal.SIGKILL)
        finally:
            os.close(handle)
        status = os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])
        self._pid = 0
        return status

    def close(self) -> None:
        """End it."""
        self._ended()
        os.close(self.reading)


def _is_readable(descriptor: int, wait_s: float) -> bool:
    # Not select(), which knows no descriptors above a thousand.
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(1000 * wait_s))
