"""What wallets call a pass and its template: Apple's serial number, the ids of Google's objects and classes.

All organisations of a server have one pass type at Apple and one issuer at Google, and two of them may import the same
uid. So a name is the organisation's public code, `_`, and the uid, in which Google takes no `:`: `_c` stands for it,
and `__` for `_`. A public code has no `_`, so that no two uids have one name, and each name has one uid.

What was on phones before keeps its bare uid as its name, since neither wallet lets a pass be renamed
(docs/decisions/0021-names-in-wallets.md).
"""

from __future__ import annotations

import re

import msgspec

from rxdesk.kit.uids import is_uid

_MARK = "_"  # in no public code
_ESCAPES = {"_": "__", ":": "_c"}
_ESCAPED = re.compile(r"(?:[^_]|__|_c)*")
# Before a bare uid with a `:` at Google: no public code begins so, and no bare uid that is a name.
_BARE_AT_GOOGLE = "_."


class Named(msgspec.Struct, frozen=True):
    """Whose name it is: the uid within the organisation, and whether it is named by the bare uid."""

    uid: str
    bare: bool = False


def name_of(public_code: str, named: Named) -> str:
    """Give the name of an organisation's pass or template: the serial number at Apple."""
    return named.uid if named.bare else f"{public_code}{_MARK}{_escaped(named.uid)}"


def named_by(public_code: str, name: str) -> Named | None:
    """Tell which uid of an organisation has a name; None: none can."""
    prefix = f"{public_code}{_MARK}"
    if not name.startswith(prefix):
        return _named(name, bare=True)
    return _named(_unescaped(name.removeprefix(prefix)), bare=False)


def google_id(issuer: str, name: str) -> str:
    """Give the id of the class or object of that name at Google."""
    return f"{issuer}.{_BARE_AT_GOOGLE}{_escaped(name)}" if ":" in name else f"{issuer}.{name}"


def named_at_google(public_code: str, issuer: str, identifier: str) -> Named | None:
    """Tell which uid of an organisation has an id at Google; None: none can."""
    number, _, name = identifier.partition(".")
    if number != issuer:
        return None
    if name.startswith(_BARE_AT_GOOGLE):
        return _named(_unescaped(name.removeprefix(_BARE_AT_GOOGLE)), bare=True)
    return named_by(public_code, name)


def _named(uid: str | None, *, bare: bool) -> Named | None:
    return Named(uid, bare) if uid is not None and is_uid(uid) else None


def _escaped(text: str) -> str:
    return re.sub("[_:]", lambda found: _ESCAPES[found[0]], text)


def _unescaped(text: str) -> str | None:
    if _ESCAPED.fullmatch(text) is None:
        return None
    return re.sub("__|_c", lambda found: ":" if found[0] == "_c" else "_", text)
