"""The types of ASGI, as servers and frameworks write them."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
# Frameworks narrow the types of the arguments, each in its own way.
App: TypeAlias = Callable[[Any, Any, Any], Awaitable[None]]
