"""Landlock and a system call filter, for this process and all that it starts.

    files       only below paths that are named (Landlock, ABI 3 or newer: older ones let
                any file be cut short)
    signals     only to what is in the same sandbox (ABI 6 or newer)
    network     no sockets at all, of whatever family, and no io_uring, which has its own
    rights      a root's are given up: with them other processes' memory can be read

Rules only ever add: what is read-only inside of what may be written is left out by naming
everything beside it, so there, next to it, nothing new can be made. It guards what is
opened, made, renamed and removed; it does not guard modes, owners and times. There is no
way back out of it. It needs nothing but the standard library.
"""

import ctypes
import errno
import os
import platform
import stat
import struct
from collections.abc import Iterable

LEAST_ABI = 3
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION, _PATH_BENEATH = 1, 1
_NO_NEW_PRIVS, _SECCOMP, _FILTER = 38, 22, 2
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR, _TRUNCATE, _IOCTL_DEV = 1, 2, 4, 8, 1 << 14, 1 << 15
_READ = _EXECUTE | _READ_FILE | _READ_DIR
_ON_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEV
# All that ABI 3 knows: making, removing, linking and renaming besides the above.
_ABI_3 = (1 << 15) - 1
_SCOPES = 3
_CAPABILITIES = 0x20080522
# The numbers of socket and io_uring_setup, by what the kernel calls the machine.
_ARCHITECTURES = {
    "x86_64": (0xC000003E, 41, 425),
    "aarch64": (0xC00000B7, 198, 425),
    "riscv64": (0xC00000F3, 198, 425),
}
_LOAD, _JUMP_EQUAL, _JUMP_AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000 | errno.EACCES
# From here on the numbers are those of another calling convention (x32).
_FOREIGN = 0x40000000
_LIBC = ctypes.CDLL(None, use_errno=True)


def abi() -> int:
    """Which version of Landlock the kernel has; 0 for none."""
    found = _LIBC.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), _VERSION)
    return max(0, int(found))


def fault(network: bool) -> str:
    """What keeps this from working here; "" for nothing."""
    found = abi()
    if found < LEAST_ABI:
        return f"the kernel has Landlock ABI {found}, and {LEAST_ABI} is needed"
    if not network and platform.machine() not in _ARCHITECTURES:
        return f"no filter is known for {platform.machine()}, so it would need the network"
    return ""


def enforce(reads: Iterable[str], writes: Iterable[str], network: bool) -> None:
    """Bind this process; raises OSError, and then nothing may be executed."""
    found = abi()
    if fault(network):
        raise OSError(errno.ENOSYS, fault(network))
    handled = _ABI_3 | (_IOCTL_DEV if found >= 5 else 0)
    # The structure grew with the versions: files, network, scopes.
    content = struct.pack("=QQQ", handled, 0, _SCOPES)
    size = 24 if found >= 6 else 16 if found >= 4 else 8
    rules = _checked(_LIBC.syscall(_CREATE_RULESET, content, ctypes.c_size_t(size), 0))
    for path in reads:
        _allow(rules, path, _READ)
    for path in writes:
        _allow(rules, path, handled)
    _checked(_LIBC.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0))
    # With no new privileges, nothing that is executed gets them back.
    _checked(_LIBC.capset(struct.pack("=Ii", _CAPABILITIES, 0), bytes(24)))
    _checked(_LIBC.syscall(_RESTRICT_SELF, rules, 0))
    os.close(rules)
    if not network:
        _refuse_sockets()


def _allow(rules: int, path: str, rights: int) -> None:
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return
    try:
        if not stat.S_ISDIR(os.fstat(descriptor).st_mode):
            rights &= _ON_FILES
        content = struct.pack("=Qi", rights, descriptor)
        _checked(_LIBC.syscall(_ADD_RULE, rules, _PATH_BENEATH, content, 0))
    finally:
        os.close(descriptor)


def _refuse_sockets() -> None:
    """Pairs of connected sockets can still be made: they lead nowhere else."""
    machine, socket, ring = _ARCHITECTURES[platform.machine()]
    steps = [
        (_LOAD, 0, 0, 4),
        (_JUMP_EQUAL, 0, 5, machine),
        (_LOAD, 0, 0, 0),
        (_JUMP_AT_LEAST, 3, 0, _FOREIGN),
        (_JUMP_EQUAL, 2, 0, socket),
        (_JUMP_EQUAL, 1, 0, ring),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _REFUSE),
    ]
    program = b"".join(struct.pack("=HBBI", *step) for step in steps)
    content = ctypes.create_string_buffer(program, len(program))
    head = struct.pack("@HP", len(steps), ctypes.addressof(content))
    _checked(_LIBC.prctl(_SECCOMP, _FILTER, head, 0, 0))


def _checked(answer: int) -> int:
    if answer < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return int(answer)
