"""The platform of the demo world: it takes what the business sends, as the real one would."""

from typing import Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from contatto.kit.ids import new_id

PLATFORM_PATH: Final = "/simulated/tiktok"
"""Where the demo's own TikTok stands, in place of the real one."""


async def take_message(request: Request) -> Response:
    """Take a message; nobody reads it, and nobody answers."""
    message = {"message": {"message_id": new_id()}}
    return JSONResponse({"code": 0, "message": "OK", "request_id": new_id(), "data": message})


routes: Final = (
    Route(f"{PLATFORM_PATH}/open_api/v1.3/business/message/send/", take_message, methods=["POST"]),
)
