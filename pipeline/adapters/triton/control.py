"""Triton's explicit model control: a model's folder in the repository is taken up while the version before it goes on answering."""

from __future__ import annotations

from tritonclient.grpc import InferenceServerClient
from tritonclient.utils import InferenceServerException

from pipeline.errors import Unavailable

LOAD_WITHIN_S = 60.0


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
