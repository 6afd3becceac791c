"""A child that ends with its parent, however that one ends, and what a parent says before it ends one."""

from __future__ import annotations

import os
import signal
import threading
import time
from typing import Final

END_STREAMS: Final = signal.SIGUSR1
"""Tells a serving process that it will be told to stop: its streams end, and it takes no more."""

_CHECK_SECONDS = 0.1


def end_with_parent(parent: int) -> None:
    """End this process when its parent has ended: nothing may go on after a `kill -9`."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_CHECK_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()
