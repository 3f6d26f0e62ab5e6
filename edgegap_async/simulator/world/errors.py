"""The API's no."""


class Refusal(Exception):
    """A request that is not carried out: the status and the message that say so."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
