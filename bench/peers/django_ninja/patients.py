"""Patients: the search by e-mail and the intent, one query each."""

from __future__ import annotations

from datetime import UTC, datetime

from django.db.models import OuterRef, Subquery
from django.http import Http404
from django.shortcuts import get_object_or_404
from ninja import Router

from bench.peers import schemas
from bench.peers.django_ninja.auth import Key, Request
from bench.peers.django_ninja.models import IntentWindow, Order, Patient, Submission
from bench.peers.django_ninja.reading import Values, uid_or_404
from bench.peers.rules import intent_code, intent_key, invalid, patient_data
from rxdesk.kit.text import email_key, is_email

router = Router()


@router.get("/patients", auth=Key("patient:read"), response=schemas.Patient)
def find_patient(request: Request, email: str) -> Values:
    """Answer with the newest-created patient whose own or whose order's e-mail it is."""
    # A plus that the client did not encode arrives as a space, which no address has.
    email = email.strip().replace(" ", "+")
    if not is_email(email):
        raise invalid("email", "query", "is not an e-mail address")
    tenant, key = request.auth.organisation_id, email_key(email)
    # A union, so that either side is an index look-up; an OR would go through all patients.
    own = Patient.objects.filter(organisation_id=tenant, email_key=key).values("uid")
    ordered = Order.objects.of(tenant, email_key=key, patient_uid__isnull=False).values("patient_uid")
    found = (
        Patient.objects.of(tenant, uid__in=own.union(ordered, all=True))
        .order_by("-created_at", "-uid")
        .values_list("uid", "profile", "display_name", "email", "date_of_birth", named=True)
        .first()
    )
    if found is None:
        raise Http404
    return {"uid": found.uid, "data": patient_data(found)}


@router.get("/patients/{patient_uid}/intent/{intent}", auth=Key("patient:read"), response=schemas.Intent)
def get_intent(request: Request, patient_uid: str, intent: str) -> Values:
    """Answer VALID, EXPIRED or NOT_FOUND."""
    tenant = request.auth.organisation_id
    intent = intent_key(intent)
    signed = (
        Submission.objects.of(tenant, patient_uid=OuterRef("uid"), intent=intent, signed_at__isnull=False)
        .order_by("-signed_at")
        .values("signed_at")[:1]
    )
    window = IntentWindow.objects.filter(organisation_id=tenant, uid=intent).values("valid_days")
    signed_at, valid_days = get_object_or_404(
        Patient.objects.of(tenant, uid=uid_or_404(patient_uid)).values_list(
            Subquery(signed), Subquery(window)
        )
    )
    return {"return_code": intent_code(signed_at, valid_days, datetime.now(UTC))}
