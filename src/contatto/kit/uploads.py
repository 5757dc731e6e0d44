"""Pictures of requests, made anew a few at a time, and pictures of answers, in which nothing can run."""

import asyncio
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from contatto.kit import errors
from contatto.kit.http import read_body
from contatto.kit.pictures import PICTURE_LIMIT, Picture, remake_picture

_AT_ONCE: Final = 2
"""Pictures that are remade at the same time: each may need 100 MB and a core for a moment."""
_SAFE: Final = {
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Cross-Origin-Resource-Policy": "same-origin",
}


async def read_picture(request: Request) -> Picture:
    """The picture in a request's body, made anew.

    Raises:
        Refused: PHOTO_TOO_LARGE, NOT_A_PHOTO.
    """
    raw = await read_body(request, PICTURE_LIMIT, errors.PHOTO_TOO_LARGE)
    async with _turns(request):
        return await asyncio.to_thread(remake_picture, raw)


def _turns(request: Request) -> asyncio.Semaphore:
    """One for each running app, since it belongs to an event loop."""
    state = request.app.state
    if not hasattr(state, "picture_turns"):
        state.picture_turns = asyncio.Semaphore(_AT_ONCE)
    turns: asyncio.Semaphore = state.picture_turns
    return turns


def picture_answer(media_type: str, body: bytes, cache: str) -> Response:
    """A picture that the browser shows, and in which nothing can run."""
    ending = media_type.partition("/")[2]
    shown = {"Content-Disposition": f'inline; filename="photo.{ending}"', "Cache-Control": cache}
    return Response(body, media_type=media_type, headers=_SAFE | shown)
