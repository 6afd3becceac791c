"""What the server says to the process of the demo's phones; it imports nothing that a start would wait for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

LANGUAGES: Final = ("de", "en")
"""Of the sample customer's phones, one each."""


@dataclass(frozen=True, slots=True)
class Launch:
    """All that the process needs.

    `folder` holds the chain of certificates and the phones' passes, `pass_url` is where the sample pass is loaded down,
    `listener` the descriptor of the push service's socket, which listens already, and `parent` the server's pid.
    `google` is the like of `listener` for Google's Wallet API; None: it is not wanted.
    """

    folder: Path
    pass_url: str
    listener: int
    parent: int
    google: int | None = None


def kept_files(folder: Path) -> list[Path]:
    """Name the files in which the phones keep their pass: all are there once each phone has registered it."""
    return [folder / f"phone-{number}.pkpass" for number, _ in enumerate(LANGUAGES, start=1)]
