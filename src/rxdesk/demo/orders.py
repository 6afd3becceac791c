"""Orders of the last ninety days, each at the place of its life where the present moment finds it."""

from __future__ import annotations

from rxdesk.demo.catalogue import Catalogue, Offer
from rxdesk.demo.courses import (
    PASSING,
    PASSING_DAYS,
    Course,
    draw_course,
    order_times,
    pin_newest,
    pinned_course,
)
from rxdesk.demo.world import DAY, HOUR, MINUTE, Row, World

_WITHOUT_DECISION = {
    "paused": ("paused", "on_hold"),
    "waiting for manual input": ("waiting for manual input", "on_hold"),
    "waiting for clearance": ("waiting for clearance", "on_hold"),
    "cancelled": ("cancelled", "cancelled"),
    "prescription not found": ("prescription not found", ""),
}
_DECIDED_OTHERWISE = {
    "declined": ("prescription declined", "declined"),
    "prescription not signed": ("prescription not signed", "approved"),
    "out of stock": ("out of stock", "signed"),
    "pharmacy not found": ("pharmacy not found", "signed"),
}
_BEFORE_DOCTOR = frozenset({"init", "started", "waiting for payment"})
_WITHOUT_PHARMACY = frozenset(
    {
        "waiting for doctor",
        "prescription declined",
        "prescription not found",
        "prescription not signed",
        "paused",
        "waiting for manual input",
        "waiting for clearance",
        "pharmacy not found",
    }
)
_PHARMACY_STEPS = ("init", "waiting for pharmacy", "pending review", "in-progress", "ready_for_pickup")
_EXTERNAL = {"completed": "FULFILLED", "cancelled": "CANCELLED", "on-hold": "ON_HOLD"}


def make_orders(
    world: World, count: int, catalogue: Catalogue, doctors: list[Row], patients: list[Row]
) -> list[Row]:
    """Make orders, oldest first. The first is the demo's example: the first patient's, completed."""
    signers = [doctor for doctor in doctors if doctor["can_sign_prescriptions"]]
    speeds = [world.random.uniform(12, 70) for _ in signers]
    orders = []
    times = order_times(world, count)
    pins = pin_newest(world, times)
    for number, (created, pin) in enumerate(zip(times, pins, strict=True)):
        example = number == 0
        # The last doctor left a month ago; the example's is there.
        left = example or created >= world.now - 30 * DAY
        which = world.random.randrange(len(signers) - 1 if left else len(signers))
        if pin is None:
            course = draw_course(world, created, speeds[which], example=example)
        else:
            course = pinned_course(world, created, speeds[which], pin)
        patient = patients[0] if example else world.random.choice(patients)
        orders.append(_Maker(world, catalogue, signers[which], patient, course).order(1001 + number))
    return orders


