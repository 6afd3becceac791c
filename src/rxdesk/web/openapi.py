"""The OpenAPI 3.1 document, made from the endpoints' declarations and the schemas' types.

Ours and not the framework's: the framework derives a document from handler signatures, while our handlers read
their input behind the strict door; and each operation carries its permission, each answer an example.
"""

from __future__ import annotations

import typing
from typing import Any

import msgspec

from rxdesk import __version__, errors
from rxdesk.web import openapi_webhooks
from rxdesk.web.api import Api
from rxdesk.web.endpoint import PARAMETER, Operation

_REF = "#/components/schemas/{name}"
_REQUEST_ID = "req-01JD3Z6V0A0B0C0D0E0F0G0H0J"
_SECURITY_SCHEMES = {"ApiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"}}
_SECURITY: list[dict[str, list[str]]] = [{"ApiKey": []}]


class Error(msgspec.Struct, kw_only=True):
    """The standard error; some carry a further member, such as `field`, `queue_uid` or `allowed` (next states)."""

    error: str
    field: str | msgspec.UnsetType = msgspec.UNSET
    queue_uid: str | msgspec.UnsetType = msgspec.UNSET
    allowed: list[str] | msgspec.UnsetType = msgspec.UNSET


class Fault(msgspec.Struct, kw_only=True):
    """One faulty member of the input."""

    field: str
    location: typing.Literal["body", "query", "header"]
    message: str


class ValidationError(msgspec.Struct, kw_only=True):
    """Input that is refused; `details` names each faulty top-level member where there is one to name."""

    error: str
    details: list[Fault] | msgspec.UnsetType = msgspec.UNSET


class AuthError(msgspec.Struct, kw_only=True):
    """The key is missing, not valid, or lacks the permission."""

    code: typing.Literal[
        "authorization_header_missing", "invalid_header", "invalid_api_key", "permission_denied"
    ]
    description: str


class ServerError(msgspec.Struct, kw_only=True):
    """A fault of the server; `request_id` is what its log line carries."""

    error: str
    request_id: str


class Unavailable(msgspec.Struct, kw_only=True):
    """The database is away, or too much is asked at once; the health route says `status` instead."""

    error: str | msgspec.UnsetType = msgspec.UNSET
    status: str | msgspec.UnsetType = msgspec.UNSET


_ERRORS: dict[int, tuple[str, type, list[tuple[str, Any]]]] = {
    400: (
        "The input is refused",
        ValidationError,
        [
            ("validation", errors.invalid(errors.fault("shop_uid", "body", "is required")).body),
            ("not JSON", {"error": "The body is refused: not UTF-8"}),
        ],
    ),
    401: (
        "The key is missing or not valid",
        AuthError,
        [
            (str(error.body["code"]), error.body)
            for error in (errors.header_missing(), errors.header_invalid(), errors.key_invalid())
        ],
    ),
    403: ("The key lacks the permission", AuthError, [("denied", errors.permission_denied().body)]),
    404: ("There is no such resource", Error, [("absent", errors.not_found().body)]),
    408: ("The body did not arrive in time", Error, [("late", {"error": "The body did not arrive in time"})]),
    409: ("It contradicts what is there", Error, [("conflict", {"error": "Patient is already waiting"})]),
    413: (
        "The body is too large",
        Error,
        [("large", {"error": "The body is larger than 1048576 bytes"})],
    ),
    415: ("The body is not JSON", Error, [("type", {"error": "Content-Type must be application/json"})]),
    422: (
        "It cannot be done as asked",
        Error,
        [("reused", {"error": "This Idempotency-Key was used with another body"})],
    ),
    429: ("Too many requests", Error, [("limit", errors.too_many(1).body)]),
    500: (
        "A fault of the server",
        ServerError,
        [("fault", {"error": "Internal server error", "request_id": _REQUEST_ID})],
    ),
    503: ("The service is not available", Unavailable, [("unavailable", errors.unavailable().body)]),
}
_OPEN_ERRORS: dict[int, tuple[str, type, list[tuple[str, Any]]]] = {
    401: ("The token is missing, or not this pass's", Error, [("token", errors.token_invalid().body)]),
    413: ("The body is too large", Error, [("large", {"error": "The body is larger than 16384 bytes"})]),
}
_ALWAYS = (401, 429, 500, 503)
_SEE_OTHER = 303
_HEADERS = {
    "RequestId": ("X-Request-Id", "Names the request in our log", _REQUEST_ID),
    "RateLimit": ("RateLimit", "What is left of each window", '"second";r=9;t=1, "minute";r=599;t=60'),
    "RateLimitPolicy": ("RateLimit-Policy", "The windows", '"second";q=10;w=1, "minute";q=600;w=60'),
    "RetryAfter": ("Retry-After", "Seconds to wait", "1"),
    "LastModified": ("Last-Modified", "Names this version", "Wed, 04 Mar 2026 10:00:00 GMT"),
    "ETag": ("ETag", "Names this very body", '"8f3c1b0a9d2e4f5061728394"'),
}


