"""A child that ends with its parent, however that one ends."""

from __future__ import annotations

import os
import threading
import time

_CHECK_SECONDS = 0.1


def end_with_parent(parent: int) -> None:
    """End this process when its parent has ended: nothing may go on after a `kill -9`."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_CHECK_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()
