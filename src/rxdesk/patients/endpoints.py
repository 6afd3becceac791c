"""Routes of patients."""

from __future__ import annotations

import re

from rxdesk import errors
from rxdesk.kit.clock import unix
from rxdesk.kit.text import email_key, is_email
from rxdesk.patients import queries, schemas
from rxdesk.permissions import Permission
from rxdesk.web.answers import Answer
from rxdesk.web.body import read_query
from rxdesk.web.call import Call
from rxdesk.web.endpoint import endpoint

# A plus inside a value. By the rules of forms it is a space, but an e-mail address cannot hold one, so the
# client meant `+` (max+tag@example.com) and did not encode it. At an end it stays a space, and is trimmed.
_INNER_PLUS = re.compile(rb"(?<![=&+])\++(?![+&]|$)")


def _encode(pluses: re.Match[bytes]) -> bytes:
    return b"%2B" * len(pluses[0])


@endpoint(
    "GET",
    "/patients",
    Permission.PATIENT_READ,
    tag="Patients",
    summary="Find a patient by e-mail",
    description="The newest-created patient whose own or whose order's e-mail equals it, letter case aside. "
    "A `+` inside the address may be sent as it is or as `%2B`.",
    query=schemas.EmailSearch,
    answer=schemas.Patient,
    answer_example=schemas.EXAMPLE,
    errors=(404,),
)
async def find_patient(call: Call) -> Answer:
    """Answer with one patient, not with a list."""
    email = read_query(_INNER_PLUS.sub(_encode, call.scope["query_string"]), schemas.EmailSearch).email
    if not is_email(email):
        raise errors.invalid(errors.fault("email", "query", "is not an e-mail address"))
    return await call.read(queries.PATIENT_BY_EMAIL, email_key(email))


@endpoint(
    "GET",
    "/patients/{patient_uid}",
    Permission.PATIENT_READ,
    tag="Patients",
    summary="Look up a patient",
    path_parameters={"patient_uid": "Uid of the patient"},
    answer=schemas.Patient,
    answer_example=schemas.EXAMPLE,
)
async def get_patient(call: Call) -> Answer:
    """Answer with one patient."""
    return await call.read(queries.PATIENT, call.uid("patient_uid"))


@endpoint(
    "GET",
    "/patients/{patient_uid}/intent/{intent}",
    Permission.PATIENT_READ,
    tag="Patients",
    summary="Whether a patient's last signed submission for an intent still counts",
    path_parameters={"patient_uid": "Uid of the patient", "intent": "Name of the intent"},
    answer=schemas.Intent,
    answer_example=schemas.INTENT_EXAMPLE,
)
async def get_intent(call: Call) -> Answer:
    """Answer VALID, EXPIRED or NOT_FOUND."""
    uid, intent = call.uid("patient_uid"), call.text("intent")
    return await call.read(queries.INTENT, uid, intent, call.settings.intent_valid_days, unix(call.now))


ENDPOINTS = (find_patient, get_patient, get_intent)
