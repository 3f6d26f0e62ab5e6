"""`session.storage`: endpoint storages, buckets for the logs of containers."""

from collections.abc import AsyncIterator
from typing import Unpack

from msgspec import UNSET

from .._masking import revealed, secret_of
from .._transport.client import Transport
from .._transport.options import CallOptions
from ..endpoints import (
    CREATE_STORAGE,
    DELETE_STORAGE,
    STORAGE,
    STORAGES,
    UPDATE_STORAGE,
)
from ..models._check import whole_number
from ..models.storage import (
    EndpointStorage,
    EndpointStorages,
    OutputFormat,
    StorageRequest,
    StorageUpdate,
    secret_key,
)
from ._in_use import OpenSession
from ._options import all_rows, body_and_call, call_options, page_query


class StorageChanges(CallOptions, total=False):
    """The changes of `storage.update`, and `CallOptions`. The rest stays as it is.

    Attributes:
        name: a new name.
        access_key_id, secret_access_key: the keys of the bucket.
        endpoint: the URL of the provider.
        bucket: its name.
        output_format: TEXT or NDJSON.
    """

    name: str
    access_key_id: str
    secret_access_key: str
    endpoint: str
    bucket: str
    output_format: OutputFormat


class Storage:
    """Endpoint storages. `container_log_storage="name"` of a stop keeps the logs in one.
    Every method takes `timeout`, seconds for the whole call, and raises `EdgegapError`.
    """

    def __init__(self, transport: Transport, session: OpenSession) -> None:
        self._transport, self._session = transport, session

    async def list(
        self,
        *,
        page: int | None = None,
        limit: int | None = None,
        **options: Unpack[CallOptions],
    ) -> EndpointStorages:
        """One page of the organization's storages (GET /v1/storage/endpoints).

        Args:
            page, limit: which page, and rows per page, from 1. Not given: the API
                decides.
            timeout: seconds for the whole call.
        """
        return await self._transport.call(
            STORAGES, query=page_query(page, limit), **call_options(self.list, options)
        )

    def iterate(
        self, *, page_size: int = 100, **options: Unpack[CallOptions]
    ) -> AsyncIterator[EndpointStorage]:
        """All storages, page by page, none of them twice (GET /v1/storage/endpoints).

        Args:
            page_size: rows to ask for at once; the API may return fewer.
            timeout: seconds for each page.
        """
        whole_number("page_size", page_size, 1)
        call_options(self.iterate, options)

        async def ask(number: int) -> EndpointStorages:
            return await self.list(page=number, limit=page_size, **options)

        return all_rows(STORAGES, ask, lambda page: page.endpoints, lambda it: it.name)

    async def get(
        self, endpoint_name: str, **options: Unpack[CallOptions]
    ) -> EndpointStorage:
        """One storage (GET /v1/storage/endpoint/{endpoint_name})."""
        return await self._transport.call(
            STORAGE,
            {"endpoint_name": endpoint_name},
            **call_options(self.get, options),
        )

    async def create(
        self,
        name: str,
        *,
        access_key_id: str,
        secret_access_key: str,
        endpoint: str,
        bucket: str,
        output_format: OutputFormat | None = None,
        **options: Unpack[CallOptions],
    ) -> EndpointStorage:
        """Create a storage (POST /v1/storage/endpoint). A request whose answer was lost is
        not sent again.

        Args:
            access_key_id, secret_access_key: the keys of the bucket.
            endpoint: the URL of the provider, without the bucket.
            bucket: its name.
            output_format: TEXT or NDJSON. Not given: the API decides.
            timeout: seconds for the whole call.
        """
        key = secret_of(secret_key, secret_access_key)
        del secret_access_key
        body = StorageRequest(
            name=name,
            access_key_id=access_key_id,
            secret_access_key=revealed(key),
            endpoint=endpoint,
            bucket=bucket,
            output_format=UNSET if output_format is None else output_format,
        )
        return await self._transport.call(
            CREATE_STORAGE, body=body, **call_options(self.create, options)
        )

    async def update(
        self, endpoint_name: str, **options: Unpack[StorageChanges]
    ) -> EndpointStorage:
        """Change a storage (PATCH /v1/storage/endpoint/{endpoint_name}). A request whose
        answer was lost is not sent again.

        Args:
            name: a new name.
            access_key_id, secret_access_key: the keys of the bucket.
            endpoint: the URL of the provider.
            bucket: its name.
            output_format: TEXT or NDJSON.
            timeout: seconds for the whole call.
        """
        if "secret_access_key" in options:
            key = secret_of(secret_key, options.pop("secret_access_key"))
            options["secret_access_key"] = revealed(key)
        asked, call = body_and_call(self.update, options, StorageUpdate)
        return await self._transport.call(
            UPDATE_STORAGE, {"endpoint_name": endpoint_name}, body=asked, **call
        )

    async def delete(self, endpoint_name: str, **options: Unpack[CallOptions]) -> None:
        """Delete a storage (DELETE /v1/storage/endpoint/{endpoint_name}). The bucket and
        its logs stay.
        """
        await self._transport.call(
            DELETE_STORAGE,
            {"endpoint_name": endpoint_name},
            **call_options(self.delete, options),
        )
