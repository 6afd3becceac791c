"""Headers that a customer may have us send along with a delivery."""

import re

MAX_NAME_LENGTH = 100
MAX_VALUE_LENGTH = 1024

_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", re.ASCII)
_RESERVED = frozenset(
    {
        "host",
        # Hop by hop, or in the hands of the connection.
        "connection",
        "expect",
        "keep-alive",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
_RESERVED_PREFIXES = ("content-", "proxy-", "webhook-", "x-webhook-")


def check_custom_header(name: str, value: str) -> str | None:
    """Say why a custom header is not accepted; None when it is.

    The name is a token (RFC 9110, section 5.6.2) of at most 100 characters that neither frames the message
    nor belongs to us; the value is 1–1,024 visible ASCII characters and single or more spaces between them.
    The answer is an English sentence that begins with `header_key` or `header_value` and holds neither of the
    two.
    """
    if len(name) > MAX_NAME_LENGTH or not _TOKEN.fullmatch(name):
        return f"header_key must be an HTTP header name of at most {MAX_NAME_LENGTH} characters"
    # Receivers behind CGI-like interfaces cannot tell X_Webhook_Signature from X-Webhook-Signature.
    folded = name.lower().replace("_", "-")
    if folded in _RESERVED or folded.startswith(_RESERVED_PREFIXES):
        return "header_key is reserved"
    if not 1 <= len(value) <= MAX_VALUE_LENGTH:
        return f"header_value must have 1–{MAX_VALUE_LENGTH} characters"
    if not (value.isascii() and value.isprintable()):
        return "header_value must hold visible ASCII characters and spaces only"
    if value != value.strip(" "):
        return "header_value must not begin or end with a space"
    return None
