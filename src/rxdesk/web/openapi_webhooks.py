"""The part of an OpenAPI document that describes the requests which the server makes."""

from __future__ import annotations

from typing import Any

from rxdesk.web.api import Webhook


def described(webhook: Webhook, by_type: dict[str, Any]) -> dict[str, Any]:
    """Describe one as a path item; `by_type` gives a type's schema."""
    shapes = [by_type[repr(kind)] for kind in webhook.data]
    body = {
        "type": "object",
        "required": ["event_type", "timestamp", "payload_version", "data"],
        "properties": {
            "event_type": {"const": webhook.name},
            "timestamp": {"type": "integer", "description": "When it happened, as Unix seconds"},
            "payload_version": {"const": "1"},
            "data": shapes[0] if len(shapes) == 1 else {"anyOf": shapes},
        },
    }
    return {
        "post": {
            "operationId": webhook.name,
            "summary": webhook.summary,
            "description": webhook.description,
            "security": [],
            "parameters": [
                {
                    "name": name,
                    "in": "header",
                    "required": True,
                    "description": text,
                    "schema": {"type": "string"},
                    "example": example,
                }
                for name, text, example in webhook.headers
            ],
            "requestBody": {
                "required": True,
                "content": {
                    "application/json": {"schema": body, "examples": {"example": {"value": webhook.example}}}
                },
            },
            "responses": {
                "2XX": {"description": "Delivered"},
                "410": {"description": "Never again: the subscription ends"},
                "default": {"description": "Sent again later, the same bytes"},
            },
        }
    }
