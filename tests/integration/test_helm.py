"""The Helm chart: linted and rendered by helm, each object checked against Kubernetes' own schemas, the roles those of the local stack."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml
from pydantic import BaseModel

from pipeline.adapters.local.table import ROLES, STEPS
from pipeline.adapters.telemetry.catalogue import CATALOGUE, Label, Name
from pipeline.domain.stages import STAGES
from pipeline.settings import Settings
from tests.integration import operator_kinds

CHART = Path(__file__).resolve().parents[2] / "infra" / "helm" / "readfirst"
RULES = CHART.parents[1] / "prometheus" / "rules.yaml"
KUBERNETES = "1.33"
EVERYTHING: dict[str, Any] = {
    "site": "version: 1\n",
    "kafka": {"caSecret": "kafka-ca"},
    "triton": {"flavour": "gpu"},
    "web": {"ingress": {"enabled": True, "tlsSecret": "tls", "className": "nginx"}},
    "keda": {"enabled": True, "maxReplicas": 20},
    "networkPolicy": {"senders": ["10.1.0.0/16"], "readers": ["10.2.0.0/16"]},
    "podMonitor": {"enabled": True, "rules": RULES.read_text()},
}
LITTLE: dict[str, Any] = {
    "triton": {"enabled": False},
    "kafka": {"saslMechanism": "", "securityProtocol": "PLAINTEXT"},
    "networkPolicy": {"enabled": False},
    "objects": {"existingClaim": "images"},
    "models": {"existingClaim": "models"},
}
PROMOTION: dict[str, Any] = {
    "promotion": {"arguments": ["promote", "/candidates/3", "--data", "/candidates/data", "--by", "kim"], "claim": "candidates"}
}


@pytest.fixture(scope="module")
def helm() -> str:
    """The program; `.ci/helm FOLDER` fetches it."""
    found = shutil.which("helm")
    if found is None:
        assert "CI" not in os.environ, "CI must have helm"
        pytest.skip("helm is not installed")
    return found


def render(helm: str, folder: Path, values: dict[str, Any]) -> list[dict[str, Any]]:
    """Every object of an installation with these values."""
    (folder / "values.yaml").write_text(yaml.safe_dump(values))
    command = [helm, "template", "rf", str(CHART), "--values", str(folder / "values.yaml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [document for document in yaml.safe_load_all(done.stdout) if document]


def of_kind(objects: list[dict[str, Any]], kind: str) -> dict[str, dict[str, Any]]:
    """Those objects, by name without the release's."""
    return {each["metadata"]["name"].removeprefix("rf-"): each for each in objects if each["kind"] == kind and "name" in each["metadata"]}


