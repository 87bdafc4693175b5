"""An ssh server of our own on loopback: remotes as most people have them, some way off."""

import contextlib
import getpass
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
_CONFIG = """
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host
AuthorizedKeysFile {folder}/user.pub
PidFile none
UsePAM no
StrictModes no
PasswordAuthentication no
"""


@contextlib.contextmanager
def remotes(folder: Path, settings: str = "") -> Iterator[str]:
    """Serve this machine's repositories; answers what their URLs begin with.

    Git finds the key by its environment, which is that of this process meanwhile.
    settings: more lines of the server's configuration.
    """
    assert SSHD, "there is no sshd: install openssh-server"
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("host", "user"):
        (folder / name).unlink(missing_ok=True)
        words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name]
        subprocess.run(words, check=True, stdin=subprocess.DEVNULL)
    port = _free_port()
    config = folder / "config"
    config.write_text(_CONFIG.format(port=port, folder=folder) + settings)
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    server = subprocess.Popen([SSHD, "-D", "-f", config], stderr=subprocess.DEVNULL)
    before = os.environ.get("GIT_SSH_COMMAND")
    os.environ["GIT_SSH_COMMAND"] = (
        f"ssh -i {folder}/user -o IdentitiesOnly=yes -o StrictHostKeyChecking=no"
        " -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR"
    )
    try:
        _wait_for(port)
        yield f"ssh://{getpass.getuser()}@127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait()
        os.environ.pop("GIT_SSH_COMMAND")
        if before is not None:
            os.environ["GIT_SSH_COMMAND"] = before


@contextlib.contextmanager
def other_host(folder: Path) -> Iterator[Path]:
    """This machine as another host, 127.0.0.1; answers the folder of its state there."""
    settings = f'SetEnv "XDG_STATE_HOME={folder}/state" "PATH={os.environ["PATH"]}"\n'
    with remotes(folder / "ssh", settings) as url:
        os.environ["GIT_SSH_COMMAND"] += f" -p {url.rpartition(':')[2]}"
        yield folder / "state" / "coord"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for(port: int) -> None:
    for _ in range(200):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.05)
    raise AssertionError("the ssh server did not begin to listen")
