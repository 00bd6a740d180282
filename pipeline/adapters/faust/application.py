"""A Faust application with the settings that were measured to lose nothing, and the check that one patient's topics sit together."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import faust
import faust.streams
import structlog
from faust.types import TP

from pipeline.adapters.faust.batches import fatal
from pipeline.adapters.faust.transport import BatchTransport
from pipeline.errors import StackError, Unavailable
from pipeline.settings import Kafka
from schemas.topics import Topic

log = structlog.get_logger()


class Application(faust.App):  # type: ignore[misc]
    """needs: what has to answer for the worker to be ready; its agent adds to it what it works with."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.needs: list[Callable[[], Awaitable[object]]] = []

    async def ready(self) -> None:
        """Raises Unavailable while the group is being rearranged, or something that the worker needs does not answer."""
        if self.rebalancing:
            raise Unavailable("the partitions are being given out anew")
        await asyncio.gather(*(need() for need in self.needs))

    async def _on_agent_error(self, agent: Any, error: BaseException) -> None:
        """Faust would start an agent that cannot be set up again and again, in a worker that calls itself well."""
        if not self.should_stop:
            with fatal():
                raise error


def application(name: str, kafka: Kafka, data: Path) -> Application:
    """An app whose consumer group is `name`. Raises StackError without faust's compiled streams: the others ack what they drop."""
    if getattr(faust.streams, "_CStreamIterator", None) is None:
        raise StackError("faust-streaming is installed without its compiled part", "install the faust-streaming wheel for this platform")
    data.mkdir(parents=True, exist_ok=True)  # Faust makes its folder, but not those above
    app = Application(
        name,
        broker=[f"kafka://{server.strip()}" for server in kafka.bootstrap_servers.split(",")],
        broker_credentials=_credentials(kafka),
        topic_partitions=kafka.partitions,
        topic_disable_leader=True,
        topic_allow_declare=False,
        consumer_auto_offset_reset="earliest",
        consumer_group_instance_id=kafka.group_instance_id,
        datadir=str(data),
        web_enabled=False,
        worker_redirect_stdouts=False,
        broker_session_timeout=6,
        broker_heartbeat_interval=2,
        broker_request_timeout=20,
        broker_max_poll_interval=60,
        broker_commit_interval=1.0,
        stream_wait_empty=False,
        # Counted in batches. Short, so that records wait in the fetcher and batches grow with the load by themselves.
        stream_buffer_maxsize=8,
    )
    app.transport = BatchTransport(app.conf.broker, app)
    return app


def source(app: faust.App, kafka: Kafka, topics: Sequence[Topic]) -> faust.types.TopicT:
    """The raw records of several topics as one channel; decoding is the stage's business, with dead letters of our own."""
    return app.topic(
        *(kafka.topic_prefix + topic.name for topic in topics),
        key_type=bytes,
        value_type=None,
        key_serializer="raw",
        value_serializer="raw",
    )


def together(assigned: set[TP], topics: Sequence[str]) -> bool:
    """Whether the same partition numbers of all topics are on this worker, as windows in memory need."""
    numbers = [{tp.partition for tp in assigned if tp.topic == topic} for topic in topics]
    return all(each == numbers[0] for each in numbers)


def _credentials(kafka: Kafka) -> Any:
    if kafka.security_protocol == "PLAINTEXT":
        return None
    context = None
    if "SSL" in kafka.security_protocol:
        context = ssl.create_default_context(cafile=str(kafka.ssl_ca_location) if kafka.ssl_ca_location else None)
        if kafka.ssl_certificate_location:
            context.load_cert_chain(str(kafka.ssl_certificate_location), str(kafka.ssl_key_location) if kafka.ssl_key_location else None)
    if kafka.security_protocol == "SSL":
        return faust.SSLCredentials(context)
    return faust.SASLCredentials(
        username=kafka.sasl_username,
        password=kafka.sasl_password.get_secret_value() if kafka.sasl_password else None,
        mechanism=kafka.sasl_mechanism or "PLAIN",
        ssl_context=context,
    )
