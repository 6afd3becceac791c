"""Passes in Google Wallet: Google is given what it needs of one, and says when a holder saves or deletes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import msgspec
import structlog

from rxdesk import errors
from rxdesk.access import Access, Transaction
from rxdesk.kit.clock import Clock
from rxdesk.kit.egress import Egress
from rxdesk.kit.targets import TargetRefused
from rxdesk.settings import Settings
from rxdesk.wallet import pass_queries
from rxdesk.wallet.card import Card
from rxdesk.wallet.google.account import GoogleIssuer
from rxdesk.wallet.google.callbacks import Callback
from rxdesk.wallet.google.client import GoogleWallet, Told
from rxdesk.wallet.google.keys import RootKeys
from rxdesk.wallet.google.links import save_link
from rxdesk.wallet.issuing import Held, Issuer, read_held
from rxdesk.wallet.naming import Named, named_at_google
from rxdesk.wallet.telling import tell_google

_log = structlog.get_logger("rxdesk.wallet")

_DONE: Final = Told("done", None, None)
_FORBIDDEN: Final = Told("retry", None, "forbidden")

# The locks put what Google says and changes of the pass one after the other: a change that is not seen here sees that
# Google has the pass. Template, pass and what Google has are locked in this order by all.
_PASS = """
WITH template AS (
  SELECT FROM wallet_pass_templates t WHERE t.organisation_id = $1 AND t.uid = (
    SELECT k.wallet_pass_template_uid FROM wallet_passes k WHERE k.organisation_id = $1 AND k.uid = $2)
  FOR SHARE
)
SELECT true FROM template CROSS JOIN wallet_passes p
WHERE p.organisation_id = $1 AND p.uid = $2 AND p.bare_serial = $3
FOR SHARE OF p"""  # noqa: S105 (a statement)

# An older callback than the last one, and the same once more, change nothing. $3 since when it is saved, or NULL
_SAID = """
INSERT INTO wallet_google_passes AS g (organisation_id, wallet_pass_uid, saved_at, callback_ends_at, callback_nonce)
VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (organisation_id, wallet_pass_uid) DO UPDATE
SET saved_at = excluded.saved_at, callback_ends_at = excluded.callback_ends_at,
  callback_nonce = excluded.callback_nonce
WHERE g.callback_ends_at <= excluded.callback_ends_at AND g.callback_nonce <> excluded.callback_nonce
RETURNING true"""


class Given(msgspec.Struct, frozen=True):
    """What became of giving Google a pass; `class_mark` is what its class was given as, None where Google had it."""

    told: Told
    class_mark: str | None = None


@dataclass(frozen=True, slots=True)
class Giver:
    """Gives Google classes and objects. It holds no connection to the database."""

    client: GoogleWallet
    issuer: Issuer

    async def give_class(self, organisation_id: int, held: Held, *, again: bool = False) -> Given:
        """Give the class of a pass's template, unless Google has it as it is now; `again`: in any case."""
        if not held.fits_google:
            return Given(Told("refused", None, "no_logo"))
        mark = self.issuer.class_mark(held)
        if held.google_class == mark and not again:
            return Given(_DONE)
        try:
            pattern = self.issuer.pattern(organisation_id, held)
            told = await self.client.put_class(pattern, self.issuer.callback_url(held.public_code))
        except TargetRefused:  # by the policy of egress, which an operator can change
            return Given(_FORBIDDEN)
        return Given(told, mark if told.verdict == "done" else None)

    async def give(self, organisation_id: int, held: Held, card: Card, *, make: bool) -> Given:
        """Give the object of a pass, and its class before it where that is needed.

        With `make` an object is made that is not there; else it is `gone`.
        """
        given = await self.give_class(organisation_id, held)
        if given.told.verdict != "done":
            return given
        told = await self._put(card, make=make)
        if told.reason == "classNotFound" and given.class_mark is None:  # what is noted here is not so there
            given = await self.give_class(organisation_id, held, again=True)
            if given.told.verdict != "done":
                return given
            told = await self._put(card, make=make)
        return Given(told, given.class_mark)

    async def _put(self, card: Card, *, make: bool) -> Told:
        try:
            return await (self.client.put_object(card) if make else self.client.change_object(card))
        except TargetRefused:
            return _FORBIDDEN


