"""Who has the data folder: a lock on a file in it, which says by whom it is held and where the server is reached."""

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rxdesk.db.embedded_process import EmbeddedError, close_kept, keep_from_children

NAME = "rxdesk.lock"


class InUseError(EmbeddedError):
    """Another rxdesk process has the data folder."""


def acquire(data_dir: Path, purpose: str, say: Callable[[str], None], wait_seconds: float) -> int:
    """Take the folder's lock; raises InUseError. It is bound to the open file, so it ends with this process."""
    descriptor = os.open(data_dir / NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    keep_from_children(descriptor)
    # Never at once: `running` of another process holds the lock for an instant.
    deadline = time.monotonic() + max(wait_seconds, 0.2)
    said = False
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                found = holder(descriptor)
                who = (
                    f"rxdesk {found.get('purpose', '')} (pid {found.get('pid')})"
                    if found
                    else "another rxdesk"
                )
                if time.monotonic() > deadline:
                    raise InUseError(
                        f"the data folder {data_dir} is in use by {who}. Stop it first, or use "
                        "another --data-dir"
                    ) from None
                if (
                    not said and found and wait_seconds > 1
                ):  # who has just taken it writes its name in a moment
                    say(f"waiting up to {wait_seconds:.0f} s for {who} to leave {data_dir}")
                    said = True
                time.sleep(0.05)
        note(descriptor, purpose, None)
    except BaseException:
        close_kept(descriptor)
        raise
    return descriptor


def note(lock: int, purpose: str, socket_dir: Path | None) -> None:
    """Write who holds the lock and, once its server answers, where."""
    facts = {
        "pid": os.getpid(),
        "purpose": purpose,
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    if socket_dir is not None:
        facts["socket_dir"] = str(socket_dir)
    text = json.dumps(facts).encode()
    os.ftruncate(lock, 0)
    os.pwrite(lock, text, 0)


def holder(descriptor: int) -> dict[str, Any]:
    """Read what the holder wrote: `pid`, `purpose`, `started` and maybe `socket_dir`; empty while nobody did."""
    # Another process may be writing it just now; then there is nothing to know yet.
    with contextlib.suppress(ValueError):
        facts = json.loads(os.pread(descriptor, 8192, 0))
        if isinstance(facts, dict):
            return facts
    return {}


def release(lock: int) -> None:
    """Give the folder back."""
    with contextlib.suppress(OSError):
        os.ftruncate(lock, 0)
    close_kept(lock)
