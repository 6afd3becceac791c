"""The video room of a visit."""

from __future__ import annotations

import secrets
from collections.abc import Callable

_RANDOM_BYTES = 24


def new_video_room(*, token: Callable[[int], str] = secrets.token_urlsafe) -> str:
    """Make the id of a new video room: nobody can guess it, and doctor and patient get the same one.

    The place where a video provider would be asked for a room, or a provider's token be made. It runs inside the
    transaction that allocates the visit, so what takes a call to the outside belongs before it.
    """
    return f"vr-{token(_RANDOM_BYTES)}"
