"""Give up root, then become another program. A script, run by its path, with WAY UID GID PROGRAM ….

PostgreSQL refuses to run as root, and its data and binaries may lie below folders which only root can enter.
A separate program does the change, since a fork without exec is not safe in a process with threads. WAY is
one of:

- `plain`: the user UID, without any privilege.
- `search`: the user UID, with the one capability to read files and to enter folders everywhere.
- `override`: the user UID, with the capability to pass file permissions (all that a default Docker container
  has of this kind; it also runs programs of a virtual environment made with umask 077).
- `namespace`: where no other user can be taken on (a sandbox with one user only), a user namespace in which
  this process's user is called UID. Its files then belong to the real user.

Exit status 126: the way is not open here, or the program could not be run.
"""

import ctypes
import os
import sys
from pathlib import Path

WAYS = ("plain", "search", "override", "namespace")

# linux/capability.h, linux/prctl.h, linux/sched.h
_CAPABILITY = {"search": 2, "override": 1}
_CAPABILITY_VERSION_3 = 0x20080522
_PR_SET_KEEPCAPS = 8
_PR_SET_SECUREBITS = 28
_SECBIT_NO_SETUID_FIXUP = 1 << 2
_PR_SET_NO_NEW_PRIVS = 38
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_RAISE = 2
_CLONE_NEWUSER = 0x10000000


def _checked(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _enter_namespace(libc: ctypes.CDLL, uid: int, gid: int) -> None:
    outer_uid, outer_gid = os.geteuid(), os.getegid()
    _checked(libc.unshare(_CLONE_NEWUSER))
    # An unprivileged process may map exactly its own user and, once setgroups is given up, its own group.
    for name, line in (
        ("setgroups", "deny"),
        ("uid_map", f"{uid} {outer_uid} 1"),
        ("gid_map", f"{gid} {outer_gid} 1"),
    ):
        Path("/proc/self", name).write_text(line, encoding="ascii")


def _keep_only(libc: ctypes.CDLL, capability: int) -> None:
    """Make `capability` the process's only one, and such that the program executed next has it too."""
    bit = 1 << capability
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    # Twice (effective, permitted, inheritable): bits 0 to 31, then 32 to 63.
    data = (ctypes.c_uint32 * 6)(bit, bit, bit, 0, 0, 0)
    _checked(libc.capset(header, data))
    _checked(libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, capability, 0, 0))


def become(way: str, uid: int, gid: int) -> None:
    """Change this process from root to what `way` says. Raises OSError where that is not possible."""
    libc = ctypes.CDLL(None, use_errno=True)
    if way == "namespace":
        _enter_namespace(libc, uid, gid)
        return
    capability = _CAPABILITY.get(way)
    # Without this, access(2) judges without the capability, and PostgreSQL asks it for its own programs.
    # Where it is not allowed (CAP_SETPCAP), the capability is still good for the data folder, which is never
    # asked so.
    if capability is not None and libc.prctl(_PR_SET_SECUREBITS, _SECBIT_NO_SETUID_FIXUP, 0, 0, 0) != 0:
        _checked(libc.prctl(_PR_SET_KEEPCAPS, 1, 0, 0, 0))
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)
    if capability is not None:
        _keep_only(libc, capability)
    if sys.platform == "linux":
        _checked(libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))


def main(arguments: list[str]) -> int:
    """Become what the arguments say, then execute the program. Returns only on failure."""
    way, uid, gid, *program = arguments
    try:
        become(way, int(uid), int(gid))
        os.execv(program[0], program)  # noqa: S606 - there is no shell, and none is wanted
    except (OSError, AttributeError) as error:  # AttributeError: a system without these calls
        sys.stderr.write(f"{way}: {error}\n")
    return 126


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
