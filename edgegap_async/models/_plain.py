"""Structs turn into plain data and JSON, and are part of the schemas of web frameworks.

pydantic, and with it FastAPI, asks a type for a core schema. It is imported when it asks,
as a program that does not use it need not have it.
"""

from collections.abc import Iterator, Mapping
from functools import cache
from types import UnionType
from typing import (
    Annotated,
    Any,
    ClassVar,
    Self,
    TypeGuard,
    Union,
    cast,
    get_args,
    get_origin,
)

import msgspec
from msgspec import NODEFAULT, UNSET, Struct, convert, defstruct, json, structs


class _Serializer:
    """What pydantic asks a value for whose type it does not know, as in a dict[str, Any].
    It is made when pydantic asks.
    """

    def __init__(self) -> None:
        self._made: dict[type, object] = {}

    def __get__(self, value: object, kind: type["PlainData"]) -> object:
        if kind not in self._made:
            from pydantic_core import SchemaSerializer

            schema = kind.__get_pydantic_core_schema__(None, None)
            self._made[kind] = SchemaSerializer(schema)
        return self._made[kind]


class PlainData(Struct, frozen=True):
    """Base of the structs that users make or get.

    `msgspec.json.decode(struct.to_json(), type=type(struct))` makes an equal struct, unless
    it is the outcome of a deploy, which may hold an error, or hides something.
    """

    # Fields that are left out.
    secret_fields: ClassVar[frozenset[str]] = frozenset()

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as JSON has it: times are texts, tuples are lists. Errors become
        their class and text. What a repr hides of a request is shown, as the data is
        meant to be sent: the URL of a webhook, hidden environment variables.
        """
        return cast("dict[str, Any]", json.decode(self.to_json()))

    def to_json(self) -> str:
        """The same as the text of a JSON object."""
        return json.encode(_without_secrets(self), enc_hook=_error).decode()

    def __iter__(self) -> Iterator[tuple[str, object]]:
        """The items of `to_dict()`. FastAPI calls it for what a route without an
        annotation returns.
        """
        return iter(self.to_dict().items())

    def __hash__(self) -> int:
        values = (_hashable(value) for _, value in fields_of(self))
        return hash((type(self), *values))

    __pydantic_serializer__: ClassVar[Any] = _Serializer()

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: object) -> Any:
        # Whoever calls this has it.
        from pydantic_core import core_schema

        return core_schema.no_info_plain_validator_function(
            cls._validated,
            ref=f"{cls.__module__}.{cls.__qualname__}:{id(cls)}",
            serialization=core_schema.plain_serializer_function_ser_schema(
                cls._serialized
            ),
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: object, handler: object) -> Any:
        return json_schema(cls)

    @classmethod
    def _validated(cls, value: object) -> Self:
        return value if isinstance(value, cls) else convert(value, cls)

    @classmethod
    def _serialized(cls, value: "PlainData") -> dict[str, Any]:
        plain = value.to_dict()
        if type(value) is cls:
            return plain
        # Of a subclass, what the schema has.
        return {name: plain[name] for name in cls.__struct_fields__ if name in plain}


def fields_of(struct: PlainData) -> Iterator[tuple[str, object]]:
    """The fields of a struct and their values, without its secrets."""
    for name in struct.__struct_fields__:
        if name not in struct.secret_fields:
            yield name, getattr(struct, name)


def secrets_of(body: object) -> Iterator[str]:
    """The secrets that a body holds."""
    if isinstance(body, PlainData):
        values = (getattr(body, name) for name in body.secret_fields)
        yield from (str(value) for value in values if isinstance(value, str | int))


class HidesSecrets:
    """Makes the repr of a struct leave out its secrets. Name it before the base that is
    a struct.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value!r}" for name, value in self.__rich_repr__())
        return f"{type(self).__name__}({shown})"

    def __rich_repr__(self) -> list[tuple[str, object]]:
        # rich calls this method. The one of msgspec would show the secrets.
        struct = cast("PlainData", self)
        return [each for each in fields_of(struct) if each[1] is not UNSET]


