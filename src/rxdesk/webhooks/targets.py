"""What a subscriber may name: a target that the address policy allows, and a header of its own."""

from __future__ import annotations

from rxdesk import errors
from rxdesk.errors import ApiError
from rxdesk.kit.egress import Egress
from rxdesk.kit.headers import check_custom_header
from rxdesk.kit.targets import Target, TargetForbidden, TargetInvalid, judge_target


def check_header(key: str | None, value: str | None) -> None:
    """Refuse a custom header that is half of one, or not allowed: a 400 naming the member."""
    if key is None and value is None:
        return
    if key is None or value is None:
        missing = "header_key" if key is None else "header_value"
        raise errors.invalid(errors.fault(missing, "body", "header_key and header_value go together"))
    reason = check_custom_header(key, value)
    if reason is not None:
        field = "header_value" if reason.startswith("header_value") else "header_key"
        raise errors.invalid(errors.fault(field, "body", reason))


def forbidden(field: str) -> ApiError:
    """Make the 422 for a target that the address policy does not allow."""
    return errors.simple(422, "The target is, or resolves to, an address that is not allowed", field=field)


async def judged(egress: Egress, field: str, url: str) -> Target:
    """Take a target apart and judge it; 400 when it is none, 422 when it is not allowed."""
    try:
        return await judge_target(url, egress.allow, egress.resolver)
    except TargetInvalid as error:
        raise errors.invalid(errors.fault(field, "body", str(error))) from error
    except TargetForbidden as error:
        raise forbidden(field) from error
