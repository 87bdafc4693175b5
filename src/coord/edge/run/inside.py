"""Inside a sandbox: executes the command as a child, and tells the shim outside how it ended.

    told    "started", or why it could not be executed; then its wait status

Only so the shim can tell a command that was ended by a signal from one that has exited, and
one that has failed from one that was never executed. It is started with the words
`python -I -S inside.py DESCRIPTOR WORD...` and needs nothing but the standard library.
"""

import os
import signal
import sys
from typing import NoReturn

STARTED = b"started\n"


def main() -> NoReturn:
    """Execute the words, wait, tell."""
    told, words = int(sys.argv[1]), sys.argv[2:]
    # What ends the tree asks everybody in it; we have to be there until it has ended.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)
    failing, failed = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if not pid:
        os.close(told)
        _become(words, failed)
    os.close(failed)
    fault = os.read(failing, 4096)
    os.write(told, fault or STARTED)
    _, status = os.waitpid(pid, 0)
    os.write(told, b"%d\n" % status)
    os._exit(0)


def _become(words: list[str], failed: int) -> NoReturn:
    try:
        for number in (*range(1, 32), *range(signal.SIGRTMIN, signal.SIGRTMAX + 1)):
            if number not in (signal.SIGKILL, signal.SIGSTOP):
                signal.signal(number, signal.SIG_DFL)
        os.execvp(words[0], words)
    except OSError as error:
        reason = f"cannot execute {words[0]}: {os.strerror(error.errno or 0)}"
        os.write(failed, reason.encode(errors="replace")[:4000])
    finally:
        os._exit(127)


if __name__ == "__main__":
    main()
