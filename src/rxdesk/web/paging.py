"""Paging: `page` from 0, `limit` 50 by default, above 200 silently 200 (contract, section 1)."""

from __future__ import annotations

from typing import Annotated

import msgspec

DEFAULT_LIMIT = 50
MAX_LIMIT = 200
MAX_NUMBER = 9_999_999_999  # ten digits, as every number in a query


class Paging(msgspec.Struct, kw_only=True):
    """The page of a list: `page` is 0-based; a page beyond the end has no rows."""

    page: Annotated[int, msgspec.Meta(ge=0, le=MAX_NUMBER, description="0-based number of the page")] = 0
    limit: Annotated[
        int, msgspec.Meta(ge=1, le=MAX_NUMBER, description="Rows a page; above 200 it is 200")
    ] = DEFAULT_LIMIT

    @property
    def size(self) -> int:
        """Rows a page, capped."""
        return min(self.limit, MAX_LIMIT)

    @property
    def offset(self) -> int:
        """Rows before the page."""
        return self.page * self.size
