"""The compose file runs the same roles as the local stack. There is no Docker in the tests: its structure is what is checked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.adapters.local.kafka_jars import KAFKA_VERSION
from pipeline.adapters.local.postgres import MAJOR
from pipeline.adapters.local.table import ROLES, SERVERS, STEPS
from pipeline.settings import Settings

_INFRA = Path(__file__).resolve().parents[3] / "infra"
_ONCE = {*STEPS, "models"}


class _ComposeLoader(yaml.SafeLoader):
    """YAML with Compose's own tag `!reset`, which takes a value of the file below away."""


_ComposeLoader.add_constructor("!reset", lambda loader, node: None)


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    return dict(yaml.safe_load((_INFRA / "compose.yaml").read_text())["services"])


def test_every_part_of_the_local_stack_is_a_service(services: dict[str, Any]) -> None:
    """Servers, steps and roles are those of the supervisor's table, and the model repository's builder."""
    assert set(services) == {*SERVERS, *ROLES, *_ONCE}


@pytest.mark.parametrize("name", [*ROLES, *STEPS])
def test_each_runs_its_own_role(services: dict[str, Any], name: str) -> None:
    """A service runs the role it is named after, in the product's image."""
    assert (services[name]["image"], services[name]["command"]) == ("readfirst", ["run", name])


@pytest.mark.parametrize("name", [*SERVERS, *ROLES])
def test_what_stays_up_has_a_health_check(services: dict[str, Any], name: str) -> None:
    """Servers and roles are checked and come back after a crash."""
    assert services[name]["healthcheck"]["test"]
    assert services[name]["restart"] == "unless-stopped"


def test_roles_wait_for_the_steps_and_steps_for_their_server(services: dict[str, Any]) -> None:
    """No role meets a database without tables or a broker without topics."""
    for role in ROLES:
        assert {name: wait["condition"] for name, wait in services[role]["depends_on"].items()} == dict.fromkeys(
            STEPS, "service_completed_successfully"
        )
    assert services["migrate"]["depends_on"] == {"postgres": {"condition": "service_healthy"}}
    assert services["topics"]["depends_on"] == {"kafka": {"condition": "service_healthy"}}


def test_ports_are_published_on_loopback_only(services: dict[str, Any]) -> None:
    """What the roles listen on by default is published, and nothing is reachable from other machines."""
    published = [port for service in services.values() for port in service.get("ports", [])]
    settings = Settings(site_key=None)
    usual = {settings.gateways.dicom_port, settings.gateways.mllp_port, settings.gateways.http_port, settings.web.port}
    assert {port.split(":")[0] for port in published} == {"127.0.0.1"}
    assert {int(port.split(":")[2]) for port in published} == usual


def test_the_settings_named_are_settings(services: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Every READFIRST_ variable of the file is understood by Settings: the values arrive."""
    for name, value in services["web"]["environment"].items():
        monkeypatch.setenv(name, value)
    settings = Settings()
    assert settings.kafka.bootstrap_servers == "kafka:9092"
    assert settings.triton.url == "triton:8001"
    assert settings.web.host == settings.gateways.host == settings.telemetry.host == "0.0.0.0"
    assert settings.telemetry.port == 9464
    assert "@postgres:5432/readfirst" in settings.postgres.dsn.get_secret_value()
    assert len([name for name in services["web"]["environment"] if name.startswith("READFIRST_")]) == 11


def test_the_folder_of_models_is_where_the_settings_say(services: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """The step `models`, and a promotion as a run of it, write what Triton serves; every role and Triton read it."""
    for name, value in services["models"]["environment"].items():
        monkeypatch.setenv(name, value)
    settings = Settings()
    assert (services["models"]["image"], services["models"].get("entrypoint")) == ("readfirst", None)
    assert services["models"]["volumes"] == ["models:/models"]
    assert all("models:/models:ro" in services[name]["volumes"] for name in (*ROLES, "triton"))
    assert f"--model-repository={settings.triton.repository}" in services["triton"]["command"]
    assert settings.triton.control == settings.triton.url
    assert settings.triton.repository is not None
    assert {settings.triton.repository.parent, settings.models_dir.parent} == {Path("/models")}


def test_the_same_servers_as_the_local_stack(services: dict[str, Any]) -> None:
    """Kafka and Postgres have the versions that the tests run against."""
    assert services["kafka"]["image"] == f"apache/kafka:{KAFKA_VERSION}"
    assert services["postgres"]["image"] == f"postgres:{MAJOR}"


def test_the_image_copies_every_package() -> None:
    """The image holds all four packages, runs unprivileged, and its health check reads the heartbeat it sets."""
    text = (_INFRA / "containers" / "Dockerfile").read_text()
    assert all(f"COPY {package} {package}" in text for package in ("schemas", "pipeline", "agents", "migrations"))
    assert "USER readfirst" in text
    assert text.count("/tmp/role.ready") == 2


def test_each_triton_gets_the_repository_it_can_serve(services: dict[str, Any]) -> None:
    """Without a GPU the python backend's repository and an image that has onnxruntime; with one, the official image as it is."""
    gpu = yaml.load((_INFRA / "compose.gpu.yaml").read_text(), _ComposeLoader)["services"]
    assert services["models"]["command"] == ["run", "models"]
    assert Settings().triton.flavour == "cpu"
    assert "onnxruntime==" in (_INFRA / "triton" / "requirements.txt").read_text()
    assert services["triton"]["build"]["context"] == "triton"
    assert gpu["models"]["environment"] == {"READFIRST_TRITON__FLAVOUR": "gpu"}
    assert "nvcr.io/nvidia/tritonserver" in gpu["triton"]["image"]
    assert gpu["triton"]["build"] is None
    assert gpu["triton"]["deploy"]["resources"]["reservations"]["devices"][0]["capabilities"] == ["gpu"]
