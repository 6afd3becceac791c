"""The folder of an emulator's files, which it has to itself; imports nothing that a start waits for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from rxdesk.kit.files import FileInUseError, kept_from_others

_LOCK: Final = "emulator.lock"


class FolderInUseError(Exception):
    """The folder is another emulator's, or a demo's, that is running; the message says so."""


class DamagedFileError(Exception):
    """A file in the folder cannot be read; the message says which."""


@contextmanager
def having(folder: Path) -> Iterator[None]:
    """Have the folder, which is made where it is not there, to oneself until the block ends.

    Two emulators would write over each other's account and passes. Raises FolderInUseError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        try:
            stack.enter_context(kept_from_others(folder / _LOCK))
        except FileInUseError as error:
            raise FolderInUseError(
                f"{folder} is in use by a demo or an emulator that is running: stop it, or name another folder"
            ) from error
        yield
