"""What a worker does without a remote that does not answer: say so once, and ask again later."""

from coord.cli import kit
from coord.edge import clock
from coord.edge.run import spool
from coord.errors import Refusal

_AGAIN_MS = 10_000
_SAID = {
    spool.SCHEDULES: "no schedule is fired here",
    spool.ANYWHERE: "no run that any clone may execute is taken here",
}


class Reach:
    """Whether the remote decides what this clone asks it about a sort of runs.

    again_ms: before then it is not asked again.
    """

    def __init__(self, call: kit.Call, sort: str) -> None:
        self._call, self._sort = call, sort
        self.again_ms = 0
        self._is_lost = False

    def found(self) -> None:
        """It has answered."""
        self.again_ms, self._is_lost = 0, False
        spool.note_cut_off(self._call.place.local, self._sort, "")

    def lost(self, refusal: Refusal) -> None:
        """It has not answered, or not decided; `run why` tells of it too."""
        self.again_ms = clock.now_ms() + _AGAIN_MS
        if not self._is_lost:
            self._is_lost = True
            text = f"{_SAID[self._sort]}: {refusal.message}"
            spool.note_cut_off(self._call.place.local, self._sort, text)
            self._call.warn(refusal.code, text, "ev sync tells more")
