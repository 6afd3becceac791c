"""One prescription with its doctor: one query."""

from __future__ import annotations

from django.shortcuts import get_object_or_404
from ninja import Router

from bench.peers import schemas
from bench.peers.django_ninja.auth import Key, Request
from bench.peers.django_ninja.models import Prescription
from bench.peers.django_ninja.reading import Values, doctor_of, uid_or_404

router = Router()


@router.get("/prescriptions/{prescription_uid}", auth=Key("prescription:read"), response=schemas.Prescription)
def get_prescription(request: Request, prescription_uid: str) -> Values:
    """Answer with one prescription."""
    row = get_object_or_404(
        Prescription.objects.of(request.auth.organisation_id, uid=uid_or_404(prescription_uid)).values(
            "uid", "status", "rendered", "doctor_uid", "doctor__display_name", "doctor__deleted_at"
        )
    )
    return {**row, "doctor": doctor_of(row)}