def giver_of(settings: Settings, issuer: Issuer, egress: Egress, clock: Clock) -> Giver | None:
    """Give what speaks to Google for an issuer; None where there is no account."""
    google = issuer.google
    if google is None:
        return None
    client = GoogleWallet(egress, google.account, google.number, clock, settings.google_api_url)
    return Giver(client, issuer)


@dataclass(frozen=True, slots=True)
class Saving:
    """What the routes of Google Wallet need; `save_url` is Google's, or an emulator's."""

    access: Access
    google: GoogleIssuer
    giver: Giver
    keys: RootKeys
    save_url: str
    clock: Clock

    async def link(self, organisation_id: int, held: Held) -> str | None:
        """Give the address at which Google saves a pass, once Google has what it needs for that; None: not now.

        Why not is logged, since the holder is not told.
        """
        card = self.giver.issuer.card(organisation_id, held)
        link = save_link(card, self.google.number, self.google.account, self.clock(), save_url=self.save_url)
        if link.whole:
            given = await self.giver.give_class(organisation_id, held)
        else:
            given = await self.giver.give(organisation_id, held, card, make=True)
        if given.class_mark is not None:
            await self.access.rows(
                organisation_id, pass_queries.CLASS_GIVEN, held.template_uid, given.class_mark
            )
        if given.told.verdict == "done":
            return link.url
        told = given.told
        _log.warning("google_not_given", organisation=organisation_id, status=told.status, reason=told.reason)
        return None

    async def is_held(self, organisation_id: int, public_code: str, callback: Callback) -> bool:
        """Tell whether anybody holds a pass after what a callback says.

        It does not say who saved or deleted it, nor how many have it: so Google is asked when somebody has deleted it.
        404: there is no such pass. 503: Google cannot be asked now, and will call again.
        """
        if callback.event_type == "save":
            return True
        named = self._named(public_code, callback)
        body = await self.access.look(
            organisation_id, pass_queries.HELD_BY_UID, named.uid, self.clock(), None
        )
        held = None if body is None else read_held(body)
        if held is None or held.bare_serial != named.bare:
            raise errors.not_found()
        card = self.giver.issuer.card(organisation_id, held)
        try:
            told = await self.giver.client.look_at(card)
        except TargetRefused as error:
            raise errors.unavailable() from error
        if told.object is None and told.verdict != "gone":
            raise errors.unavailable()
        return told.object is not None and told.object.has_users

    def _named(self, public_code: str, callback: Callback) -> Named:
        named = named_at_google(public_code, self.google.number, callback.object_id)
        if named is None:
            raise errors.not_found()
        return named

    async def note(self, tx: Transaction, public_code: str, callback: Callback, *, held: bool) -> None:
        """Note what Google says of a pass; one that is `held` is given to Google as it is now.

        404: there is no such pass.
        """
        named = self._named(public_code, callback)
        if not await tx.connection.fetchval(_PASS, tx.organisation_id, named.uid, named.bare):
            raise errors.not_found()
        uid = named.uid
        saved_at = tx.now if held else None
        heeded = await tx.connection.fetchval(
            _SAID, tx.organisation_id, uid, saved_at, callback.exp_time_millis, callback.nonce
        )
        if heeded and saved_at is not None:
            await tell_google(tx, {uid: -1})


def saving_of(
    settings: Settings, access: Access, issuer: Issuer, egress: Egress, clock: Clock
) -> Saving | None:
    """Give what the routes need; None where there is no account."""
    giver = giver_of(settings, issuer, egress, clock)
    if giver is None or issuer.google is None:
        return None
    keys = RootKeys(egress, clock, settings.google_keys_url)
    return Saving(access, issuer.google, giver, keys, settings.google_save_url, clock)
