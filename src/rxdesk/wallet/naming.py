"""What wallets call a pass and its template: Apple's serial number, the ids of Google's objects and classes.

All organisations of a server have one pass type at Apple and one issuer at Google, and two of them may import the same
uid. So a name is the organisation's public code, `_`, and the uid with `_` for each `:`, which Google does not take. A
uid has no `_` and a public code neither, so that no two uids have one name, and no name is a uid.

What was on phones before keeps its bare uid as its name, since neither wallet lets a pass be renamed
(docs/decisions/0021-names-in-wallets.md).
"""

from __future__ import annotations

import msgspec

from rxdesk.kit.uids import is_uid

_MARK = "_"  # in no uid and in no public code
_NOT_GOOGLES = ":"


class Named(msgspec.Struct, frozen=True):
    """Whose name it is: the uid within the organisation, and whether it is named by the bare uid."""

    uid: str
    bare: bool = False


def name_of(public_code: str, named: Named) -> str:
    """Give the name of an organisation's pass or template: the serial number at Apple."""
    return named.uid if named.bare else f"{public_code}{_MARK}{_for_google(named.uid)}"


def named_by(public_code: str, name: str) -> Named | None:
    """Tell which uid of an organisation has a name; None: none can."""
    prefix = f"{public_code}{_MARK}"
    bare = not name.startswith(prefix)
    uid = name.removeprefix(prefix).replace(_MARK, _NOT_GOOGLES)
    return Named(uid, bare) if is_uid(uid) else None


def google_id(issuer: str, name: str) -> str:
    """Give the id of the class or object of that name at Google."""
    return f"{issuer}.{_for_google(name)}"


def _for_google(text: str) -> str:
    return text.replace(_NOT_GOOGLES, _MARK)
