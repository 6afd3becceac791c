"""What may become of an order: its states, the steps by hand, and how it follows its children (docs/lifecycle.md).

The states are data, and what follows from them is a function without a database. An order's row is locked before its
prescriptions, and those before its pharmacy orders: who changes a child takes the order's lock first, so children
of one order change one after the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import msgspec

from rxdesk import errors, history
from rxdesk.access import Transaction
from rxdesk.kit.clock import unix
from rxdesk.orders import placing
from rxdesk.orders.schemas import OrderState, OrderStatus
from rxdesk.prescriptions import lifecycle as prescriptions
from rxdesk.webhooks.outbox import emit

# Held by a person: the order goes on to a pharmacy only when it is moved on.
HELD: Final[frozenset[str]] = frozenset(
    {
        "paused",
        "waiting for manual input",
        "waiting for clearance",
        "waiting for payment",
        "out of stock",
    }
)
ENDED: Final[frozenset[str]] = frozenset({"completed", "cancelled"})
# Where no order with prescriptions that are still open can be: it goes back to the doctor.
_PAST_THE_DOCTOR: Final[frozenset[str]] = frozenset(
    {"waiting for pharmacy", "pharmacy not found", "prescription declined"}
)

# The steps by hand. Three states come about by themselves only: `prescription declined`, `pharmacy not found`, and,
# once every prescription is cancelled, `prescription not found`, which a person may say as well.
STEPS: Final[Mapping[OrderStatus, tuple[OrderStatus, ...]]] = {
    "init": (
        "started",
        "waiting for doctor",
        "paused",
        "waiting for manual input",
        "waiting for clearance",
        "waiting for payment",
        "cancelled",
    ),
    "started": (
        "waiting for doctor",
        "waiting for pharmacy",
        "paused",
        "waiting for manual input",
        "waiting for clearance",
        "waiting for payment",
        "cancelled",
    ),
    "waiting for doctor": (
        "waiting for pharmacy",
        "paused",
        "waiting for manual input",
        "waiting for clearance",
        "waiting for payment",
        "prescription not found",
        "prescription not signed",
        "cancelled",
    ),
    "waiting for pharmacy": (
        "completed",
        "paused",
        "out of stock",
        "waiting for manual input",
        "waiting for clearance",
        "waiting for payment",
        "cancelled",
    ),
    "paused": (
        "started",
        "waiting for doctor",
        "waiting for pharmacy",
        "waiting for manual input",
        "waiting for clearance",
        "waiting for payment",
        "cancelled",
    ),
    "waiting for manual input": (
        "started",
        "waiting for doctor",
        "waiting for pharmacy",
        "paused",
        "waiting for clearance",
        "waiting for payment",
        "cancelled",
    ),
    "waiting for clearance": (
        "started",
        "waiting for doctor",
        "waiting for pharmacy",
        "paused",
        "waiting for manual input",
        "waiting for payment",
        "cancelled",
    ),
    "waiting for payment": (
        "started",
        "waiting for doctor",
        "waiting for pharmacy",
        "paused",
        "waiting for manual input",
        "waiting for clearance",
        "cancelled",
    ),
    "out of stock": ("waiting for pharmacy", "paused", "waiting for manual input", "cancelled"),
    "pharmacy not found": ("waiting for pharmacy", "paused", "waiting for manual input", "cancelled"),
    "prescription declined": ("cancelled",),
    "prescription not found": ("waiting for doctor", "paused", "waiting for manual input", "cancelled"),
    "prescription not signed": ("waiting for doctor", "paused", "waiting for manual input", "cancelled"),
    "completed": (),
    "cancelled": (),
}


@dataclass(frozen=True, slots=True)
class Children:
    """The states of an order's prescriptions and pharmacy orders; deleted ones are left out.

    `unplaced` has its parts that no pharmacy order is for, cancelled ones not counted: the uids of fulfillment orders
    with items, or None for all of an order that has no such one.
    """

    prescriptions: tuple[str, ...] = ()
    pharmacy_orders: tuple[str, ...] = ()
    unplaced: tuple[str | None, ...] = ()

    @property
    def prescribed(self) -> tuple[str, ...]:
        """The prescriptions that are not cancelled."""
        return tuple(status for status in self.prescriptions if status != "cancelled")

    @property
    def placed(self) -> tuple[str, ...]:
        """The pharmacy orders that are not cancelled."""
        return tuple(status for status in self.pharmacy_orders if status != "cancelled")

    @property
    def signed(self) -> bool:
        """Whether nothing is wanted from a doctor any more: all is signed, or no prescription was wanted."""
        if not self.prescriptions:
            return True
        return bool(self.prescribed) and prescriptions.SIGNED.issuperset(self.prescribed)


def following(status: OrderStatus, children: Children) -> OrderStatus:
    """Give the state that an order in this one must be in, given its children.

    `waiting for pharmacy` asks for a pharmacy order for each part: what is unplaced must be placed first.
    """
    if status in ENDED:
        return status
    if children.placed and not children.unplaced and all(one == "completed" for one in children.placed):
        return "completed"
    if "declined" in children.prescribed:
        return "prescription declined"
    return status if status in HELD else _after_the_doctor(status, children)


def _after_the_doctor(status: OrderStatus, children: Children) -> OrderStatus:
    if not children.prescriptions:
        return "waiting for pharmacy" if status == "pharmacy not found" else status
    if not children.prescribed:
        return "prescription not found"
    if children.signed:
        return "waiting for pharmacy"
    return "waiting for doctor" if status in _PAST_THE_DOCTOR else status


def steps_from(status: OrderStatus, children: Children) -> tuple[OrderStatus, ...]:
    """Give the steps that a person may take with an order now."""
    return tuple(wanted for wanted in STEPS[status] if _possible(status, wanted, children))


def _possible(status: OrderStatus, wanted: OrderStatus, children: Children) -> bool:
    if wanted == "cancelled":
        return True
    if wanted == "waiting for pharmacy":
        return children.signed
    if wanted == "completed":
        # With a pharmacy order the pharmacy completes it; by hand only what has none, such as an imported one.
        return children.signed and not children.placed
    return following(wanted, children) != status  # else it would come back at once


def require_step(status: OrderStatus, wanted: OrderStatus, children: Children) -> None:
    """Raise the 409 that names the allowed steps, unless the wanted one is among them."""
    allowed = steps_from(status, children)
    if wanted not in allowed:
        raise errors.not_allowed(f"An order that is {status} cannot become {wanted} now", allowed)


# Rows ----------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Locked:
    """An order whose row this transaction has locked."""

    uid: str
    status: OrderStatus
    name: str | None
    pharmacy_uid: str | None
    delivery_type_uid: str | None
    created_at: datetime
    updated_at: datetime

    @property
    def state(self) -> OrderState:
        """What is told of it: as answer, and as event."""
        return OrderState(
            uid=self.uid,
            status=self.status,
            created_at=unix(self.created_at),
            updated_at=unix(self.updated_at),
        )


_LOCK = """
SELECT uid, status, name, pharmacy_uid, delivery_type_uid, created_at, updated_at FROM orders
WHERE organisation_id = $1 AND uid = $2 AND deleted_at IS NULL FOR NO KEY UPDATE"""

# A pharmacy order without a part is for all items of the order, as one is that an import brought.
_CHILDREN = """
WITH parts AS (
  SELECT f.uid, f.position FROM fulfillment_orders f
  WHERE f.organisation_id = $1 AND f.order_uid = $2 AND f.deleted_at IS NULL AND EXISTS (
    SELECT FROM fulfillment_order_items fi
    JOIN order_items i ON i.organisation_id = $1 AND i.uid = fi.order_item_uid AND i.deleted_at IS NULL
    WHERE fi.organisation_id = $1 AND fi.order_uid = $2 AND fi.fulfillment_order_uid = f.uid
      AND fi.deleted_at IS NULL)
), placed AS (
  SELECT status, fulfillment_order_uid FROM pharmacy_orders
  WHERE organisation_id = $1 AND order_uid = $2 AND deleted_at IS NULL
)
SELECT ARRAY(SELECT status FROM prescriptions
    WHERE organisation_id = $1 AND order_uid = $2 AND deleted_at IS NULL) AS prescriptions,
  ARRAY(SELECT status FROM placed) AS pharmacy_orders,
  ARRAY(
    SELECT p.uid FROM (
      SELECT uid, position FROM parts UNION ALL SELECT NULL, 0 WHERE NOT EXISTS (SELECT FROM parts)
    ) p
    WHERE NOT EXISTS (SELECT FROM placed o WHERE o.status <> 'cancelled'
      AND (p.uid IS NULL OR o.fulfillment_order_uid IS NULL OR o.fulfillment_order_uid = p.uid))
    ORDER BY p.position, p.uid) AS unplaced"""

_SET = """
UPDATE orders SET status = $3, updated_at = $4, actor_kind = $5, actor_uid = $6
WHERE organisation_id = $1 AND uid = $2
RETURNING uid, status, name, pharmacy_uid, delivery_type_uid, created_at, updated_at"""


async def lock(tx: Transaction, order_uid: str) -> Locked:
    """Lock an order's row until the transaction ends, before any of its children. Raises 404."""
    row = await tx.connection.fetchrow(_LOCK, tx.organisation_id, order_uid)
    if row is None:
        raise errors.not_found()
    return Locked(**row)