class _Maker:
    """Makes one order from its course."""

    def __init__(self, world: World, catalogue: Catalogue, doctor: Row, patient: Row, course: Course) -> None:
        self.world = world
        self.catalogue = catalogue
        self.doctor = doctor
        self.patient = patient
        self.course = course
        self.status, self.prescription_status = self._state()

    def _state(self) -> tuple[str, str]:
        """Give the order's status and that of its prescriptions ("" for none) at the present moment."""
        course, now = self.course, self.world.now
        if course.pin is not None:
            return course.pin.status, course.pin.prescriptions
        if now < course.assigned or course.detour == "waiting for payment":
            return self._unassigned()
        over = course.detour in PASSING and now > course.assigned + PASSING_DAYS * DAY
        if course.detour in _WITHOUT_DECISION and not over:
            return _WITHOUT_DECISION[course.detour]
        if now < course.decided:
            return "waiting for doctor", "on_hold" if self.world.chance(0.15) else "waiting_for_doctor"
        return _DECIDED_OTHERWISE.get(course.detour) or self._prescribed()

    def _unassigned(self) -> tuple[str, str]:
        course, now = self.course, self.world.now
        if now < course.started:
            return "init", ""
        if course.detour == "waiting for payment":  # for five days, then it is given up
            return ("waiting for payment" if now < course.created + 5 * DAY else "cancelled"), ""
        return ("started", "") if self.world.chance(0.4) else ("waiting for doctor", "waiting_for_doctor")

    def _prescribed(self) -> tuple[str, str]:
        course, now = self.course, self.world.now
        if now < min(course.decided + 5 * MINUTE, course.completed):
            return "waiting for doctor", "approved"
        signed = self.world.random.choices(("signed", "non_qes_signed", "externally_signed"), (94, 4, 2))[0]
        return (
            "completed" if now >= course.completed else "waiting for pharmacy",
            "signed" if course.example else signed,
        )

    def order(self, number: int) -> Row:
        """Make the line of the file."""
        world, course, patient = self.world, self.course, self.patient
        name = f"#{number}"
        offers = self._choose_offers()
        address = world.address(patient["first_name"], patient["last_name"])
        elsewhere = world.chance(0.08)
        invoice = world.address(patient["first_name"], patient["last_name"]) if elsewhere else address
        own_mail = course.detour == "" or world.chance(0.9)
        items = [
            {
                "uid": world.uid("oi", course.created),
                "sku_uid": offer.sku_uid,
                "quantity": world.random.choice((1, 1, 1, 1, 1, 2, 3)),
            }
            for offer, _ in offers
        ]
        for item, (_, price) in zip(items, offers, strict=True):
            item["total_paid_amount"] = price * item["quantity"]
        order: Row = {
            "uid": world.uid("ord", course.created),
            "status": self.status,
            "name": name,
            "patient_profile_uid": patient["uid"],
            "email": patient["email"] if own_mail else world.mailbox("post", patient["last_name"], number),
            "delivery_address": address,
            "invoice_address": invoice,
            "shipping_costs_amount": world.random.choice((0, 390, 490, 490, 890)),
            "shipping_costs_currency": "EUR",
            "priority": 1 if world.chance(0.05) else 0,
            "shop_orders": [
                {
                    "uid": world.uid("so", course.created),
                    "shop_uid": world.random.choice(self.catalogue.shops)["uid"],
                    "external_id": str(5_000_000_000 + number * 7919),
                }
            ],
            "items": items,
            "fulfillment_orders": [],
            "prescriptions": [],
            "pharmacy_orders": [],
            "created_at": course.created,
        }
        if self.status not in _BEFORE_DOCTOR and course.detour != "waiting for payment":
            self._fulfil(order, next(iter(offers[0][0].prices)), name)
        order["updated_at"] = self._updated(order)
        return order

    def _choose_offers(self) -> list[tuple[Offer, int]]:
        """Choose what is bought, and its price."""
        offers = self.world.random.sample(
            self.catalogue.offers, self.world.random.choices((1, 2, 3), (80, 17, 3))[0]
        )
        return [(offer, next(iter(offer.prices.values()))) for offer in offers]

    def _fulfil(self, order: Row, pharmacy_uid: str, name: str) -> None:
        world, course = self.world, self.course
        items = order["items"]
        split = len(items) > 1 and world.chance(0.25)
        for part in [[item] for item in items] if split else [items]:
            together = world.uid("fo", course.started)
            order["fulfillment_orders"].append(
                {
                    "uid": together,
                    "items": [
                        {"uid": world.uid("foi", course.started), "order_item_uid": item["uid"]}
                        for item in part
                    ],
                }
            )
            if self.prescription_status:
                order["prescriptions"] += [self._prescription(together) for _ in part]
            if self.status not in _WITHOUT_PHARMACY and self.prescription_status != "cancelled":
                suffix = f"-{len(order['fulfillment_orders'])}" if split else ""
                order["pharmacy_orders"].append(self._pharmacy_order(together, pharmacy_uid, name + suffix))

    def _prescription(self, together: str) -> Row:
        course, status = self.course, self.prescription_status
        made: Row = {
            "uid": self.world.uid("px", course.started),
            "status": status,
            "fulfillment_order_uid": together,
            "created_at": course.started,
        }
        if self.world.now < course.assigned:
            return made
        made |= {"doctor_uid": self.doctor["uid"], "assigned_at": course.assigned}
        updated = course.assigned
        if status in {"approved", "signed", "declined", "non_qes_signed", "externally_signed"}:
            made["decided_at"] = course.decided
            updated = course.decided
        signed = status in {"signed", "non_qes_signed", "externally_signed"}
        return made | {"rendered": signed, "updated_at": updated}

    def _pharmacy_order(self, together: str, pharmacy_uid: str, name: str) -> Row:
        world, course = self.world, self.course
        created = course.decided + 2
        updated = created
        if self.status == "completed":
            status, updated = "completed", course.completed
        elif self.status == "out of stock":
            status, updated = "cancelled", min(created + 3 * HOUR, world.now)
        else:  # how far the pharmacy is
            way = (world.now - created) / max(1, course.completed - created)
            status = _PHARMACY_STEPS[min(len(_PHARMACY_STEPS) - 1, int(way * len(_PHARMACY_STEPS)))]
            updated = max(created, min(world.now, created + int(way * (world.now - created))))
            if status == "pending review" and world.chance(0.2):
                status = "on-hold"
        return {
            "uid": world.uid("po", created),
            "status": status,
            "pharmacy_uid": pharmacy_uid,
            "fulfillment_order_uid": together,
            "delivery_type_uid": world.random.choices(self.catalogue.delivery_types, (80, 14, 6))[0]["uid"],
            "name": name,
            "data": {},
            "external_status": _EXTERNAL.get(status, "OPEN"),
            "created_at": created,
            "updated_at": updated,
        }

    def _updated(self, order: Row) -> int:
        course, now = self.course, self.world.now
        times = [course.created]
        times += [course.started] if now >= course.started else []
        times += [one.get("updated_at", course.started) for one in order["prescriptions"]]
        times += [one["updated_at"] for one in order["pharmacy_orders"]]
        if self.status == "cancelled":
            given_up = course.created + 5 * DAY if course.detour == "waiting for payment" else course.assigned
            times.append(min(now, given_up + HOUR))
        return max(times)
