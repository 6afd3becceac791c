"""Permissions, `<resource>:<action>`, as a key carries them (contract, section 2)."""

from __future__ import annotations

from enum import StrEnum


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
    WALLET_PASS_TEMPLATE_READ = "wallet_pass_template:read"  # noqa: S105 (a permission, not a password)
    WALLET_PASS_READ = "wallet_pass:read"  # noqa: S105 (likewise)
    WALLET_PASS_PUSH_NOTIFICATION_WRITE = "wallet_pass_push_notification:write"  # noqa: S105 (likewise)


ALL: tuple[str, ...] = tuple(permission.value for permission in Permission)
