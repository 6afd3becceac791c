"""What is sent, and how its refusal is seen."""

from __future__ import annotations

import asyncio

from tests.wire.raw import BASE, Closed, Wire

OK = BASE + "/health/"
REGISTER = "/waiting-room/register"


async def refused(url: str, data: bytes) -> int:
    """Send, and give the status of the refusal, 0 when the server just closed."""
    wire = await Wire.open(url)
    sending = asyncio.create_task(wire.send(data))
    try:
        status = (await wire.reply()).status
    except Closed:
        status = 0
    finally:
        sending.cancel()
        await wire.close()
    return status
