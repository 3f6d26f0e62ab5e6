"""One dispatch of a request to the server: was it sent, and no second one behind our
back.
"""

from collections.abc import Awaitable

import aiohttp


class ResendRefused(aiohttp.ClientError):
    """aiohttp was about to send the request again by itself: the server had closed the
    kept connection.
    """


class Attempt(aiohttp.UploadTracker):
    """Tracks whether the request was sent, and is the middleware that refuses a second
    dispatch.

    One object for both, as it is made for each attempt. A request's own middlewares
    replace those of the HTTP session.
    """

    def __call__(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> Awaitable[aiohttp.ClientResponse]:
        """Dispatch the request, once. What it returns is awaited by aiohttp; a
        coroutine around it would be a cost.
        """
        if self.attempts:
            raise ResendRefused(
                "the server closed the kept connection before it answered"
            )
        return handler(request)

    @property
    def sent(self) -> bool:
        """False is certain; a body that is still being written counts as sent."""
        upload = self.upload_complete
        return not upload.done() or upload.exception() is None
