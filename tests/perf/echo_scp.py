"""The least that a C-STORE SCP can do: pynetdicom takes the object in, and success is said. Prints its port, serves until it is ended."""

from __future__ import annotations

import signal

from pynetdicom import AE, ALL_TRANSFER_SYNTAXES, AllStoragePresentationContexts, evt


def main() -> None:
    entity = AE("ECHO")
    entity.maximum_associations = 32
    for context in AllStoragePresentationContexts:
        entity.add_supported_context(context.abstract_syntax, ALL_TRANSFER_SYNTAXES)
    handlers = [(evt.EVT_C_STORE, lambda event: 0x0000)]
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
    print(server.socket.getsockname()[1], flush=True)
    signal.pause()


if __name__ == "__main__":
    main()