async def children_of(tx: Transaction, order_uid: str) -> Children:
    """Give the states of a locked order's children."""
    [row] = await tx.connection.fetch(_CHILDREN, tx.organisation_id, order_uid)
    return Children(*map(tuple, (row["prescriptions"], row["pharmacy_orders"], row["unplaced"])))


async def follow(tx: Transaction, order_uid: str) -> None:
    """Bring an order to the state that its prescriptions and pharmacy orders ask for.

    Every command that changes one of them calls this last. It locks the order's row, which the command has done
    already, before the child's: the lock of an order comes before those of its children. Makes the pharmacy orders
    once all is signed; writes history and `order_updated` when the state changed. An order that is gone stays so.
    """
    row = await tx.connection.fetchrow(_LOCK, tx.organisation_id, order_uid)
    if row is not None:
        order = Locked(**row)
        await settle(tx, order, order.status, await children_of(tx, order_uid))


async def settle(
    tx: Transaction, order: Locked, wanted: OrderStatus, children: Children, reason: str | None = None
) -> Locked:
    """Bring a locked order to the wanted state, or on to the one that follows from there; one change at most."""
    status = following(wanted, children)
    if (
        status == "waiting for pharmacy"
        and children.unplaced
        and not await placing.place(tx, order, children.unplaced)
    ):
        status = "pharmacy not found"
    return await set_status(tx, order, status, reason)


async def set_status(tx: Transaction, order: Locked, status: OrderStatus, reason: str | None) -> Locked:
    """Write the state with its history and event, unless it is that already."""
    if status == order.status:
        return order
    [row] = await tx.connection.fetch(
        _SET, tx.organisation_id, order.uid, status, tx.now, tx.actor_kind, tx.actor_uid
    )
    changed = Locked(**row)
    await history.record(tx, "order", order.uid, "status", old=order.status, new=status, reason=reason)
    emit(tx, "order_updated", msgspec.structs.asdict(changed.state))
    return changed
