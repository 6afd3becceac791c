"""The forms in which text is compared: one place, so that writing and looking up never differ."""

from __future__ import annotations

import re
import unicodedata

_EMAIL = re.compile(r"[^\s@\x00-\x1f\x7f]+@[^\s@\x00-\x1f\x7f]+\.[^\s@.\x00-\x1f\x7f]+")
EMAIL_LENGTH = 254  # RFC 5321, section 4.5.3.1.3, less the angle brackets


def sort_key(text: str) -> str:
    """Give the key that lists are ordered by: NFKD without marks, casefolded; compared by its bytes."""
    parts = unicodedata.normalize("NFKD", text.casefold())
    return "".join(c for c in parts if not unicodedata.combining(c)).strip()


def email_key(email: str) -> str:
    """Give the form in which e-mail addresses are compared: trimmed, NFC, casefolded."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", email.strip()).casefold())


def is_email(text: str) -> bool:
    """Tell whether the text has the form of one e-mail address of at most 254 characters."""
    trimmed = text.strip()
    return len(trimmed) <= EMAIL_LENGTH and _EMAIL.fullmatch(trimmed) is not None
