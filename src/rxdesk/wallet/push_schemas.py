"""What became of push notifications, device by device."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

import msgspec

MAX_NUMBER = 9_999_999_999  # ten digits, as every number in a query
MAX_LIMIT = 200

DeviceStatus: TypeAlias = Literal["queued", "sent", "delivered_to_device", "failed"]
_PAGE_NAMES = {"total_registries": "totalRegistries", "total_pages": "totalPages"}


class NotificationsWanted(msgspec.Struct, kw_only=True):
    """A page of push notifications, of one pass or of all."""

    wallet_pass_uid: (
        Annotated[str, msgspec.Meta(max_length=64, description="Only those to this pass, by its uid")] | None
    ) = None
    page: Annotated[int, msgspec.Meta(ge=0, le=MAX_NUMBER, description="0-based number of the page")] = 0
    limit: Annotated[
        int, msgspec.Meta(ge=1, le=MAX_NUMBER, description="Rows a page; above 200 it is 200")
    ] = 50

    @property
    def size(self) -> int:
        """Rows a page, capped."""
        return min(self.limit, MAX_LIMIT)


class DevicePush(msgspec.Struct, kw_only=True):
    """What became of a notification on one device.

    The device `google` stands for all that hold the pass in Google Wallet. `sent`: Apple or Google has taken it.
    `delivered_to_device`: the device has fetched the pass since; Google does not tell. `reason` is of the last failure,
    also while it is tried again: Apple's or Google's word, or `dns`, `connect`, `tls`, `timeout`, `too_large`,
    `forbidden` (by the policy of egress), `unregistered`; or `superseded`, where the pass showed a later message before
    the device fetched it. Of one that was sent it is `notification_limit` where Google shows the message in the pass
    and does not tell its holder of it, since three were before it within 24 hours, and `unchanged` where it showed the
    message already.
    `updated_at` in Unix seconds.
    """

    device: str
    status: DeviceStatus
    reason: str | None
    attempts: int
    updated_at: int


class Notification(msgspec.Struct, kw_only=True):
    """A message to the holder of a pass.

    `unchanged`: the pass showed this very text before the call, so that no device alerts its holder to it.
    `status` is that of the device that has got furthest, or `no_device` where the pass was on none when it was sent.
    """

    uid: str
    wallet_pass_uid: str
    message: str
    unchanged: bool
    created_at: int
    status: Literal["no_device", "queued", "sent", "delivered_to_device", "failed"]
    devices: list[DevicePush]


class NotificationPage(msgspec.Struct, kw_only=True, rename=_PAGE_NAMES):
    """A page of push notifications, newest first."""

    data: list[Notification]
    total_registries: int
    total_pages: int


NOTIFICATIONS_EXAMPLE = NotificationPage(
    data=[
        Notification(
            uid="pn-abc123",
            wallet_pass_uid="wp-abc123",  # noqa: S106 (a uid)
            message="Max, your prescription is ready",
            unchanged=False,
            created_at=1711700000,
            status="delivered_to_device",
            devices=[
                DevicePush(
                    device="6b1f0c5e9a7d4e32b8c1a0f9d2e37c54",
                    status="delivered_to_device",
                    reason=None,
                    attempts=1,
                    updated_at=1711700002,
                )
            ],
        )
    ],
    total_registries=1,
    total_pages=1,
)
