"""The lifecycles as data: every state, every step, every set of children; no database."""

from __future__ import annotations

import itertools
from typing import get_args

import pytest

from rxdesk.errors import ApiError
from rxdesk.orders import lifecycle as orders
from rxdesk.orders.lifecycle import Children
from rxdesk.orders.schemas import OrderStatus
from rxdesk.pharmacies.schemas import PharmacyOrderStatus
from rxdesk.prescriptions import lifecycle as prescriptions
from rxdesk.prescriptions.schemas import PrescriptionStatus

ORDER: tuple[OrderStatus, ...] = get_args(OrderStatus)
PRESCRIPTION: tuple[PrescriptionStatus, ...] = get_args(PrescriptionStatus)
PHARMACY_ORDER: tuple[str, ...] = get_args(PharmacyOrderStatus)


def every_two(statuses: tuple[str, ...]) -> list[tuple[str, ...]]:
    """None, one and two of them: what more would say nothing new."""
    return [
        (),
        *((one,) for one in statuses),
        *itertools.combinations_with_replacement(statuses, 2),
    ]


FAMILIES = [
    Children(tuple(some), tuple(others), unplaced)
    for some in every_two(PRESCRIPTION)
    for others in every_two(PHARMACY_ORDER)
    for unplaced in ((), ("fo-1",))
]


def test_every_state_has_its_steps_and_every_step_a_state() -> None:
    assert set(orders.STEPS) == set(ORDER)
    assert set(prescriptions.STEPS) == set(PRESCRIPTION)
    for table in (orders.STEPS, prescriptions.STEPS):
        for status, steps in table.items():
            assert set(steps) <= set(table)
            assert status not in steps
            assert len(set(steps)) == len(steps)
    assert {status for status, steps in orders.STEPS.items() if not steps} == orders.ENDED


def test_the_main_ways() -> None:
    way = ("init", "started", "waiting for doctor", "waiting for pharmacy", "completed")
    for status, step in itertools.pairwise(way):
        assert step in orders.STEPS[status]  # type: ignore[index]
    assert "signed" not in prescriptions.STEPS["waiting_for_doctor"]
    assert "approved" in prescriptions.STEPS["waiting_for_doctor"]
    for end in ("signed", "non_qes_signed", "externally_signed"):
        assert end in prescriptions.STEPS["approved"]
        assert prescriptions.STEPS[end] == ()


@pytest.mark.parametrize("status", PRESCRIPTION)
@pytest.mark.parametrize("decided", [False, True])
def test_each_step_of_a_prescription(status: PrescriptionStatus, *, decided: bool) -> None:
    allowed = prescriptions.steps_from(status, decided=decided)
    for wanted in PRESCRIPTION:
        if wanted in allowed:
            prescriptions.require_step(status, wanted, decided=decided)
            continue
        with pytest.raises(ApiError) as refused:
            prescriptions.require_step(status, wanted, decided=decided)
        assert refused.value.status == 409
        assert refused.value.body["allowed"] == list(allowed)
    if status == "on_hold":
        back = {"waiting_for_doctor", "approved"} & set(allowed)
        assert back == {prescriptions.resumed(decided=decided)}


@pytest.mark.parametrize("status", ORDER)
def test_what_an_order_follows_is_where_it_stays(status: OrderStatus) -> None:
    for children in FAMILIES:
        after = orders.following(status, children)
        assert orders.following(after, children) == after, children


@pytest.mark.parametrize("status", ORDER)
def test_an_order_fits_its_children(status: OrderStatus) -> None:
    for children in FAMILIES:
        after = orders.following(status, children)
        told = (status, children, after)
        if status in orders.ENDED:
            assert after == status, told
        elif children.placed and set(children.placed) == {"completed"} and not children.unplaced:
            assert after == "completed", told
        elif "declined" in children.prescriptions:
            assert after == "prescription declined", told
        elif status in orders.HELD:
            assert after == status, told
        elif children.prescriptions and set(children.prescriptions) == {"cancelled"}:
            assert after == "prescription not found", told
        elif children.prescribed and set(children.prescribed) <= prescriptions.SIGNED:
            assert after == "waiting for pharmacy", told
        elif set(children.prescribed) & prescriptions.OPEN:
            assert after not in {"waiting for pharmacy", "pharmacy not found", "completed"}, told
        else:
            assert not children.prescriptions
            assert after in {status, "waiting for pharmacy"}, told


@pytest.mark.parametrize("status", ORDER)
def test_each_step_of_an_order(status: OrderStatus) -> None:
    for children in FAMILIES:
        allowed = orders.steps_from(status, children)
        assert set(allowed) <= set(orders.STEPS[status])
        for wanted in ORDER:
            if wanted in allowed:
                orders.require_step(status, wanted, children)
                # No step comes back at once; a pharmacy may be looked for in vain again.
                after = orders.following(wanted, children)
                assert after != status or wanted == "cancelled", (status, wanted, children)
                continue
            with pytest.raises(ApiError) as refused:
                orders.require_step(status, wanted, children)
            assert refused.value.body["allowed"] == list(allowed)
        if set(children.prescribed) & prescriptions.OPEN:
            assert not {"waiting for pharmacy", "completed"} & set(allowed)
        if children.placed:
            assert "completed" not in allowed
        assert ("cancelled" in allowed) is (status not in orders.ENDED)
