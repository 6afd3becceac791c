"""The statements about visits of the waiting room, for the two peers that stand on SQLAlchemy's ORM."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Row, Select, func, select, update
from sqlalchemy.dialects.postgresql import Insert, insert
from sqlalchemy.orm import joinedload

from bench.peers.models import Doctor, Event, EventStream, Patient, Shop, Visit, WaitingRoom
from bench.peers.queries import living, within
from bench.peers.rules import PRESENT, VISIT_EVENT, Caller, not_found, visit_event
from bench.peers.schemas import Registration
from rxdesk.kit.uids import new_uid


def references(tenant: int, body: Registration) -> Select[tuple[Any, ...]]:
    """Select the shop's figures and, by the body's members, whether the others that it refers to are known."""
    known = {"patient_profile_uid": living(Patient, tenant).where(Patient.uid == body.patient_profile_uid)}
    if body.preferred_doctor_uid is not None:
        known["preferred_doctor_uid"] = living(Doctor, tenant).where(Doctor.uid == body.preferred_doctor_uid)
    return select(
        Shop.consultation_minutes,
        Shop.doctors_on_duty,
        *(statement.exists().label(member) for member, statement in known.items()),
    ).where(Shop.organisation_id == tenant, Shop.uid == body.shop_uid, Shop.deleted_at.is_(None))


def shop_of(found: Row[tuple[Any, ...]] | None) -> Row[tuple[Any, ...]]:
    """Give the shop that `references` has found. Raises 404 naming the first reference that is not known."""
    if found is None:
        raise not_found("shop_uid")
    for member, value in found._asdict().items():
        if value is False:
            raise not_found(member)
    return found


def next_turn(tenant: int, shop_uid: str) -> Insert:
    """Draw the shop's next turn; its row stays locked to the transaction's end, so turns show in their order."""
    statement = insert(WaitingRoom).values(organisation_id=tenant, uid=shop_uid, last_turn=1)
    return statement.on_conflict_do_update(
        index_elements=[WaitingRoom.organisation_id, WaitingRoom.uid],
        set_={"last_turn": WaitingRoom.last_turn + 1},
    ).returning(WaitingRoom.last_turn)


def present_visit(tenant: int, body: Registration) -> Select[tuple[str]]:
    """Select the visit that a patient has in a shop's queue already."""
    return select(Visit.uid).where(
        Visit.organisation_id == tenant,
        Visit.shop_uid == body.shop_uid,
        Visit.patient_uid == body.patient_profile_uid,
        Visit.status.in_(PRESENT),
        Visit.deleted_at.is_(None),
    )


def visit_of(caller: Caller, body: Registration, turn: int) -> Visit:
    """Make a visit."""
    now = datetime.now(UTC)
    return Visit(
        organisation_id=caller.organisation_id,
        uid=new_uid("q"),
        shop_uid=body.shop_uid,
        patient_uid=body.patient_profile_uid,
        preferred_doctor_uid=body.preferred_doctor_uid,
        visit_reason=body.visit_reason,
        status="waiting",
        turn=turn,
        created_at=now,
        updated_at=now,
        actor_kind="key",
        actor_uid=caller.key_uid,
    )


def position(tenant: int, shop_uid: str, turn: int) -> Select[tuple[int]]:
    """Count who waits up to a turn."""
    return select(func.count()).where(
        Visit.organisation_id == tenant,
        Visit.shop_uid == shop_uid,
        Visit.status == "waiting",
        Visit.turn <= turn,
        Visit.deleted_at.is_(None),
    )


def visit(tenant: int, uid: str) -> Select[tuple[Visit]]:
    """Select a visit with its shop."""
    return (
        living(Visit, tenant)
        .where(Visit.uid == uid)
        .options(joinedload(Visit.shop, innerjoin=True), within(tenant))
    )


def cancelled(caller: Caller, uid: str) -> Any:  # noqa: ANN401 (an UPDATE that gives created_at)
    """Cancel a visit that is present: one statement, which judges the status of the row that it has locked."""
    now = datetime.now(UTC)
    return (
        update(Visit)
        .where(
            Visit.organisation_id == caller.organisation_id,
            Visit.uid == uid,
            Visit.status.in_(PRESENT),
            Visit.deleted_at.is_(None),
        )
        .values(status="cancelled", ended_at=now, updated_at=now, actor_kind="key", actor_uid=caller.key_uid)
        .returning(Visit.created_at)
        .execution_options(synchronize_session=False)
    )


def next_event(tenant: int) -> Insert:
    """Draw the organisation's next position of an event, whose row stays locked to the transaction's end."""
    statement = insert(EventStream).values(organisation_id=tenant, uid="all", last_position=1)
    return statement.on_conflict_do_update(
        index_elements=[EventStream.organisation_id, EventStream.uid],
        set_={"last_position": EventStream.last_position + 1},
    ).returning(EventStream.last_position)


def visit_told(caller: Caller, uid: str, status: str, created_at: datetime, position: int) -> Event:
    """Make the event of a visit's change, at a position."""
    now = datetime.now(UTC)
    return Event(
        organisation_id=caller.organisation_id,
        uid=new_uid("evt"),
        position=position,
        event_type=VISIT_EVENT,
        subject_uid=uid,
        occurred_at=now,
        body=visit_event(uid, status, created_at, now),
        actor_kind="key",
        actor_uid=caller.key_uid,
    )


def visit_status(tenant: int, uid: str) -> Select[tuple[str]]:
    """Select a visit's status."""
    return select(Visit.status).where(
        Visit.organisation_id == tenant, Visit.uid == uid, Visit.deleted_at.is_(None)
    )
