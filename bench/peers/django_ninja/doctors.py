"""A page of doctors: the page and the count."""

from __future__ import annotations

from ninja import Query, Router

from bench.peers import schemas
from bench.peers.django_ninja.auth import Key, Request
from bench.peers.django_ninja.models import Doctor
from bench.peers.django_ninja.reading import Values

router = Router()


@router.get("/doctors", auth=Key("doctor:read"), response=schemas.DoctorPage, by_alias=True)
def list_doctors(request: Request, paging: Query[schemas.Paging]) -> Values:
    """Answer with a page of doctors, by name."""
    doctors = Doctor.objects.of(request.auth.organisation_id)
    page = doctors.order_by("sort_key", "uid").values(
        "uid", "display_name", "email", "minutes_to_respond", "can_sign_prescriptions", "active"
    )
    return {"data": list(page[paging.rows]), **paging.totals(doctors.count())}
