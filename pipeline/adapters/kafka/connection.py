"""librdkafka's configuration out of ours."""

from __future__ import annotations

from typing import Any

from confluent_kafka import KafkaError

from pipeline.settings import Kafka

LEADER_IS_SOUGHT = frozenset(
    {
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.UNKNOWN_LEADER_EPOCH,
        KafkaError.FENCED_LEADER_EPOCH,
    }
)
"""What is answered of a partition that is new, or has just got another leader, until all know it; under load for seconds."""


def client_config(kafka: Kafka) -> dict[str, Any]:
    """What producers, consumers and the admin client share."""
    config: dict[str, Any] = {
        "bootstrap.servers": kafka.bootstrap_servers,
        "security.protocol": kafka.security_protocol,
        "sasl.mechanism": kafka.sasl_mechanism,
        "sasl.username": kafka.sasl_username,
        "sasl.password": kafka.sasl_password.get_secret_value() if kafka.sasl_password else None,
        "ssl.ca.location": kafka.ssl_ca_location,
        "ssl.certificate.location": kafka.ssl_certificate_location,
        "ssl.key.location": kafka.ssl_key_location,
    }
    return {name: value if isinstance(value, int) else str(value) for name, value in config.items() if value is not None}
