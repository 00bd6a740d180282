"""Triton Inference Server on this machine, serving the model repository in the data folder."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pipeline.adapters.local import triton_environment
from pipeline.adapters.local.process import Launch
from pipeline.adapters.local.triton_environment import TritonEnvironment

ModelBuilder = Callable[[Path], None]


@dataclass(frozen=True)
class TritonPorts:
    """Triton listens on three."""

    grpc: int
    http: int
    metrics: int


class TritonServer:
    """The server of one data folder."""

    name = "triton"

    def __init__(
        self, models: Path, ports: TritonPorts, log: Path, build: ModelBuilder | None = None, otlp_endpoint: str | None = None
    ) -> None:
        """`build` fills the model repository at each start; without it, the repository is taken as it stands.

        otlp_endpoint: where Triton's own spans of a request go, in the trace that the request names.
        """
        self.ports = ports
        self._models = models
        self._log = log
        self._build = build
        self._otlp_endpoint = otlp_endpoint
        self._environment: TritonEnvironment | None = None

    @property
    def url(self) -> str:
        """For gRPC clients."""
        return f"127.0.0.1:{self.ports.grpc}"

    def prepare(self, progress: Callable[[str, str], None]) -> None:
        """Make the environment once and the model repository anew. Raises TritonUnavailable."""
        self._environment = triton_environment.ensure(progress)
        self._models.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self._build is not None:
            self._build(self._models)

    def launch(self) -> Launch:
        """How to run it; after `prepare`."""
        assert self._environment is not None, "prepare() comes first"
        return Launch(argv=[str(self._environment.server), *self._options()], log=self._log, env=self._environment.variables())

    def ready(self) -> bool:
        """True once the server and all its models can answer."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.ports.http}/v2/health/ready", timeout=1) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def _options(self) -> list[str]:
        assert self._environment is not None
        return [
            f"--model-repository={self._models}",
            f"--backend-directory={self._environment.backends}",
            "--model-control-mode=explicit",
            "--load-model=*",
            "--grpc-address=127.0.0.1",
            f"--grpc-port={self.ports.grpc}",
            "--http-address=127.0.0.1",
            f"--http-port={self.ports.http}",
            "--metrics-address=127.0.0.1",
            f"--metrics-port={self.ports.metrics}",
            "--allow-gpu-metrics=false",
            "--pinned-memory-pool-byte-size=0",
            "--exit-timeout-secs=5",
            *(_traces(self._otlp_endpoint) if self._otlp_endpoint else ()),
        ]


def _traces(otlp_endpoint: str) -> list[str]:
    """A request that names its trace has spans whatever the rate; the rate keeps Triton from beginning traces of its own."""
    wanted = ("mode=opentelemetry", f"opentelemetry,url={otlp_endpoint}", "level=TIMESTAMPS", f"rate={1_000_000_000}")
    return [f"--trace-config={one}" for one in wanted]
