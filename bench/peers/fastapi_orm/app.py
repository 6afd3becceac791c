"""Routes, a session and a key for each request, the contract's errors."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Body, Depends, FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.security import APIKeyHeader
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from starlette.exceptions import HTTPException

from bench.peers import queries, schemas, visits
from bench.peers.models import Doctor, Order, Prescription, Product
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

# asyncpg reads PGHOST, PGPORT, PGUSER and PGDATABASE itself.
engine = create_async_engine(
    "postgresql+asyncpg://", pool_size=16, max_overflow=0, skip_autocommit_rollback=True
)
# A read needs no transaction, which would be two round trips more. Both share the pool.
reading = engine.execution_options(isolation_level="AUTOCOMMIT")
new_session = async_sessionmaker(engine, expire_on_commit=False)
header = APIKeyHeader(name="X-API-Key", auto_error=False)
router = APIRouter(prefix="/v1/management")


async def _session(request: Request) -> AsyncIterator[AsyncSession]:
    async with new_session(bind=reading if request.method == "GET" else engine) as session:
        yield session


Session = Annotated[AsyncSession, Depends(_session)]


def needs(permission: str) -> Any:  # noqa: ANN401 (FastAPI's marker)
    """Want a valid key with this permission."""

    async def caller(session: Session, key: Annotated[str | None, Depends(header)]) -> Caller:
        found = await session.scalar(queries.key(key_reference(key)))
        if found is None:
            raise unknown_key()
        return permitted(Caller(found.organisation_id, found.uid, found.permissions), permission)

    return Depends(caller)


def known(uid: str) -> str:
    """Give a path's uid; a text that no uid can be is as unknown as any other."""
    if not is_uid(uid):
        raise absent()
    return uid


@router.get("/orders/{uid}", response_model=schemas.Order)
async def get_order(
    uid: str, session: Session, caller: Annotated[Caller, needs("order:read")]
) -> Order | schemas.Order:
    """Answer with one order; without `prescription:read` its prescriptions are left out."""
    orders = await session.scalars(queries.order(caller.organisation_id, known(uid)))
    order = orders.unique().one_or_none()
    if order is None:
        raise absent()
    if "prescription:read" in caller.permissions:
        return order
    answer = schemas.Order.model_validate(order)
    for part in (answer, *answer.fulfillment_orders):
        part.prescriptions = []
    return answer


@router.get("/prescriptions/{uid}", response_model=schemas.Prescription)
async def get_prescription(
    uid: str, session: Session, caller: Annotated[Caller, needs("prescription:read")]
) -> Prescription:
    """Answer with one prescription."""
    prescription = await session.scalar(queries.prescription(caller.organisation_id, known(uid)))
    if prescription is None:
        raise absent()
    return prescription


@router.get("/patients", response_model=schemas.Patient)
async def find_patient(
    email: str, session: Session, caller: Annotated[Caller, needs("patient:read")]
) -> dict[str, Any]:
    """Answer with the patient of an e-mail address."""
    # A plus that the client did not encode arrives as a space, which no address has.
    email = email.strip().replace(" ", "+")
    if not is_email(email):
        raise invalid("email", "query", "is not an e-mail address")
    patient = await session.scalar(queries.patient_by_email(caller.organisation_id, email_key(email)))
    if patient is None:
        raise absent()
    return {"uid": patient.uid, "data": patient_data(patient)}


@router.get("/patients/{uid}/intent/{intent}", response_model=schemas.Intent)
async def get_intent(
    uid: str, intent: str, session: Session, caller: Annotated[Caller, needs("patient:read")]
) -> dict[str, str]:
    """Answer VALID, EXPIRED or NOT_FOUND."""
    statement = queries.intent(caller.organisation_id, known(uid), intent_key(intent))
    found = (await session.execute(statement)).one_or_none()
    if found is None:
        raise absent()
    return {"return_code": intent_code(found[0], found[1], datetime.now(UTC))}


@router.get("/doctors", response_model=schemas.DoctorPage)
async def list_doctors(
    paging: Annotated[schemas.Paging, Query()],
    session: Session,
    caller: Annotated[Caller, needs("doctor:read")],
) -> dict[str, Any]:
    """Answer with a page of doctors, by name."""
    page = await session.scalars(queries.doctors(caller.organisation_id, paging))
    total = await session.scalar(queries.count(Doctor, caller.organisation_id))
    return {"data": page.all(), **paging.totals(total or 0)}


@router.get("/products", response_model=schemas.ProductPage)
async def list_products(
    paging: Annotated[schemas.Paging, Query()],
    session: Session,
    caller: Annotated[Caller, needs("product:read")],
) -> dict[str, Any]:
    """Answer with a page of products, by name."""
    page = await session.scalars(queries.products(caller.organisation_id, paging))
    total = await session.scalar(queries.count(Product, caller.organisation_id))
    return {"products": page.all(), **paging.totals(total or 0)}


