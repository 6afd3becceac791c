"""Links that save a pass to Google Wallet: a signed token in the address, with the object in it where that fits."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import msgspec

from rxdesk.kit.clock import unix
from rxdesk.kit.jwt import sign_rs256
from rxdesk.wallet.card import Card
from rxdesk.wallet.google.account import ServiceAccount
from rxdesk.wallet.google.documents import FAMILY, object_document

SAVE_URL: Final = "https://pay.google.com/gp/v/save"
LONGEST_TOKEN: Final = 1800
"""Characters up to which, as Google says, no browser cuts the address off."""


class SaveLink(msgspec.Struct, frozen=True):
    """A link for one holder. When it is not `whole` the object must be with Google before the link is followed.

    The class must be there in any case.
    """

    url: str
    whole: bool


def save_link(
    card: Card,
    issuer: str,
    account: ServiceAccount,
    now: datetime,
    origins: Sequence[str] = (),
    save_url: str = SAVE_URL,
) -> SaveLink:
    """Make the link that saves a card. `origins` are the sites on which Google's own button is shown."""
    document = object_document(card, issuer)
    token = _token(card, document, account, now, origins)
    whole = len(token) <= LONGEST_TOKEN
    if not whole:
        named = {name: document[name] for name in ("id", "classId")}
        token = _token(card, named, account, now, origins)
    return SaveLink(f"{save_url.rstrip('/')}/{token}", whole)


def _token(
    card: Card, document: dict[str, Any], account: ServiceAccount, now: datetime, origins: Sequence[str]
) -> str:
    claims = {
        "iss": account.email,
        "aud": "google",
        "typ": "savetowallet",
        "iat": unix(now),
        "origins": list(origins),
        "payload": {f"{FAMILY[card.kind]}Objects": [document]},
    }
    return sign_rs256(claims, account.key, account.key_id)
