"""Routes, a session and a key for each request, the contract's errors."""

from __future__ import annotations

import gc
from collections.abc import Callable
from datetime import UTC, datetime
from functools import wraps
from typing import Any, Concatenate, ParamSpec
from zoneinfo import ZoneInfo

import orjson
from flask import Blueprint, Flask, Response, request
from pydantic import BaseModel, TypeAdapter, ValidationError
from sqlalchemy import create_engine
from sqlalchemy.orm import Session, scoped_session, sessionmaker
from werkzeug.exceptions import HTTPException

from bench.peers import queries, schemas, visits
from bench.peers.models import Doctor, Product
from bench.peers.rules import (
    NOT_FOUND,
    ApiError,
    Caller,
    absent,
    check_period,
    first_day,
    instant,
    intent_code,
    intent_key,
    invalid,
    key_reference,
    patient_data,
    permitted,
    statistics,
    unknown_key,
    waiting_minutes,
)
from rxdesk.kit.text import email_key, is_email
from rxdesk.kit.uids import is_uid

P = ParamSpec("P")
_PUSHES = TypeAdapter(list[schemas.Push])
_MOST_PUSHES = 1000

# libpq reads PGHOST, PGPORT, PGUSER and PGDATABASE itself.
engine = create_engine("postgresql+psycopg://", pool_size=16, max_overflow=0, skip_autocommit_rollback=True)
# A read needs no transaction: it would be two round trips more, and psycopg forgets its prepared statements at a
# rollback. Both share the pool.
reading = engine.execution_options(isolation_level="AUTOCOMMIT")
session: scoped_session[Session] = scoped_session(sessionmaker(engine, expire_on_commit=False))
api = Blueprint("management", __name__, url_prefix="/v1/management")


def needs(permission: str) -> Callable[[Callable[Concatenate[Caller, P], Response]], Callable[P, Response]]:
    """Want a valid key with this permission, and hand its caller to the view."""

    def decorate(view: Callable[Concatenate[Caller, P], Response]) -> Callable[P, Response]:
        @wraps(view)
        def wrapped(*args: P.args, **kwargs: P.kwargs) -> Response:
            found = session.scalar(queries.key(key_reference(request.headers.get("X-API-Key"))))
            if found is None:
                raise unknown_key()
            caller = Caller(found.organisation_id, found.uid, found.permissions)
            return view(permitted(caller, permission), *args, **kwargs)

        return wrapped

    return decorate


def answer(body: BaseModel | dict[str, Any], status: int = 200) -> Response:
    """Write JSON."""
    data = body.model_dump_json(by_alias=True) if isinstance(body, BaseModel) else orjson.dumps(body)
    return Response(data, status, mimetype="application/json")


def known(uid: str) -> str:
    """Give a path's uid; a text that no uid can be is as unknown as any other."""
    if not is_uid(uid):
        raise absent()
    return uid


@api.get("/orders/<uid>")
@needs("order:read")
def get_order(caller: Caller, uid: str) -> Response:
    """Answer with one order; without `prescription:read` its prescriptions are left out."""
    orders = session.scalars(queries.order(caller.organisation_id, known(uid)))
    order = orders.unique().one_or_none()
    if order is None:
        raise absent()
    body = schemas.Order.model_validate(order)
    if "prescription:read" not in caller.permissions:
        for part in (body, *body.fulfillment_orders):
            part.prescriptions = []
    return answer(body)


@api.get("/prescriptions/<uid>")
@needs("prescription:read")
def get_prescription(caller: Caller, uid: str) -> Response:
    """Answer with one prescription."""
    prescription = session.scalar(queries.prescription(caller.organisation_id, known(uid)))
    if prescription is None:
        raise absent()
    return answer(schemas.Prescription.model_validate(prescription))


@api.get("/patients")
@needs("patient:read")
def find_patient(caller: Caller) -> Response:
    """Answer with the patient of an e-mail address."""
    # A plus that the client did not encode arrives as a space, which no address has.
    email = request.args.get("email", "").strip().replace(" ", "+")
    if not is_email(email):
        raise invalid("email", "query", "is not an e-mail address")
    patient = session.scalar(queries.patient_by_email(caller.organisation_id, email_key(email)))
    if patient is None:
        raise absent()
    return answer({"uid": patient.uid, "data": patient_data(patient)})


@api.get("/patients/<uid>/intent/<intent>")
@needs("patient:read")
def get_intent(caller: Caller, uid: str, intent: str) -> Response:
    """Answer VALID, EXPIRED or NOT_FOUND."""
    statement = queries.intent(caller.organisation_id, known(uid), intent_key(intent))
    found = session.execute(statement).one_or_none()
    if found is None:
        raise absent()
    return answer({"return_code": intent_code(found[0], found[1], datetime.now(UTC))})


@api.get("/doctors")
@needs("doctor:read")
def list_doctors(caller: Caller) -> Response:
    """Answer with a page of doctors, by name."""
    paging = schemas.Paging.model_validate(request.args.to_dict())
    page = session.scalars(queries.doctors(caller.organisation_id, paging)).all()
    total = session.scalar(queries.count(Doctor, caller.organisation_id)) or 0
    return answer(schemas.DoctorPage.model_validate({"data": page, **paging.totals(total)}))


@api.get("/products")
@needs("product:read")
def list_products(caller: Caller) -> Response:
    """Answer with a page of products, by name."""
    paging = schemas.Paging.model_validate(request.args.to_dict())
    page = session.scalars(queries.products(caller.organisation_id, paging)).all()
    total = session.scalar(queries.count(Product, caller.organisation_id)) or 0
    return answer(schemas.ProductPage.model_validate({"products": page, **paging.totals(total)}))


