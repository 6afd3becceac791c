"""The operations of every API, as its OpenAPI document describes them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from rxdesk import routes
from rxdesk.web import openapi
from rxdesk.web.api import Api

DOCUMENTS: dict[str, dict[str, Any]] = {api.base: openapi.document(api) for api in routes.APIS}


@dataclass(frozen=True)
class Documented:
    """One operation as the OpenAPI document of its API describes it; `path` is below `base`."""

    name: str
    base: str
    method: str
    path: str
    permission: str | None
    status: int
    described: dict[str, Any] = field(repr=False, compare=False)

    @property
    def has_body(self) -> bool:
        return "requestBody" in self.described

    @property
    def streams(self) -> bool:
        """Whether its answer has no end."""
        return (
            "text/event-stream" in self.described["responses"]["200"].get("content", {})
            if self.status == 200
            else False
        )


def operations(*apis: Api) -> list[Documented]:
    """Every operation of these APIs' documents; of all, if none is named."""
    return [
        Documented(
            described["operationId"],
            base,
            method.upper(),
            path,
            described["x-permission"],
            next(int(status) for status in described["responses"] if status.startswith("2")),
            described,
        )
        for base in (api.base for api in apis or routes.APIS)
        for path, methods in DOCUMENTS[base]["paths"].items()
        for method, described in methods.items()
    ]
