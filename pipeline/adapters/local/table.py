"""The table of what the local stack consists of: servers, steps and roles, what each needs, and the environment it gets."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Sequence

from pipeline.adapters.local import heartbeat
from pipeline.adapters.local.folders import Folders
from pipeline.adapters.local.fork_server import ForkServer
from pipeline.adapters.local.kafka import KafkaServer
from pipeline.adapters.local.ports import Ports, apply, telemetry_of
from pipeline.adapters.local.postgres import PostgresServer
from pipeline.adapters.local.process import Fork, Launch, no_fork
from pipeline.adapters.local.supervisor import Part, Progress
from pipeline.adapters.local.triton import ModelBuilder, TritonPorts, TritonServer
from pipeline.settings import Settings

SERVERS = ("postgres", "kafka", "triton")
STEPS = ("migrate", "topics")
FORK_SERVER = "fork-server"
ROLES = (
    "gateway-dicom",
    "gateway-hl7",
    "gateway-http",
    "agent-context",
    "agent-scoring",
    "agent-ranking",
    "agent-escalation",
    "agent-pictures",
    "web",
)
PRELOAD = (
    "pipeline.cli.roles",
    "agents.context",
    "agents.scoring",
    "agents.ranking",
    "agents.escalation",
    "agents.pictures",
    "agents.worker",
    "faust.app.router",
    "faust.assignor.leader_assignor",
    "faust.tables.manager",
    "faust.tables.sets",
    "faust.topics",
    "faust.worker",
    "pipeline.adapters.kafka.ends",
    "pipeline.adapters.notify.channels",
    "pipeline.adapters.site.source",
    "pipeline.services.context",
    "pipeline.services.escalation_stage",
    "pipeline.services.pictures",
    "pipeline.gateways.hl7.server",
    "pipeline.gateways.dicom.scp",
    "pipeline.gateways.http.app",
    "pipeline.worklist.app",
    "pipeline.worklist.server",
    "httpcore",
    "uvicorn.lifespan.on",
    "uvicorn.protocols.http.auto",
    "uvicorn.protocols.websockets.auto",
)
"""What the roles import, lazily or not; a role that needs more imports it when it starts. Nothing that starts threads: they do not live
through a fork (so neither gRPC nor onnxruntime).
"""

RoleCommand = Callable[[str], Sequence[str]]
_STEP_NEEDS = {"migrate": frozenset({"postgres", FORK_SERVER}), "topics": frozenset({"kafka", FORK_SERVER})}


class Table:
    """Makes the parts of one stack from its settings and ports."""

    def __init__(
        self,
        folders: Folders,
        settings: Settings,
        ports: Ports,
        servers: Sequence[str],
        steps: Sequence[str],
        roles: Sequence[str],
        role_command: RoleCommand,
        preload: Sequence[str] = (),
    ) -> None:
        self._folders, self._base, self._ports = folders, settings, ports
        self._servers, self._steps, self._roles = list(servers), steps, roles
        self._role_command = role_command
        self._fork_server = self._make_fork_server(preload)

    @property
    def fork(self) -> Fork:
        """The quick way to start a Python process, where there is one."""
        return self._fork_server.fork if self._fork_server else no_fork

    def close(self) -> None:
        """Give back what the parts shared; after the last of them has ended."""
        if self._fork_server:
            self._fork_server.close()

    def settings(self) -> Settings:
        """As they stand now: without Triton once that turned out not to run here."""
        return apply(self._base, self._ports, self._servers)

    def parts(self, build_models: ModelBuilder | None) -> list[Part]:
        """In the order of the state file: servers, steps, roles."""
        servers: dict[str, Callable[[], Part]] = {
            "postgres": self._postgres,
            "kafka": self._kafka,
            "triton": lambda: self._triton(build_models),
        }
        return [
            *([self._fork_part(self._fork_server)] if self._fork_server else []),
            *(servers[name]() for name in self._servers),
            *(self._step(name) for name in self._steps),
            *(self._role(name) for name in self._roles),
        ]

    def _make_fork_server(self, preload: Sequence[str]) -> ForkServer | None:
        if not preload or not (self._steps or self._roles) or sys.platform != "linux":
            return None
        return ForkServer(preload, self._folders.log / f"{FORK_SERVER}.log", environment(self._base, local=bool(self._servers)))

    def _fork_part(self, server: ForkServer) -> Part:
        return Part(FORK_SERVER, "server", server.launch, server.ready)

    def _port(self, name: str) -> int:
        return self._ports[name]["port"]

    def _postgres(self) -> Part:
        server = PostgresServer(self._folders.data, self._port("postgres"), self._folders.log / "postgres.log")
        return Part("postgres", "server", server.launch, server.ready, server.prepare, address=f"127.0.0.1:{server.port}")

    def _kafka(self) -> Part:
        server = KafkaServer(self._folders.data, self._port("kafka"), self._port("kafka-controller"), self._folders.log / "kafka.log")
        address = server.bootstrap_servers
        return Part("kafka", "server", server.launch, server.ready, server.prepare, settled=server.archive, address=address)

    def _triton(self, build_models: ModelBuilder | None) -> Part:
        ports = TritonPorts(self._port("triton"), self._port("triton-http"), self._port("triton-metrics"))
        otlp_endpoint = self._base.telemetry.otlp_endpoint
        server = TritonServer(self._folders.models, ports, self._folders.log / "triton.log", build_models, otlp_endpoint)

        def prepare(progress: Progress) -> None:
            try:
                server.prepare(progress)
            except Exception:
                self._servers.remove("triton")
                raise

        return Part("triton", "server", server.launch, server.ready, prepare, optional=True, address=server.url)

    def _step(self, name: str) -> Part:
        return Part(name, "step", lambda: self._launch(name, {}), needs=_STEP_NEEDS.get(name, frozenset()))

    def _role(self, name: str) -> Part:
        file = self._folders.heartbeat(name)

        def launch() -> Launch:
            file.unlink(missing_ok=True)  # the last run's beat is not a sign of life
            more = {heartbeat.VARIABLE: str(file), "READFIRST_TELEMETRY__PORT": str(self._port(telemetry_of(name)))}
            if "kafka" in self._servers:  # nobody else's: no other worker has this name
                more["READFIRST_KAFKA__GROUP_INSTANCE_ID"] = name
            return self._launch(name, more)

        def ready() -> bool:
            beat = heartbeat.read(file)
            return beat is not None and beat.age_s < heartbeat.STALE_AFTER_S

        needs = frozenset({FORK_SERVER, *SERVERS, *STEPS} - {"triton"})
        return Part(name, "role", launch, ready, needs=needs, needs_prepared=frozenset({"triton"}), address=self._address(name))

    def _launch(self, name: str, more: dict[str, str]) -> Launch:
        # A role may be killed at any moment without loss (DESIGN: nothing acknowledged is lost), so an orphan is killed at once.
        env = {**environment(self.settings(), local=bool(self._servers)), **more}
        return Launch(self._role_command(name), self._folders.log / f"{name}.log", env, orphan_signal=signal.SIGKILL)

    def _address(self, role: str) -> str | None:
        settings = self.settings()
        return {
            "gateway-dicom": f"{settings.gateways.host}:{settings.gateways.dicom_port} ({settings.gateways.ae_title})",
            "gateway-hl7": f"{settings.gateways.host}:{settings.gateways.mllp_port}",
            "gateway-http": f"http://{settings.gateways.host}:{settings.gateways.http_port}",
            "web": f"http://{settings.web.host}:{settings.web.port}",
        }.get(role)


def environment(settings: Settings, local: bool = True) -> dict[str, str]:
    """The variables by which a child process gets these settings; what the person set otherwise is passed on as it is."""
    ours = {
        "READFIRST_DATA": str(settings.data),
        "READFIRST_SITE_KEY": settings.site_key.get_secret_value() if settings.site_key else "",
        "READFIRST_GATEWAYS__DICOM_PORT": str(settings.gateways.dicom_port),
        "READFIRST_GATEWAYS__MLLP_PORT": str(settings.gateways.mllp_port),
        "READFIRST_GATEWAYS__HTTP_PORT": str(settings.gateways.http_port),
        "READFIRST_WEB__PORT": str(settings.web.port),
        "PYTHONUNBUFFERED": "1",
    }
    inherited = dict(os.environ)
    if local:
        _drop(inherited, "READFIRST_KAFKA__SASL_", "READFIRST_KAFKA__SSL_", "READFIRST_TRITON__URL")
        ours |= {
            "READFIRST_KAFKA__BOOTSTRAP_SERVERS": settings.kafka.bootstrap_servers,
            "READFIRST_KAFKA__SECURITY_PROTOCOL": "PLAINTEXT",
            "READFIRST_POSTGRES__DSN": settings.postgres.dsn.get_secret_value(),
            "READFIRST_TRITON": json.dumps({"url": settings.triton.url}),  # JSON, since only it can say null
        }
    return inherited | ours


def _drop(variables: dict[str, str], *prefixes: str) -> None:
    for name in [name for name in variables if name.startswith(prefixes)]:
        del variables[name]


__all__ = ["ROLES", "SERVERS", "STEPS", "RoleCommand", "Table", "environment"]