def document(api: Api) -> dict[str, Any]:
    """Make the whole document of an API."""
    operations = [endpoint.operation for endpoint in api.endpoints]
    types = [
        kind for operation in operations for kind in (operation.body, operation.answer) if kind is not None
    ]
    types += [Error, ValidationError, ServerError, Unavailable, *([] if api.open else [AuthError])]
    types += [kind for webhook in api.webhooks for kind in webhook.data]
    schemas, components = msgspec.json.schema_components(types, ref_template=_REF)
    by_type = {repr(kind): schema for kind, schema in zip(types, schemas, strict=True)}
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation, by_type)
    webhooks = {webhook.name: openapi_webhooks.described(webhook, by_type) for webhook in api.webhooks}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": api.title,
            "version": __version__,
            "description": api.description,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": base} for base in api.bases],
        **({} if api.open else {"security": _SECURITY}),
        "tags": [{"name": name} for name in dict.fromkeys(operation.tag for operation in operations)],
        "paths": paths,
        **({"webhooks": webhooks} if webhooks else {}),
        "components": {
            "schemas": {name: components[name] for name in sorted(components)},
            "headers": {
                name: {"description": text, "schema": {"type": "string"}, "example": example}
                for name, (_, text, example) in _HEADERS.items()
            },
            **({} if api.open else {"securitySchemes": _SECURITY_SCHEMES}),
        },
    }


def _operation(operation: Operation, by_type: dict[str, Any]) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": operation.name,
        "tags": [operation.tag],
        "summary": operation.summary,
        **({} if operation.open else {"x-permission": operation.permission}),
    }
    if operation.description:
        described["description"] = operation.description
    parameters = [*_path_parameters(operation), *_query_parameters(operation)]
    for name, text in operation.header_parameters.items():
        schema = {"type": "string"}
        parameters.append(
            {"name": name, "in": "header", "required": False, "description": text, "schema": schema}
        )
    if operation.idempotent:
        parameters.append(_IDEMPOTENCY_KEY)
    if operation.conditional:
        parameters.append(_IF_NONE_MATCH)
    if operation.streams:
        parameters.append(_LAST_EVENT_ID)
    if parameters:
        described["parameters"] = parameters
    if operation.body is not None:
        described["requestBody"] = {
            "required": operation.body_required,
            "content": _content(by_type[repr(operation.body)], [("example", operation.body_example)]),
        }
    described["responses"] = _responses(operation, by_type)
    return described


_IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "1–255 visible ASCII characters, such as a new UUID for each call: the same key, path and body "
    "give the same answer for 24 hours",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
}
_IF_NONE_MATCH = {
    "name": "If-None-Match",
    "in": "header",
    "required": False,
    "description": "The `ETag` of an answer that the client has, or several: 304 while it is still the same",
    "schema": {"type": "string"},
}
_LAST_EVENT_ID = {
    "name": "Last-Event-ID",
    "in": "header",
    "required": False,
    "description": "The `id` of the last event that the client has: what came after it is sent first. Where it is too "
    "old, unknown or missing, the stream begins with a `snapshot`",
    "schema": {"type": "string"},
}


def _path_parameters(operation: Operation) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "description": operation.path_parameters[name],
            "schema": {"type": "string", "minLength": 1},
            "example": _PATH_EXAMPLES[name],
        }
        for name in PARAMETER.findall(operation.path)
    ]


_PATH_EXAMPLES = {
    "order_uid": "ord-abc123",
    "prescription_uid": "px-abc123",
    "doctor_uid": "doc-456",
    "patient_uid": "pp-abc123",
    "intent": "weight-loss",
    "queue_uid": "q-abc123",
    "event_uid": "evt-abc123",
    "delivery_uid": "dlv-abc123.abc123",
    "pharmacy_order_uid": "po-abc123",
    "pharmacy_sku_uid": "psku-012",
    "subscription_uid": "ns-abc123",
    "shop_uid": "shop-456",
    "wallet_pass_uid": "wp-abc123",
    "token": "mdv4kx7w.9Vd0Tq3yJm5cRz1B.8kQpZ2nW4vXs6tYb0uLhEg",
    "public_code": "mdv4kx7w",
    "device": "6b1f0c5e9a7d4e32b8c1a0f9d2e37c54",
    "pass_type": "pass.org.example.patients",
    "serial": "mdv4kx7w_wp-abc123",
    "template": "wpt-abc123",
    "version": "1711700000",
    "image": "logo.png",
}
# Of required parameters only: the page sends an example as it stands, and of an optional one it would spoil the
# call. An optional one says its form in its description.
_QUERY_EXAMPLES: dict[str, Any] = {
    "shop_uid": "shop-456",
    "email": "max@example.com",
    "shop_identifier": "my-shop",
    "shop_customer_id": "cust-123",
}


