"""Kafka behind TLS with client certificates and SASL: gateways' and agents' clients get in by the settings, and nobody else does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient, ScramCredentialInfo, ScramMechanism, UserScramCredentialUpsertion

from pipeline.adapters.kafka import topics
from pipeline.adapters.kafka.log import KafkaEventLog
from pipeline.adapters.local.kafka import KafkaServer
from pipeline.adapters.local.network import reserved
from pipeline.errors import Unavailable
from pipeline.ports import Record
from pipeline.settings import Kafka
from schemas.topics import LABS
from tests.certificates import self_signed
from tests.integration.test_faust_batches import Bench
from tests.stack_fixtures import running

USER, PASSWORD = "readfirst", "correct-horse"
_LISTENERS = """
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller},SECURE://127.0.0.1:{secure}
advertised.listeners=PLAINTEXT://127.0.0.1:{port},SECURE://127.0.0.1:{secure}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SECURE:SASL_SSL
listener.name.secure.ssl.client.auth=required
ssl.keystore.type=PEM
ssl.keystore.location={keystore}
ssl.truststore.type=PEM
ssl.truststore.location={certificate}
listener.name.secure.sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-512
listener.name.secure.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_{user}="{password}";
listener.name.secure.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
"""


class SecureKafka(KafkaServer):
    """The local stack's broker with one listener more, as a hospital's is set up."""

    def __init__(self, folder: Path, port: int, controller_port: int, secure_port: int) -> None:
        super().__init__(folder, port, controller_port, folder / "kafka.log")
        self.certificate, self.key = self_signed(folder)
        self.secure_port = secure_port
        self._ports = {"port": port, "controller": controller_port, "secure": secure_port}

    def prepare(self, progress: Callable[[str, str], None]) -> None:
        """The later of two lines with one name counts."""
        super().prepare(progress)
        keystore = self.certificate.with_name("keystore.pem")
        keystore.write_text(self.key.read_text() + self.certificate.read_text())
        lines = _LISTENERS.format(keystore=keystore, certificate=self.certificate, user=USER, password=PASSWORD, **self._ports)
        with self._settings.open("a") as settings:
            settings.write(lines)


@dataclass(frozen=True)
class Hospital:
    """A secured broker and what a client must know of it."""

    server: SecureKafka

    def security(self, mechanism: str = "SCRAM-SHA-512", password: str = PASSWORD) -> dict[str, str]:
        """The settings beside address and prefix."""
        return {
            "security_protocol": "SASL_SSL",
            "sasl_mechanism": mechanism,
            "sasl_username": USER,
            "sasl_password": password,
            "ssl_ca_location": str(self.server.certificate),
            "ssl_certificate_location": str(self.server.certificate),
            "ssl_key_location": str(self.server.key),
        }

    def kafka(self, prefix: str, **security: str) -> Kafka:
        """The settings of a role."""
        return Kafka.model_validate({"bootstrap_servers": f"127.0.0.1:{self.server.secure_port}", "topic_prefix": prefix, **security})


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hospital]:
    """With one user, known by both mechanisms."""
    with reserved(3) as ports, running(server := SecureKafka(tmp_path_factory.mktemp("secure"), *ports)):
        user = UserScramCredentialUpsertion(USER, ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096), PASSWORD.encode())
        admin = AdminClient({"bootstrap.servers": server.bootstrap_servers})
        admin.alter_user_scram_credentials([user])[USER].result(120)
        yield Hospital(server)


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-512"])
async def test_what_a_gateway_needs_of_kafka_works_behind_tls_and_sasl(hospital: Hospital, mechanism: str) -> None:
    """Topics are made, records acknowledged, and lag read."""
    kafka = hospital.kafka(f"{mechanism}.", **hospital.security(mechanism))
    topics.create(kafka)
    log = KafkaEventLog(kafka)
    await log.append([Record(LABS, b"one patient", b"{}")])
    await log.close()
    (found,) = topics.lag(kafka, [("nobody", LABS)], 60.0)
    assert found.end == 1


async def test_a_worker_reads_behind_tls_and_sasl(hospital: Hospital, migrated: Callable[[], str], tmp_path: Path) -> None:
    """Faust's own client has another configuration than librdkafka: it is made from the same settings."""
    bench = Bench(hospital.server.bootstrap_servers, migrated(), tmp_path)
    await bench.send(3)
    secure = f"127.0.0.1:{hospital.server.secure_port}"
    with bench.worker(bootstrap_servers=secure, security=hospital.security()) as worker:
        await worker.until(lambda: worker.fresh() == [0, 1, 2])


@pytest.mark.parametrize(
    ("lacks", "instead"),
    [
        pytest.param(["sasl_password"], {"sasl_password": "guess"}, id="password"),
        pytest.param(["ssl_certificate_location", "ssl_key_location"], {}, id="certificate"),
        pytest.param(["ssl_ca_location"], {}, id="trust"),
    ],
)
def test_who_lacks_one_of_the_three_stays_outside(hospital: Hospital, lacks: list[str], instead: dict[str, str]) -> None:
    """A wrong password, no certificate of its own, or no trust in the broker's: Unavailable, in time."""
    security = {name: value for name, value in hospital.security().items() if name not in lacks} | instead
    with pytest.raises(Unavailable):
        topics.check(hospital.kafka("outside.", **security), 2.0)