def test_the_chart_is_clean(helm: str) -> None:
    """helm's own linter has nothing to say."""
    done = subprocess.run([helm, "lint", "--strict", str(CHART)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    "values",
    [{}, EVERYTHING, LITTLE, PROMOTION, {**LITTLE, **PROMOTION}],
    ids=["default", "everything", "little", "promotion", "in-process"],
)
def test_kubernetes_would_take_it(helm: str, tmp_path: Path, values: dict[str, Any]) -> None:
    """Each object fits its kind's schema, strictly: no unknown field either. KEDA's kinds and the Prometheus operator's too."""
    for document in render(helm, tmp_path, values):
        if document["apiVersion"].split("/")[0] in ("keda.sh", "monitoring.coreos.com"):
            operator_kinds.validate(document)
        else:
            kubernetes_validate.validate(document, KUBERNETES, strict=True)


def test_a_field_that_an_operator_does_not_know_is_seen(helm: str, tmp_path: Path) -> None:
    """The schemas are strict at every depth that the chart reaches."""
    objects = render(helm, tmp_path, EVERYTHING)
    scaled = next(iter(of_kind(objects, "ScaledObject").values()))
    scaled["spec"]["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]["scaleDown"]["window"] = 1
    (monitor,) = of_kind(objects, "PodMonitor").values()
    monitor["spec"]["podMetricsEndpoints"][0]["relabelings"][0]["target_label"] = "role"
    (rules,) = of_kind(objects, "PrometheusRule").values()
    rules["spec"]["groups"][0]["rules"][0]["for"] = "soon"
    for wrong in (scaled, monitor, rules):
        with pytest.raises(jsonschema.ValidationError):
            operator_kinds.validate(wrong)


def test_one_deployment_for_each_role(helm: str, tmp_path: Path) -> None:
    """The roles are the supervisor's, each run by its name in the product's image, with probes, limits and a disruption budget."""
    objects = render(helm, tmp_path, EVERYTHING)
    deployments, budgets = of_kind(objects, "Deployment"), of_kind(objects, "PodDisruptionBudget")

    assert set(deployments) == set(budgets) == {*ROLES, "triton"}
    assert set(of_kind(objects, "Job")) == set(STEPS)
    for role in ROLES:
        (container,) = deployments[role]["spec"]["template"]["spec"]["containers"]
        assert container["args"] == ["run", role]
        assert {"livenessProbe", "readinessProbe", "startupProbe"} <= set(container)
        assert container["resources"]["limits"]["memory"]


def test_workers_never_outnumber_partitions(helm: str, tmp_path: Path) -> None:
    """KEDA scales the agents that a load can put behind and no other role, to the number of partitions at most."""
    scaled = of_kind(render(helm, tmp_path, EVERYTHING), "ScaledObject")

    assert {name: each["spec"]["maxReplicaCount"] for name, each in scaled.items()} == dict.fromkeys(scaled, 8)
    assert set(scaled) == {"agent-context", "agent-pictures", "agent-scoring", "agent-ranking"}


def test_workers_are_scaled_on_their_own_stages_time_lag(helm: str, tmp_path: Path) -> None:
    """On the age of what waits, not on how much: the metric of the catalogue, with the name of a stage that has it."""
    stages = {f"agent-{stage.name}": stage.name for stage in STAGES}
    metric: Name = "readfirst_lag_seconds"
    label: Label = "stage"
    for name, each in of_kind(render(helm, tmp_path, EVERYTHING), "ScaledObject").items():
        (trigger,) = each["spec"]["triggers"]
        assert trigger["metadata"]["query"] == f'max({metric}{{{label}="{stages[name]}"}})'
    assert label in CATALOGUE[metric].labels


def test_the_alert_rules_come_along(helm: str, tmp_path: Path) -> None:
    """As they are shipped: the operator takes the file's groups."""
    (rules,) = of_kind(render(helm, tmp_path, EVERYTHING), "PrometheusRule").values()

    assert rules["spec"] == yaml.safe_load(RULES.read_text())
    assert of_kind(render(helm, tmp_path, {"podMonitor": {"enabled": True}}), "PrometheusRule") == {}


def test_what_the_rules_ask_for_is_what_the_pods_monitor_sets(helm: str, tmp_path: Path) -> None:
    """In a cluster too: `up{job="readfirst"}`, and the role and stage of each pod as compose and the local stack name them."""
    (monitor,) = of_kind(render(helm, tmp_path, EVERYTHING), "PodMonitor").values()
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    targets = json.loads((CHART.parents[1] / "prometheus" / "targets" / "compose.json").read_text())

    assert endpoint["honorLabels"] is True
    assert {"targetLabel": "job", "replacement": "readfirst"} in endpoint["relabelings"]
    for labels in (target["labels"] for target in targets):
        for name in ("role", "stage"):
            (rule,) = [rule for rule in endpoint["relabelings"] if rule["targetLabel"] == name]
            found = re.fullmatch(rule.get("regex", "(.*)"), labels["role"])
            assert found is not None and found[1] == labels[name]


def test_triton_is_open_to_those_who_ask_models_and_every_role_is_closed_to_the_rest(helm: str, tmp_path: Path) -> None:
    """Scoring, pictures and promotions; a role without a port of its own is open to Prometheus alone."""
    policies = of_kind(render(helm, tmp_path, EVERYTHING), "NetworkPolicy")
    asking, watching = policies["triton"]["spec"]["ingress"]

    assert set(policies) == {*ROLES, "triton"}
    assert [from_["podSelector"]["matchLabels"]["app.kubernetes.io/component"] for from_ in asking["from"]] == [
        "agent-scoring",
        "agent-pictures",
        "promotion",
    ]
    assert (asking["ports"], watching["ports"]) == ([{"port": "grpc"}], [{"port": "metrics"}])
    for role, policy in policies.items():
        if role.startswith("agent-"):
            assert [rule["ports"] for rule in policy["spec"]["ingress"]] == [[{"port": "metrics"}]]


@pytest.mark.parametrize("claim", ["", "ours"])
def test_a_promotion_reaches_what_triton_and_the_agents_read(helm: str, tmp_path: Path, claim: str) -> None:
    """One claim, written by the promotion and by Triton's first container, read by the others; each Triton has an address of its own."""
    objects = render(helm, tmp_path, {**PROMOTION, "models": {"existingClaim": claim}})
    (job,) = [each for each in objects if each["kind"] == "Job" and "generateName" in each["metadata"]]
    deployments = of_kind(objects, "Deployment")
    pods = {name: deployments[name]["spec"]["template"]["spec"] for name in ("triton", "agent-scoring", "agent-pictures", "agent-ranking")}
    pods["promotion"] = job["spec"]["template"]["spec"]
    (made,) = pods["triton"]["initContainers"]
    settings = of_kind(objects, "ConfigMap")["settings"]["data"]

    for pod in pods.values():
        assert {"name": "models", "persistentVolumeClaim": {"claimName": claim or "rf-models"}} in pod["volumes"]
    assert ("models" in of_kind(objects, "PersistentVolumeClaim")) == (not claim)
    writers = {name for name, pod in pods.items() for each in pod["containers"] if "readOnly" not in _mounted(each, "/models")}
    assert (writers, "readOnly" in _mounted(made, "/models"), made["args"]) == ({"promotion"}, False, ["run", "models"])
    assert job["spec"]["template"]["spec"]["containers"][0]["args"] == PROMOTION["promotion"]["arguments"]
    assert f"--model-repository={settings['READFIRST_TRITON__REPOSITORY']}" in pods["triton"]["containers"][0]["args"]
    (each,) = [each for each in objects if each["kind"] == "Service" and each["spec"].get("clusterIP") == "None"]
    assert settings["READFIRST_TRITON__CONTROL"] == f"{each['metadata']['name']}:8001"
    assert each["spec"]["publishNotReadyAddresses"], "one that starts may have read what was there before"


def test_every_pod_finds_what_its_settings_name(helm: str, tmp_path: Path) -> None:
    """Kafka's authority lies where the setting says, in each pod that speaks to Kafka: `shadow` and `drift` do in a promotion's."""
    objects = render(helm, tmp_path, {**EVERYTHING, **PROMOTION})
    place = of_kind(objects, "ConfigMap")["settings"]["data"]["READFIRST_KAFKA__SSL_CA_LOCATION"]
    pods = [each["spec"]["template"]["spec"] for each in objects if each["kind"] in ("Deployment", "Job")]
    product = [container for pod in pods for container in pod["containers"] if container["image"].startswith("readfirst:")]

    assert len(product) == len(ROLES) + len(STEPS) + 1
    assert all(_mounted(container, str(Path(place).parent))["name"] == "kafka-ca" for container in product)


def _mounted(container: dict[str, Any], place: str) -> dict[str, Any]:
    (found,) = [mount for mount in container["volumeMounts"] if mount["mountPath"] == place]
    return dict(found)


@pytest.mark.parametrize("values", [{}, EVERYTHING, LITTLE], ids=["default", "everything", "little"])
def test_the_roles_understand_their_settings(helm: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, values: dict[str, Any]) -> None:
    """Each name is a setting, and each value one that it may have; without Triton the model is asked in-process."""
    settings = of_kind(render(helm, tmp_path, values), "ConfigMap")["settings"]["data"]
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    found = Settings()

    assert all(_known(Settings, name.removeprefix("READFIRST_").lower().split("__")) for name in settings)
    assert (found.triton.url is None) == (not values.get("triton", {}).get("enabled", True))
    assert found.models_dir == Path("/models/versions")


def _known(model: type[BaseModel], path: list[str]) -> bool:
    """pydantic-settings refuses an unknown field of a section, and passes over an unknown variable."""
    field = model.model_fields.get(path[0])
    inner = field.annotation if field is not None else None
    return field is not None and (len(path) == 1 or (isinstance(inner, type) and issubclass(inner, BaseModel) and _known(inner, path[1:])))


def test_secrets_come_from_the_secret_alone(helm: str, tmp_path: Path) -> None:
    """No config map names a key, a password or a DSN."""
    for settings in of_kind(render(helm, tmp_path, EVERYTHING), "ConfigMap").values():
        assert not [name for name in settings["data"] if any(word in name for word in ("KEY", "PASSWORD", "DSN", "USERNAME"))]


@pytest.mark.parametrize(
    "wrong", [{"kafka": {"partitions": 0}}, {"triton": {"flavour": "tpu"}}, {"roles": {"web": {"replica": 2}}}, {"web": {"hosts": []}}]
)
def test_wrong_values_are_refused(helm: str, tmp_path: Path, wrong: dict[str, Any]) -> None:
    """A mistake in a value stops the installation, not a pod."""
    (tmp_path / "values.yaml").write_text(yaml.safe_dump(wrong))
    command = [helm, "template", "rf", str(CHART), "--values", str(tmp_path / "values.yaml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode != 0
    assert "schema" in done.stderr
