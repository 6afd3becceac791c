"""Conditional answers (RFC 9110, section 13): an entity tag for a body, and 304 for a client that has that body."""

from __future__ import annotations

import re
from collections.abc import Sequence
from hashlib import blake2b

import msgspec

from rxdesk.web.answers import Answer

_OK = 200
_NOT_MODIFIED = 304
_DIGEST_BYTES = 12
# One tag of a list, with what may stand around it; the list may have empty members.
_TAG = re.compile(rb'[ \t,]*(?:W/)?("[\x21\x23-\x7e\x80-\xff]*")[ \t]*(?=,|$)')


def unless_same(answer: Answer, given: Sequence[bytes]) -> Answer:
    """Tag an answer of 200; 304 without a body if the client's `If-None-Match` names the tag.

    `given` are the values of that header. Tags are compared weakly; a header that is no list of tags counts as none.
    """
    if answer.status != _OK:
        return answer
    tag = b'"' + blake2b(answer.body, digest_size=_DIGEST_BYTES).hexdigest().encode() + b'"'
    headers = {**answer.headers, "ETag": tag.decode()}
    if _names(b",".join(given), tag):
        return Answer(_NOT_MODIFIED, b"", headers)
    return msgspec.structs.replace(answer, headers=headers)


def _names(header: bytes, tag: bytes) -> bool:
    if header.strip(b" \t") == b"*":
        return True
    named = False
    position = 0
    while match := _TAG.match(header, position):
        named = named or match[1] == tag
        position = match.end()
    return named and not header[position:].strip(b" \t,")
