"""The catalogue of events against its schemas, the emitter, the OpenAPI document and the list of names."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any, get_args

import jsonschema
import msgspec
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from rxdesk import routes
from rxdesk.kit.signing import standard_signature, vendor_signature
from rxdesk.web import openapi
from rxdesk.webhooks.documents import page
from rxdesk.webhooks.events import EVENT_TYPES, envelope
from rxdesk.webhooks.outbox import _CUT_TO
from rxdesk.webhooks.payloads import Cut, Thin
from rxdesk.webhooks.schemas import EventTypeName

NOW = int(datetime(2026, 3, 4, 10, 0, tzinfo=UTC).timestamp())
DOCUMENT: dict[str, Any] = json.loads(openapi.encode(routes.MANAGEMENT))
SECRET = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="


def test_the_names_of_the_schema_are_the_catalogue_s() -> None:
    assert list(get_args(EventTypeName)) == list(EVENT_TYPES)


@pytest.mark.parametrize("name", EVENT_TYPES)
def test_a_sample_is_of_its_shape_and_no_more(name: str) -> None:
    event = EVENT_TYPES[name]
    sample = event.sample(NOW)
    assert msgspec.to_builtins(msgspec.convert(sample, event.payload, strict=True)) == sample
    # What is left of it for those who may not read it.
    cut = {member: sample[member] for member in _CUT_TO if member in sample}
    assert msgspec.to_builtins(msgspec.convert(cut, Cut, strict=True)) == cut
    assert event.thin == (cut == sample)


def test_what_is_cut_to_is_the_schema_s() -> None:
    assert set(_CUT_TO) == {field.name for field in msgspec.structs.fields(Cut)}
    assert {field.name for field in msgspec.structs.fields(Thin)} <= set(_CUT_TO)


def test_the_document_describes_each_with_both_signatures() -> None:
    OpenAPIV31SpecValidator(DOCUMENT).validate()
    assert list(DOCUMENT["webhooks"]) == list(EVENT_TYPES)
    for name, item in DOCUMENT["webhooks"].items():
        content = item["post"]["requestBody"]["content"]["application/json"]
        validator = jsonschema.Draft202012Validator(
            {**content["schema"], "components": DOCUMENT["components"]}
        )
        example = content["examples"]["example"]["value"]
        validator.validate(example)
        validator.validate(
            {**example, "data": {"uid": "x", "status": "init", "created_at": 1, "updated_at": 1}}
        )
        for wrong in (
            {**example, "event_type": "other"},
            {**example, "data": {}},
            {**example, "timestamp": "1"},
        ):
            with pytest.raises(jsonschema.ValidationError):
                validator.validate(wrong)
        headers = {one["name"]: one["example"] for one in item["post"]["parameters"]}
        assert set(headers) == {
            "X-Webhook-Event",
            "X-Webhook-Signature",
            "webhook-id",
            "webhook-timestamp",
            "webhook-signature",
        }
        # The example's signatures are real ones.
        assert headers["X-Webhook-Event"] == name
        body = msgspec.json.encode(envelope(name, example["timestamp"], example["data"]))
        assert headers["X-Webhook-Signature"] == vendor_signature(SECRET, body)
        signed = standard_signature(SECRET, headers["webhook-id"], int(headers["webhook-timestamp"]), body)
        assert headers["webhook-signature"] == signed


def test_each_is_on_the_page() -> None:
    for name in EVENT_TYPES:
        assert f"| `{name}` |" in page()
