"""The least that an MLLP receiver can do: read a frame, answer AA with its control id. Prints its port, serves until it is ended."""

from __future__ import annotations

import asyncio

import uvloop

_END = b"\x1c\x0d"


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            frame = await reader.readuntil(_END)
            control = frame.split(b"\r", 1)[0].split(b"|")[9]
            writer.write(b"\x0bMSH|^~\\&|ECHO||||||ACK|1|P|2.5.1\rMSA|AA|" + control + b"\r" + _END)
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def main() -> None:
    server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=1 << 20)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