def _without_secrets(value: object) -> object:
    """A value as it is encoded: structs that hold secrets, at any depth, are opened."""
    if isinstance(value, PlainData) and _holds_secrets(type(value)):
        return {
            name: _without_secrets(part)
            for name, part in fields_of(value)
            if part is not UNSET
        }
    if isinstance(value, tuple):
        return [_without_secrets(item) for item in cast("tuple[object, ...]", value)]
    return value


@cache
def _holds_secrets(kind: Any) -> bool:
    if _is_struct(kind):
        if issubclass(kind, PlainData) and kind.secret_fields:
            return True
        return any(_holds_secrets(field.type) for field in structs.fields(kind))
    return any(map(_holds_secrets, get_args(kind)))


def _error(value: object) -> object:
    if isinstance(value, BaseException):
        return {"kind": type(value).__name__, "message": str(value)}
    raise NotImplementedError(f"{type(value).__name__} is no plain data")


def _hashable(value: object) -> object:
    if isinstance(value, Mapping):
        items = cast("Mapping[str, object]", value).items()
        return frozenset((name, _hashable(item)) for name, item in items)
    if isinstance(value, list | tuple):
        return tuple(map(_hashable, cast("tuple[object, ...]", value)))
    return value


def json_schema(kind: type[Struct]) -> dict[str, Any]:
    """The JSON schema of what `to_dict` returns, without references."""
    (schema,), components = json.schema_components(
        [_shown(kind)], schema_hook=lambda _: {"type": "object"}, ref_template="{name}"
    )
    return cast("dict[str, Any]", _inlined(schema, components))


def _inlined(schema: object, components: Mapping[str, object]) -> object:
    if isinstance(schema, Mapping):
        parts = cast("Mapping[str, object]", schema)
        reference = parts.get("$ref")
        if isinstance(reference, str):
            return _inlined(components[reference], components)
        return {name: _inlined(part, components) for name, part in parts.items()}
    if isinstance(schema, list):
        return [_inlined(part, components) for part in cast("list[object]", schema)]
    return schema


def _shown(kind: Any) -> Any:
    """The type of a value as an attribute holds it. The annotations of answers have what
    the API may send.
    """
    if get_origin(kind) is Annotated:
        for note in get_args(kind)[1:]:
            if hasattr(note, "shows"):
                return _shown(note.shows)
        return kind
    if _is_struct(kind):
        return _shown_struct(kind)
    origin, members = get_origin(kind), tuple(map(_shown, get_args(kind)))
    if origin is None:
        return kind
    generic: Any = Union if origin is UnionType else origin
    if generic is Union and len([it for it in members if _is_untagged(it)]) > 1:
        # msgspec could not tell them apart if it had to decode them.
        return object
    return generic[members]


def _is_struct(kind: object) -> TypeGuard[type[Struct]]:
    return isinstance(kind, type) and issubclass(kind, Struct)


def _is_untagged(kind: object) -> bool:
    return _is_struct(kind) and kind.__struct_config__.tag is None


@cache
def _shown_struct(kind: type[Struct]) -> type[Struct]:
    secret = kind.secret_fields if issubclass(kind, PlainData) else ()
    all_fields = structs.fields(kind)
    fields = [field for field in all_fields if field.name not in secret]
    types = [_shown(field.type) for field in fields]
    if types == [field.type for field in all_fields]:
        return kind
    return defstruct(
        kind.__name__,
        [
            (field.name, shown, _default(field))
            for field, shown in zip(fields, types, strict=True)
        ],
        namespace={"__doc__": kind.__doc__},
        kw_only=True,
    )


def _default(field: structs.FieldInfo) -> Any:
    if field.default_factory is not NODEFAULT:
        return msgspec.field(default_factory=field.default_factory)
    default: Any = field.default
    return default
