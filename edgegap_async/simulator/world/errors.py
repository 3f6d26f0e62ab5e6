"""The error responses of the simulated API."""


class ApiError(Exception):
    """An error response of the API: its HTTP status and its message."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
