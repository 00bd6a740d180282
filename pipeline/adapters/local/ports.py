"""Which part listens where: the usual port, or another free one that is remembered."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from itertools import chain
from urllib.parse import urlsplit

from pydantic import SecretStr

from pipeline.adapters.local.network import Reservations, candidates
from pipeline.errors import StackError
from pipeline.settings import Settings

TELEMETRY = 9470
"""The first of the usual telemetry ports, one a role."""
Ports = dict[str, dict[str, int]]  # name -> {"usual": the port of the settings, "port": the one in use}


@dataclass(frozen=True)
class Usual:
    """A port by its name in the state file."""

    host: str
    port: int
    movable: bool = False
    """May be another whatever peers expect: nobody is set up by hand to find it there."""


def usual(settings: Settings, servers: Collection[str], roles: Collection[str]) -> dict[str, Usual]:
    """The ports that these servers and roles need, as the settings have them."""
    local = "127.0.0.1"
    kafka, triton = _port(settings.kafka.bootstrap_servers, 9092), _port(settings.triton.url or "", 8001)
    table = {
        "kafka": {"kafka": Usual(local, kafka), "kafka-controller": Usual(local, kafka + 1)},
        "postgres": {"postgres": Usual(local, urlsplit(settings.postgres.dsn.get_secret_value()).port or 5432)},
        "triton": {name: Usual(local, triton + step) for name, step in {"triton": 0, "triton-http": -1, "triton-metrics": 1}.items()},
        "gateway-dicom": {"gateway-dicom": Usual(settings.gateways.host, settings.gateways.dicom_port)},
        "gateway-hl7": {"gateway-hl7": Usual(settings.gateways.host, settings.gateways.mllp_port)},
        "gateway-http": {"gateway-http": Usual(settings.gateways.host, settings.gateways.http_port)},
        "web": {"web": Usual(settings.web.host, settings.web.port)},
    }
    wanted = [name for name in table if name in servers or name in roles]
    telemetry = {telemetry_of(role): Usual(local, TELEMETRY + number, movable=True) for number, role in enumerate(sorted(roles))}
    return {name: port for part in wanted for name, port in table[part].items()} | telemetry


def telemetry_of(role: str) -> str:
    """The name of the port where a role serves its metrics and health."""
    return f"telemetry-{role}"


def targets(ports: Ports, roles: Collection[str]) -> list[dict[str, object]]:
    """The roles' telemetry ports as Prometheus's file-based service discovery reads them."""
    return [
        {"targets": [f"127.0.0.1:{ports[telemetry_of(role)]['port']}"], "labels": {"role": role, "stage": role.removeprefix("agent-")}}
        for role in roles
    ]


def choose(wanted: Mapping[str, Usual], remembered: Ports, reservations: Reservations, may_move: bool = True) -> Ports:
    """A free port for each: the remembered one if the settings have not changed since, else the usual one, else another.

    `may_move=False`: StackError if the usual one is taken, for peers that are set up to find it there.
    """
    chosen: Ports = {}
    for name, want in wanted.items():
        old = remembered.get(name, {})
        moves = may_move or want.movable
        last = [old["port"]] if moves and old.get("usual") == want.port else []
        tries = chain(last, [want.port], candidates() if moves else ())
        port = next((port for port in tries if reservations.take(port, want.host)), None)
        if port is None:
            raise StackError(
                f"port {want.port} on {want.host}, where {name} listens, is taken by another program",
                "end that program, or name another port in the settings (READFIRST_GATEWAYS__…_PORT, READFIRST_WEB__PORT)",
            )
        chosen[name] = {"usual": want.port, "port": port}
    # What is not started this time is remembered all the same.
    return {**remembered, **chosen}


def apply(settings: Settings, ports: Ports, servers: Collection[str]) -> Settings:
    """The settings with the chosen ports; `servers` are those that run here (Triton left out: none)."""
    port = {name: entry["port"] for name, entry in ports.items()}
    changes: dict[str, object] = {
        "gateways": settings.gateways.model_copy(
            update=_present(
                {"dicom_port": port.get("gateway-dicom"), "mllp_port": port.get("gateway-hl7"), "http_port": port.get("gateway-http")}
            )
        ),
        "web": settings.web.model_copy(update=_present({"port": port.get("web")})),
    }
    if "kafka" in servers:
        local = {"bootstrap_servers": f"127.0.0.1:{port.get('kafka', 9092)}", "security_protocol": "PLAINTEXT", "sasl_mechanism": None}
        changes["kafka"] = settings.kafka.model_copy(update=local)
    if "postgres" in servers:
        changes["postgres"] = settings.postgres.model_copy(update={"dsn": SecretStr(_dsn(settings, port.get("postgres", 5432)))})
    if servers:
        url = f"127.0.0.1:{port['triton']}" if "triton" in servers and "triton" in port else None
        changes["triton"] = settings.triton.model_copy(update={"url": url})
    return settings.model_copy(update=changes)


def _dsn(settings: Settings, port: int) -> str:
    file = settings.data / "postgres.password"
    password = f":{file.read_text().strip()}" if file.exists() else ""
    return f"postgresql://readfirst{password}@127.0.0.1:{port}/readfirst"


def _present(values: Mapping[str, int | None]) -> dict[str, int]:
    return {key: value for key, value in values.items() if value is not None}


def _port(address: str, default: int) -> int:
    text = address.split(",")[0].rpartition(":")[2]
    return int(text) if text.isdigit() else default
