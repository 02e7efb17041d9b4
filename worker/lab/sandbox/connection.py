"""What is sent on the connection: a whole response, half of one, or none."""

import asyncio

from aiohttp import hdrs, web

from worker.lab.sandbox.http_types import Incoming, Reply

_HANG_CHECK_S = 0.1


async def read(request: web.Request, segments: list[str], key: str, base: str) -> Incoming:
    """The request as a value; `Content-Type` decides whether its body is XML, `Accept` whether the response is."""
    body = await body_of(request)
    accept = request.headers.get(hdrs.ACCEPT, "")
    xml_in = "xml" in request.headers.get(hdrs.CONTENT_TYPE, "")
    xml_out = "xml" in accept or (xml_in and "json" not in accept)
    return Incoming(
        method=request.method, segments=segments, key=key, base=base, body=body, xml_in=xml_in, xml_out=xml_out
    )


async def body_of(request: web.Request) -> bytes:
    """The body of a request. Raises `web.HTTPBadRequest` for one that is not encoded as its headers say."""
    try:
        return await request.read() if request.body_exists else b""
    except web.RequestPayloadError as error:
        raise web.HTTPBadRequest(text=str(error)) from error


def whole(reply: Reply) -> web.Response:
    """The whole response."""
    headers = None if reply.retry_after_s is None else {hdrs.RETRY_AFTER: str(reply.retry_after_s)}
    return web.Response(status=reply.status, body=reply.body, content_type=reply.content_type, headers=headers)


async def half(request: web.Request, reply: Reply) -> web.StreamResponse:
    """Send half of the response, then close the connection."""
    length = len(reply.body)
    response = web.StreamResponse(status=reply.status)
    response.content_type, response.content_length = reply.content_type, length
    await response.prepare(request)
    await response.write(reply.body[: length // 2])
    if request.transport is not None:
        request.transport.close()
    return response


def none(request: web.Request) -> web.Response:
    """Close the connection at once; the returned response is not sent."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


async def never(request: web.Request) -> web.Response:
    """Send nothing until the caller closes the connection."""
    while request.transport is not None and not request.transport.is_closing():  # noqa: ASYNC110 - closing sets no event
        await asyncio.sleep(_HANG_CHECK_S)
    return web.Response()
