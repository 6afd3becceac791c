"""The API: orjson at both ends, the contract's errors, and the routers."""

from __future__ import annotations

from typing import Any

import orjson
from django.http import Http404, HttpRequest, HttpResponse
from ninja import NinjaAPI
from ninja.errors import HttpError, ValidationError
from ninja.parser import Parser
from ninja.renderers import BaseRenderer

from bench.peers.django_ninja import (
    doctors,
    orders,
    patients,
    prescriptions,
    products,
    statistics,
    waiting_room,
    wallet,
)
from bench.peers.rules import NOT_FOUND, ApiError


class OrjsonRenderer(BaseRenderer):
    """Writes answers, as Ninja's guide to renderers proposes."""

    media_type = "application/json"

    def render(self, _request: HttpRequest, data: object, *, response_status: int) -> bytes:  # noqa: ARG002
        """Give the bytes of the body."""
        return orjson.dumps(data)


class OrjsonParser(Parser):
    """Reads bodies, as Ninja's guide to parsers proposes."""

    def parse_body(self, request: HttpRequest) -> Any:  # noqa: ANN401 (JSON)
        """Give the decoded body."""
        return orjson.loads(request.body)


api = NinjaAPI(renderer=OrjsonRenderer(), parser=OrjsonParser(), docs_url=None, openapi_url="openapi.json")
for feature in (orders, prescriptions, patients, doctors, statistics, products, waiting_room, wallet):
    api.add_router("", feature.router)


@api.exception_handler(ApiError)
def _refused(request: HttpRequest, error: ApiError) -> HttpResponse:
    return api.create_response(request, error.body, status=error.status)


@api.exception_handler(Http404)
def _absent(request: HttpRequest, _error: Http404) -> HttpResponse:
    return api.create_response(request, NOT_FOUND, status=404)


@api.exception_handler(HttpError)
def _faulty(request: HttpRequest, error: HttpError) -> HttpResponse:
    return api.create_response(request, {"error": error.message}, status=error.status_code)


@api.exception_handler(ValidationError)
def _invalid(request: HttpRequest, error: ValidationError) -> HttpResponse:
    details = []
    for fault in error.errors:
        location, *names = fault["loc"]
        if location == "body":
            names = names[1:]  # the first is the handler's parameter
        field = ".".join(str(name) for name in names)
        details.append({"field": field, "location": location, "message": fault["msg"]})
    return api.create_response(request, {"error": "Validation failed", "details": details}, status=400)