@router.get("/doctors/{uid}/statistics", response_model=schemas.DoctorStatistics)
async def get_doctor_statistics(
    uid: str,
    period: Annotated[schemas.Period, Query()],
    session: Session,
    caller: Annotated[Caller, needs("doctor_statistics:read")],
) -> dict[str, Any]:
    """Answer with counts, rates and times of one doctor, counted live."""
    check_period(period.start, period.end)
    tenant = caller.organisation_id
    work = (await session.execute(queries.doctor_work(tenant, known(uid)))).one_or_none()
    if work is None:
        raise absent()
    newest_at, zone = work
    start, end = instant(period.start), instant(period.end)
    counts = (await session.execute(queries.doctor_counts(tenant, uid, start, end))).mappings().one()
    since = first_day(ZoneInfo(zone), end, newest_at)
    since = since if start is None else max(start, since)
    days = (await session.execute(queries.doctor_days(tenant, uid, since, end, zone))).mappings()
    daily = [{**day, "date": day["date"].isoformat()} for day in days]
    return statistics(uid, (period.start, period.end), counts, daily)


@router.post("/waiting-room/register", status_code=201, response_model=schemas.Place)
async def register_visit(
    body: schemas.Registration, session: Session, caller: Annotated[Caller, needs("waiting_room:write")]
) -> dict[str, Any]:
    """Give the patient the next place in the shop's queue."""
    tenant = caller.organisation_id
    shop = visits.shop_of((await session.execute(visits.references(tenant, body))).one_or_none())
    turn = (await session.execute(visits.next_turn(tenant, body.shop_uid))).scalar_one()
    present = await session.scalar(visits.present_visit(tenant, body))
    if present is not None:
        raise ApiError(409, {"error": "Patient is already waiting", "queue_uid": present})
    visit = visits.visit_of(caller, body, turn)
    session.add(visit)
    await session.flush()
    position = (await session.execute(visits.position(tenant, body.shop_uid, turn))).scalar_one()
    event = (await session.execute(visits.next_event(tenant))).scalar_one()
    session.add(visits.visit_told(caller, visit.uid, visit.status, visit.created_at, event))
    await session.commit()
    minutes = waiting_minutes(position, shop.consultation_minutes, shop.doctors_on_duty)
    return {"queue_uid": visit.uid, "position": position, "estimated_wait_minutes": minutes}


@router.get("/waiting-room/{uid}/status", response_model=schemas.VisitStatus)
async def get_visit_status(
    uid: str, session: Session, caller: Annotated[Caller, needs("waiting_room:read")]
) -> dict[str, Any]:
    """Answer with status, position and estimate."""
    tenant = caller.organisation_id
    visit = await session.scalar(visits.visit(tenant, known(uid)))
    if visit is None:
        raise absent()
    position = minutes = None
    if visit.status == "waiting":
        position = (await session.execute(visits.position(tenant, visit.shop_uid, visit.turn))).scalar_one()
        minutes = waiting_minutes(position, visit.shop.consultation_minutes, visit.shop.doctors_on_duty)
    return {
        "queue_uid": uid,
        "status": visit.status,
        "position": position,
        "estimated_wait_minutes": minutes,
        "video_room_id": visit.video_room_id,
        "allocated_at": visit.allocated_at,
    }


@router.delete("/waiting-room/{uid}", status_code=204)
async def cancel_visit(
    uid: str, session: Session, caller: Annotated[Caller, needs("waiting_room:write")]
) -> None:
    """Cancel a visit that waits or is allocated; one that is cancelled already stays so."""
    created_at = await session.scalar(visits.cancelled(caller, known(uid)))
    if created_at is None:
        status = await session.scalar(visits.visit_status(caller.organisation_id, uid))
        if status is None:
            raise absent()
        if status == "completed":
            raise ApiError(409, {"error": "The visit is completed and cannot be cancelled"})
    else:
        event = (await session.execute(visits.next_event(caller.organisation_id))).scalar_one()
        session.add(visits.visit_told(caller, uid, "cancelled", created_at, event))
    await session.commit()


@router.post("/wallet-passes/push-notifications", response_model=schemas.PushResults)
async def send_push_notifications(
    pushes: Annotated[list[schemas.Push], Body(min_length=1, max_length=1000)],
    session: Session,
    caller: Annotated[Caller, needs("wallet_pass_push_notification:write")],
) -> dict[str, Any]:
    """Queue the messages; a fault of state fails its element alone."""
    uids = [push.wallet_pass_uid for push in pushes]
    found = await session.scalars(queries.passes(caller.organisation_id, uids))
    rows, results = queries.pushed(caller, pushes, found)
    if rows:
        await session.execute(queries.PUSH, rows)
    await session.commit()
    return {"data": results, "total": len(results)}


@asynccontextmanager
async def _lifespan(_app: FastAPI) -> AsyncIterator[None]:
    yield
    await engine.dispose()


app = FastAPI(title="RxScale Management API", lifespan=_lifespan)
app.include_router(router)


@app.exception_handler(ApiError)
async def _refused(_request: Request, error: ApiError) -> JSONResponse:
    return JSONResponse(error.body, error.status)


@app.exception_handler(HTTPException)
async def _faulty(_request: Request, error: HTTPException) -> JSONResponse:
    return JSONResponse(NOT_FOUND if error.status_code == 404 else {"error": error.detail}, error.status_code)


@app.exception_handler(RequestValidationError)
async def _invalid(_request: Request, error: RequestValidationError) -> JSONResponse:
    details = [
        {
            "field": ".".join(str(name) for name in fault["loc"][1:]),
            "location": fault["loc"][0],
            "message": fault["msg"],
        }
        for fault in error.errors()
    ]
    return JSONResponse({"error": "Validation failed", "details": details}, 400)


# What lives as long as the process is not looked at again by each collection of garbage: RxDesk does so, too.
gc.collect()
gc.freeze()
