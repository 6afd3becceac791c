"""What several reads share."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from django.http import Http404

from rxdesk.kit.uids import is_uid

Values = dict[str, Any]


def uid_or_404(text: str) -> str:
    """Give a path's uid; a text that no uid can be is as unknown as any other."""
    if not is_uid(text):
        raise Http404
    return text


def grouped(rows: Iterable[Values], by: str) -> defaultdict[str, list[Values]]:
    """Group children by their parent's uid; a parent without children has an empty list."""
    groups: defaultdict[str, list[Values]] = defaultdict(list)
    for row in rows:
        groups[row[by]].append(row)
    return groups


def doctor_of(prescription: Values) -> Values | None:
    """Give the doctor that was joined to a prescription, if there is one and it is not deleted."""
    if prescription["doctor_uid"] is None or prescription["doctor__deleted_at"] is not None:
        return None
    return {"uid": prescription["doctor_uid"], "display_name": prescription["doctor__display_name"]}
