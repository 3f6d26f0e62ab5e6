"""The fields of bodies that the API requires, and that the structs of the SDK fill in."""

from msgspec import Struct, json


class _Filter(Struct):
    field: str
    values: list[str]
    filter_type: str


class _Variable(Struct):
    key: str
    value: str
    is_hidden: bool


class _Required(Struct):
    filters: list[_Filter] | None = None
    environment_variables: list[_Variable] | None = None


_DECODER = json.Decoder(_Required)


def check_required(body: bytes) -> None:
    """Check that a body has all fields that the API requires.

    Raises:
        DecodeError: A field is missing.
    """
    _DECODER.decode(body)
