"""The kinds of KEDA and of the Prometheus operator that the chart renders, of them the objects that it uses: strictly, no unknown field.

Written by hand after their custom resource definitions: KEDA 2.18 (`keda.sh_scaledobjects.yaml`), Prometheus operator 0.80 (PodMonitor,
PrometheusRule).
"""

from __future__ import annotations

from typing import Any

import jsonschema

Schema = dict[str, Any]

TEXT, WHOLE, FLAG = {"type": "string"}, {"type": "integer"}, {"type": "boolean"}
TEXTS: Schema = {"type": "object", "additionalProperties": TEXT}
DURATION: Schema = {
    "type": "string",
    "pattern": "^(0|(([0-9]+)y)?(([0-9]+)w)?(([0-9]+)d)?(([0-9]+)h)?(([0-9]+)m)?(([0-9]+)s)?(([0-9]+)ms)?)$",
}


def _object(required: str = "", **properties: Schema) -> Schema:
    """required: names, with spaces between."""
    return {"type": "object", "required": required.split(), "additionalProperties": False, "properties": properties}


def _list(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def _document(version: str, kind: str, spec: Schema) -> Schema:
    fixed = {"apiVersion": {"const": version}, "kind": {"const": kind}}
    metadata = _object("name", name=TEXT, labels=TEXTS, annotations=TEXTS)
    return _object("apiVersion kind metadata spec", **fixed, metadata=metadata, spec=spec)


_SCALING = _object(
    policies=_list(_object("periodSeconds type value", periodSeconds=WHOLE, type=TEXT, value=WHOLE)),
    selectPolicy=TEXT,
    stabilizationWindowSeconds={"type": "integer", "minimum": 0, "maximum": 3600},
)
SCALED_OBJECT = _object(
    "scaleTargetRef triggers",
    scaleTargetRef=_object("name", apiVersion=TEXT, kind=TEXT, name=TEXT, envSourceContainerName=TEXT),
    minReplicaCount=WHOLE,
    maxReplicaCount=WHOLE,
    idleReplicaCount=WHOLE,
    pollingInterval=WHOLE,
    cooldownPeriod=WHOLE,
    initialCooldownPeriod=WHOLE,
    advanced=_object(
        restoreToOriginalReplicaCount=FLAG,
        horizontalPodAutoscalerConfig=_object(name=TEXT, behavior=_object(scaleDown=_SCALING, scaleUp=_SCALING)),
    ),
    triggers=_list(
        _object(
            "type metadata",
            type=TEXT,
            name=TEXT,
            metadata=TEXTS,
            metricType={"enum": ["AverageValue", "Value", "Utilization"]},
            useCachedMetrics=FLAG,
        )
    ),
)
RELABELING = _object(
    action={"enum": ["replace", "keep", "drop", "hashmod", "labelmap", "labeldrop", "labelkeep", "lowercase", "uppercase"]},
    modulus=WHOLE,
    regex=TEXT,
    replacement=TEXT,
    separator=TEXT,
    sourceLabels=_list({"type": "string", "pattern": "^[a-zA-Z_][a-zA-Z0-9_]*$"}),
    targetLabel=TEXT,
)
POD_MONITOR = _object(
    "selector podMetricsEndpoints",
    selector=_object(matchLabels=TEXTS),
    podMetricsEndpoints=_list(
        _object(
            port=TEXT,
            path=TEXT,
            scheme={"enum": ["http", "https"]},
            interval=DURATION,
            scrapeTimeout=DURATION,
            honorLabels=FLAG,
            honorTimestamps=FLAG,
            relabelings=_list(RELABELING),
            metricRelabelings=_list(RELABELING),
        )
    ),
)
RULE = _object(
    "expr",
    alert=TEXT,
    record=TEXT,
    expr={"type": ["string", "integer"]},
    labels=TEXTS,
    annotations=TEXTS,
    **{"for": DURATION, "keep_firing_for": DURATION},
)
PROMETHEUS_RULE = _object(groups=_list(_object("name", name={"type": "string", "minLength": 1}, interval=DURATION, rules=_list(RULE))))

KINDS = {
    "ScaledObject": _document("keda.sh/v1alpha1", "ScaledObject", SCALED_OBJECT),
    "PodMonitor": _document("monitoring.coreos.com/v1", "PodMonitor", POD_MONITOR),
    "PrometheusRule": _document("monitoring.coreos.com/v1", "PrometheusRule", PROMETHEUS_RULE),
}


def validate(document: Schema) -> None:
    """Raises jsonschema.ValidationError; KeyError for a kind that is not among these."""
    jsonschema.validate(document, KINDS[document["kind"]])
