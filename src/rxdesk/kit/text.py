"""The forms in which text is compared, and what of it can be seen: one place, so that no two users differ."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

_EMAIL = re.compile(r"[^\s@\x00-\x1f\x7f]+@[^\s@\x00-\x1f\x7f]+\.[^\s@.\x00-\x1f\x7f]+")
EMAIL_LENGTH = 254  # RFC 5321, section 4.5.3.1.3, less the angle brackets

# Spaces, controls, and what Unicode has programs show nothing for.
_UNSEEN = (
    r"\s\x00-\x20\x7f-\xa0\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2000-\u200f\u2028-\u202f\u205f-\u206f"
    r"\u2800\u3000\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb"
)
_SEEN = re.compile(rf"[^{_UNSEEN}\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]")
SEEN_IN_SCHEMAS: Final = rf"[^{_UNSEEN}]"
"""Finds a character that can be seen, as JSON Schema can say it: it has no escapes beyond U+FFFF that all know."""


def sort_key(text: str) -> str:
    """Give the key that lists are ordered by: NFKD without marks, casefolded; compared by its bytes."""
    parts = unicodedata.normalize("NFKD", text.casefold())
    return "".join(c for c in parts if not unicodedata.combining(c)).strip()


def is_blank(text: str) -> bool:
    """Tell whether nothing of a text can be seen."""
    return _SEEN.search(text) is None


def email_key(email: str) -> str:
    """Give the form in which e-mail addresses are compared: trimmed, NFC, casefolded."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", email.strip()).casefold())


def is_email(text: str) -> bool:
    """Tell whether the text has the form of one e-mail address of at most 254 characters."""
    trimmed = text.strip()
    return len(trimmed) <= EMAIL_LENGTH and _EMAIL.fullmatch(trimmed) is not None
