"""Triton's explicit model control: a model's folder in the repository is taken up while the version before it goes on answering."""

from __future__ import annotations

import socket

from tritonclient.grpc import InferenceServerClient
from tritonclient.utils import InferenceServerException

from pipeline.errors import Unavailable

LOAD_WITHIN_S = 60.0


def servers(address: str) -> list[str]:
    """host:port of each server that a name stands for, as a headless service's does. Raises Unavailable."""
    host, _, port = address.rpartition(":")
    try:
        found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise Unavailable(f"nobody knows {host}, where Triton should be: {error}") from error
    return [f"[{where[0]}]:{port}" if ":" in str(where[0]) else f"{where[0]}:{port}" for *_, where in found]


def load(url: str, model: str) -> None:
    """Returns when the model answers as its folder now says. Raises Unavailable; then Triton goes on with what it had."""
    client = InferenceServerClient(url)
    try:
        client.load_model(model, client_timeout=LOAD_WITHIN_S)
    except InferenceServerException as error:
        raise Unavailable(f"Triton at {url} did not load {model}: {error.message()}") from error
    finally:
        client.close()


def version(url: str, model: str) -> str:
    """The version that answers. Raises Unavailable."""
    client = InferenceServerClient(url)
    try:
        versions = client.get_model_metadata(model, client_timeout=5.0).versions
    except InferenceServerException as error:
        raise Unavailable(f"Triton at {url} does not tell of {model}: {error.message()}") from error
    finally:
        client.close()
    return str(versions[-1]) if versions else ""
