"""The life of an order: its status follows its prescriptions and pharmacy orders."""

from __future__ import annotations

from rxdesk.access import Transaction


async def follow(tx: Transaction, order_uid: str) -> None:
    """Bring an order's status in line with its children; called by every command that changes one of them."""
    del tx, order_uid
