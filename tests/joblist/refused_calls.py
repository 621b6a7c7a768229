"""Run a module with some system calls refused by the kernel, as a poorer file system would refuse them.

Arguments: `link` or `flock`, the name of an errno, then the code to run.
"""

from __future__ import annotations

import ctypes
import errno
import platform
import struct
import sys

_NUMBERS = {
    "x86_64": {"link": (86, 265), "flock": (73,)},
    "aarch64": {"link": (37,), "flock": (32,)},
}
_SET_NO_NEW_PRIVILEGES, _SET_SECCOMP, _FILTER = 38, 22, 2
_LOAD, _JUMP_IF_EQUAL, _RETURN = 0x20, 0x15, 0x06
_ALLOW, _FAIL_WITH = 0x7FFF0000, 0x00050000


def possible() -> bool:
    """True on the machines whose call numbers are known here."""
    return sys.platform == "linux" and platform.machine() in _NUMBERS


def refuse(call: str, number: int) -> None:
    """Let `call` fail with the errno `number` in this process and its children, for good."""
    lines = [(_LOAD, 0, 0, 0)]
    for called in _NUMBERS[platform.machine()][call]:
        lines += [(_JUMP_IF_EQUAL, 0, 1, called), (_RETURN, 0, 0, _FAIL_WITH | number)]
    lines.append((_RETURN, 0, 0, _ALLOW))
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in lines))
    program = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", len(lines), ctypes.addressof(code)))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_SET_NO_NEW_PRIVILEGES, 1, 0, 0, 0) or libc.prctl(_SET_SECCOMP, _FILTER, program, 0, 0):
        raise OSError(ctypes.get_errno(), "no filter for system calls")


if __name__ == "__main__":
    refuse(sys.argv[1], getattr(errno, sys.argv[2]))
    exec(sys.argv[3])