def _query_parameters(operation: Operation) -> list[dict[str, Any]]:
    if operation.query is None:
        return []
    schema = msgspec.json.schema(operation.query)["$defs"][operation.query.__name__]
    found = []
    for name, given in schema["properties"].items():
        property_ = dict(given)
        if "anyOf" in property_:  # a parameter is there or not there, never null
            property_ = next(dict(part) for part in property_["anyOf"] if part != {"type": "null"})
        if given.get("default") is not None:
            property_["default"] = given["default"]
        examples = property_.pop("examples", None)
        parameter = {
            "name": name,
            "in": "query",
            "required": operation.query_required and name in schema.get("required", []),
            "schema": property_,
        }
        if parameter["required"]:
            parameter["example"] = examples[0] if examples else _QUERY_EXAMPLES[name]
        if description := property_.pop("description", None):
            parameter["description"] = description
        found.append(parameter)
    return found


def _success(operation: Operation, by_type: dict[str, Any]) -> dict[str, Any]:
    """Describe the answers that are no errors, by status."""
    done = _done(operation, by_type)
    found = {str(operation.status): done}
    if operation.updated is not None:
        found[str(operation.updated)] = {**done, "description": "It was there, and is changed"}
    if operation.nothing is not None:
        headers = _headers(operation, operation.nothing)
        found[str(operation.nothing)] = {"description": "There is nothing", "headers": headers}
    if operation.conditional:
        found["304"] = {"description": "It is still the same", "headers": _headers(operation, 304)}
        for one in (done, found["304"]):
            one["headers"]["ETag"] = {"$ref": "#/components/headers/ETag"}
    if operation.dated:
        found["304"] = {"description": "It is still the same", "headers": _headers(operation, 304)}
        for one in (done, found["304"]):
            one["headers"]["Last-Modified"] = {"$ref": "#/components/headers/LastModified"}
    return found


def _done(operation: Operation, by_type: dict[str, Any]) -> dict[str, Any]:
    done: dict[str, Any] = {"description": "Done", "headers": _headers(operation, operation.status)}
    examples = [("example", operation.answer_example)]
    if operation.streams:
        done["content"] = _content({"type": "string"}, examples, media_type="text/event-stream")
    elif operation.status == _SEE_OTHER:
        done["headers"]["Location"] = {"description": "Where to go on", "schema": {"type": "string"}}
    elif operation.media_type:
        done["content"] = _content({"type": "string"}, examples, media_type=operation.media_type)
    elif operation.answer is not None:
        done["content"] = _content(by_type[repr(operation.answer)], examples)
    return done


def _responses(operation: Operation, by_type: dict[str, Any]) -> dict[str, Any]:
    statuses = {*_ALWAYS, *operation.errors}
    if operation.open and 401 not in operation.errors:  # noqa: PLR2004 (a status)
        statuses.remove(401)
    if operation.permission is not None:
        statuses.add(403)
    if operation.path_parameters:
        statuses.add(404)
    if operation.query is not None or operation.body is not None:
        statuses.add(400)
    if operation.body is not None:
        statuses |= {408, 413, 415}
    if operation.idempotent:
        statuses |= {400, 409, 422}
    responses = _success(operation, by_type)
    for status in sorted(statuses):
        page = _content({"type": "string"}, [("page", "<!doctype html>…")], media_type="text/html")
        if status == 404 and operation.media_type == "text/html":  # noqa: PLR2004 (a status)
            responses["404"] = {"description": "There is none", "content": page}
            continue
        text, kind, examples = (_OPEN_ERRORS if operation.open else _ERRORS).get(status, _ERRORS[status])
        responses[str(status)] = {
            "description": text,
            "headers": _headers(operation, status),
            "content": _content(by_type[repr(kind)], examples),
        }
        if status == 503 and operation.status == _SEE_OTHER:  # noqa: PLR2004 (a status)
            responses["503"]["content"] |= page  # where to go on is not reached
    return responses


def _headers(operation: Operation, status: int) -> dict[str, Any]:
    names = ["RequestId"]
    if status not in (401, 500) and not operation.open:
        names += ["RateLimit", "RateLimitPolicy"]
    if status in (429, 503):
        names.append("RetryAfter")
    return {_HEADERS[name][0]: {"$ref": f"#/components/headers/{name}"} for name in names}


def _content(
    schema: Any,  # noqa: ANN401 (a JSON Schema)
    examples: list[tuple[str, Any]],
    *,
    media_type: str = "application/json",
) -> dict[str, Any]:
    named = {name.replace(" ", "_"): {"value": msgspec.to_builtins(value)} for name, value in examples}
    return {media_type: {"schema": schema, "examples": named}}


def encode(api: Api) -> bytes:
    """Give the document as it is served and committed: indented, in a stable order."""
    return msgspec.json.format(msgspec.json.encode(document(api)), indent=2) + b"\n"
