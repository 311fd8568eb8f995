"""Certificates for a test, and a TLS end in front of a server that has none of its own.

The certificates are real and made anew: a CA, a server's certificate for TLS_HOST, and another CA
that has signed nothing here.
"""

from __future__ import annotations

import asyncio
import ssl
import threading
from contextlib import suppress
from pathlib import Path
from typing import Self

import trustme
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from tests.services.kafka_node import TLS_HOST
from tests.services.process import LOOPBACK

CHUNK_BYTES = 1 << 16


class Certificates:
    """PEM files: `ca`, `other_ca`, and `keystore` (PKCS 8 key, then certificates) of a server."""

    def __init__(self, folder: Path) -> None:
        """Make all of them."""
        self.ca, self.other_ca, self.keystore = (
            folder / name for name in ("ca.pem", "other.pem", "server.pem")
        )
        authority = trustme.CA()
        authority.cert_pem.write_to_path(self.ca)
        trustme.CA().cert_pem.write_to_path(self.other_ca)
        issued = authority.issue_cert(TLS_HOST)
        key = load_pem_private_key(issued.private_key_pem.bytes(), None)
        parts = [key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())]
        parts += [blob.bytes() for blob in issued.cert_chain_pems]
        self.keystore.write_bytes(b"".join(parts))


class TlsEnd:
    """Takes TLS connections, and passes what they carry on to a plain port of this host."""

    def __init__(self, keystore: Path, target_port: int) -> None:
        """Nothing listens yet."""
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(keystore)
        self._target = (LOOPBACK, target_port)
        self._listens = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._listen()), daemon=True)
        self.port = 0

    def __enter__(self) -> Self:
        self._thread.start()
        self._listens.wait()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join()

    async def _listen(self) -> None:
        server = await asyncio.start_server(self._serve, LOOPBACK, 0, ssl=self._context)
        self.port = server.sockets[0].getsockname()[1]
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        self._listens.set()
        await self._stopping.wait()
        server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await asyncio.open_connection(*self._target)
        await asyncio.gather(pass_on(reader, there_writer), pass_on(there_reader, writer))


async def pass_on(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    """Copy until the source ends, then end the target."""
    with suppress(OSError):
        while chunk := await source.read(CHUNK_BYTES):
            target.write(chunk)
            await target.drain()
    target.close()
