"""Permissions as a key carries them: an organisation's (contract, section 2) or a pharmacy's (section 4).

A key has permissions of one kind only: one of a pharmacy may do nothing else of the organisation.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from enum import StrEnum
from typing import TypeAlias


class Permission(StrEnum):
    """What a key may do; a route names the one it needs."""

    ORDER_READ = "order:read"
    ORDER_WRITE = "order:write"
    PRESCRIPTION_READ = "prescription:read"
    PRESCRIPTION_WRITE = "prescription:write"
    PRODUCT_READ = "product:read"
    DOCTOR_READ = "doctor:read"
    DOCTOR_STATISTICS_READ = "doctor_statistics:read"
    PATIENT_READ = "patient:read"
    WAITING_ROOM_READ = "waiting_room:read"
    WAITING_ROOM_WRITE = "waiting_room:write"
    WAITING_ROOM_OPERATE = "waiting_room:operate"
    WALLET_PASS_TEMPLATE_READ = "wallet_pass_template:read"  # noqa: S105 (a permission, not a password)
    WALLET_PASS_READ = "wallet_pass:read"  # noqa: S105 (likewise)
    WALLET_PASS_WRITE = "wallet_pass:write"  # noqa: S105 (likewise)
    WALLET_PASS_VERIFY = "wallet_pass:verify"  # noqa: S105 (likewise)
    WALLET_PASS_PUSH_NOTIFICATION_WRITE = "wallet_pass_push_notification:write"  # noqa: S105 (likewise)
    EVENT_READ = "event:read"
    DELIVERY_READ = "delivery:read"
    DELIVERY_WRITE = "delivery:write"


class PharmacyPermission(StrEnum):
    """What a pharmacy's key may do with its own orders, stock and webhooks."""

    ORDERS_READ = "orders_read"
    ORDERS_WRITE = "orders_write"
    STOCK_READ = "stock_read"
    STOCK_WRITE = "stock_write"
    PHARMACY_SKU_WRITE = "pharmacy_sku_write"
    WEBHOOKS_READ = "webhooks_read"
    WEBHOOKS_WRITE = "webhooks_write"


AnyPermission: TypeAlias = Permission | PharmacyPermission
ALL: tuple[str, ...] = tuple(permission.value for permission in Permission)
ALL_OF_PHARMACY: tuple[str, ...] = tuple(permission.value for permission in PharmacyPermission)


def objection(wanted: Iterable[str], *, of_pharmacy: bool) -> str | None:
    """Say why a key of an organisation, or of a pharmacy, cannot have these permissions; None: it can."""
    mine, others = (ALL_OF_PHARMACY, ALL) if of_pharmacy else (ALL, ALL_OF_PHARMACY)
    for permission in wanted:
        if permission in mine:
            continue
        if permission in others:
            if of_pharmacy:
                return (
                    f"{permission} is a permission of an organisation's key: leave --pharmacy out, "
                    f"or choose of a pharmacy's: {', '.join(mine)}"
                )
            return (
                f"{permission} is a permission of a pharmacy's key: name the pharmacy with --pharmacy UID, "
                f"or choose of an organisation's: {', '.join(mine)}"
            )
        near = difflib.get_close_matches(permission, mine, n=1, cutoff=0.4)
        hint = f"; did you mean {near[0]}?" if near else "."
        return f"unknown permission {permission!r}{hint} There are: {', '.join(mine)}"
    return None
