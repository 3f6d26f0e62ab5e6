"""A server whose certificate no client trusts."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

# Made for these tests: self-signed, for localhost.
KEY_AND_CERTIFICATE = """\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgwpKDJQUrw0cMv1I2
Rp6dsxkTU7UIS/5gxjbdF7C/2CyhRANCAAS7m6oyk57o9fresUaRhHLh8XOI9kJP
2I/JQ4hxtFZK0GLf2SxCVUeVDWNdH/1ELc/5jnLlGgLSENxuQMkv2TFO
-----END PRIVATE KEY-----
-----BEGIN CERTIFICATE-----
MIIBgDCCASWgAwIBAgIUED2iaJwL01uhkVCXrQ5SanMNxs8wCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyNjA4MDQxM1oYDzIxMjYxMTAy
MDgwNDEzWjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAAS7m6oyk57o9fresUaRhHLh8XOI9kJP2I/JQ4hxtFZK0GLf2SxCVUeV
DWNdH/1ELc/5jnLlGgLSENxuQMkv2TFOo1MwUTAdBgNVHQ4EFgQUN/ptdXDNjRRg
vjeh6eE5itBGQ/4wHwYDVR0jBBgwFoAUN/ptdXDNjRRgvjeh6eE5itBGQ/4wDwYD
VR0TAQH/BAUwAwEB/zAKBggqhkjOPQQDAgNJADBGAiEAofNR6pVnN4oYr0oTX3wh
W4RG7SRnj4gQz/xNjpEOCFsCIQDUdh0gLBl9HcCXqw5stO4fhRkBWElnD247DTix
Q35xpw==
-----END CERTIFICATE-----
"""


@asynccontextmanager
async def untrusted(folder: Path) -> AsyncIterator[str]:
    """Start a server whose certificate no client trusts, and yield its URL."""
    (folder / "untrusted.pem").write_text(KEY_AND_CERTIFICATE)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "untrusted.pem")

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.abort()

    server = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=context)
    async with server:
        yield f"https://localhost:{server.sockets[0].getsockname()[1]}"