@api.get("/doctors/<uid>/statistics")
@needs("doctor_statistics:read")
def get_doctor_statistics(caller: Caller, uid: str) -> Response:
    """Answer with counts, rates and times of one doctor, counted live."""
    period = schemas.Period.model_validate(request.args.to_dict())
    check_period(period.start, period.end)
    tenant = caller.organisation_id
    work = session.execute(queries.doctor_work(tenant, known(uid))).one_or_none()
    if work is None:
        raise absent()
    newest_at, zone = work
    start, end = instant(period.start), instant(period.end)
    counts = session.execute(queries.doctor_counts(tenant, uid, start, end)).mappings().one()
    since = first_day(ZoneInfo(zone), end, newest_at)
    since = since if start is None else max(start, since)
    days = session.execute(queries.doctor_days(tenant, uid, since, end, zone)).mappings()
    daily = [{**day, "date": day["date"].isoformat()} for day in days]
    return answer(statistics(uid, (period.start, period.end), counts, daily))


@api.post("/waiting-room/register")
@needs("waiting_room:write")
def register_visit(caller: Caller) -> Response:
    """Give the patient the next place in the shop's queue."""
    body = schemas.Registration.model_validate_json(request.get_data())
    tenant = caller.organisation_id
    shop = visits.shop_of(session.execute(visits.references(tenant, body)).one_or_none())
    turn = session.execute(visits.next_turn(tenant, body.shop_uid)).scalar_one()
    present = session.scalar(visits.present_visit(tenant, body))
    if present is not None:
        raise ApiError(409, {"error": "Patient is already waiting", "queue_uid": present})
    visit = visits.visit_of(caller, body, turn)
    session.add(visit)
    session.flush()
    position = session.execute(visits.position(tenant, body.shop_uid, turn)).scalar_one()
    event = session.execute(visits.next_event(tenant)).scalar_one()
    session.add(visits.visit_told(caller, visit.uid, visit.status, visit.created_at, event))
    session.commit()
    minutes = waiting_minutes(position, shop.consultation_minutes, shop.doctors_on_duty)
    return answer({"queue_uid": visit.uid, "position": position, "estimated_wait_minutes": minutes}, 201)


@api.get("/waiting-room/<uid>/status")
@needs("waiting_room:read")
def get_visit_status(caller: Caller, uid: str) -> Response:
    """Answer with status, position and estimate."""
    tenant = caller.organisation_id
    visit = session.scalar(visits.visit(tenant, known(uid)))
    if visit is None:
        raise absent()
    position = minutes = None
    if visit.status == "waiting":
        position = session.execute(visits.position(tenant, visit.shop_uid, visit.turn)).scalar_one()
        minutes = waiting_minutes(position, visit.shop.consultation_minutes, visit.shop.doctors_on_duty)
    body = schemas.VisitStatus(
        queue_uid=uid,
        status=visit.status,
        position=position,
        estimated_wait_minutes=minutes,
        video_room_id=visit.video_room_id,
        allocated_at=visit.allocated_at,
    )
    return answer(body)


@api.delete("/waiting-room/<uid>")
@needs("waiting_room:write")
def cancel_visit(caller: Caller, uid: str) -> Response:
    """Cancel a visit that waits or is allocated; one that is cancelled already stays so."""
    created_at = session.scalar(visits.cancelled(caller, known(uid)))
    if created_at is None:
        status = session.scalar(visits.visit_status(caller.organisation_id, uid))
        if status is None:
            raise absent()
        if status == "completed":
            raise ApiError(409, {"error": "The visit is completed and cannot be cancelled"})
    else:
        event = session.execute(visits.next_event(caller.organisation_id)).scalar_one()
        session.add(visits.visit_told(caller, uid, "cancelled", created_at, event))
    session.commit()
    return Response(status=204)


@api.post("/wallet-passes/push-notifications")
@needs("wallet_pass_push_notification:write")
def send_push_notifications(caller: Caller) -> Response:
    """Queue the messages; a fault of state fails its element alone."""
    pushes = _PUSHES.validate_json(request.get_data())
    if not 0 < len(pushes) <= _MOST_PUSHES:
        raise invalid("", "body", f"must have 1 to {_MOST_PUSHES} elements")
    uids = [push.wallet_pass_uid for push in pushes]
    found = session.scalars(queries.passes(caller.organisation_id, uids))
    rows, results = queries.pushed(caller, pushes, found)
    if rows:
        session.execute(queries.PUSH, rows)
    session.commit()
    return answer({"data": results, "total": len(results)})


app = Flask(__name__, static_folder=None)
app.register_blueprint(api)


@app.before_request
def _begin() -> None:
    session(bind=reading if request.method == "GET" else engine)


@app.teardown_appcontext
def _end(_error: BaseException | None) -> None:
    session.remove()


@app.errorhandler(ApiError)
def _refused(error: ApiError) -> Response:
    return answer(dict(error.body), error.status)


@app.errorhandler(HTTPException)
def _faulty(error: HTTPException) -> Response:
    status = error.code or 500
    return answer(NOT_FOUND if status == 404 else {"error": error.name}, status)


@app.errorhandler(ValidationError)
def _invalid(error: ValidationError) -> Response:
    location = "query" if request.method == "GET" else "body"
    details = [
        {
            "field": ".".join(str(name) for name in fault["loc"]),
            "location": location,
            "message": fault["msg"],
        }
        for fault in error.errors()
    ]
    return answer({"error": "Validation failed", "details": details}, 400)


# What lives as long as the process is not looked at again by each collection of garbage: RxDesk does so, too.
gc.collect()
gc.freeze()
