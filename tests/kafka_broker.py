"""A real broker of Kafka in tests: one node, on the loopback address, with and without a password."""

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, NewPartitions, NewTopic

from beam_etl.engines.flink import jars, processes

POM = Path(__file__).parent / "kafka/pom.xml"
HOST = "127.0.0.1"
USER, PASSWORD = "reader", "correct-horse"
READY_SECONDS = 60
"""Twenty times what it takes on an idle machine."""

JAVA = ("-Xmx256m", "-Xms128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
CLUSTER_ID = "MkU3OEVBNTcwNTJENDM2Qg"

PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{host}:{controller}
listeners=PLAINTEXT://{host}:{plain},SASL_PLAINTEXT://{host}:{sasl},CONTROLLER://{host}:{controller}
advertised.listeners=PLAINTEXT://{host}:{plain},SASL_PLAINTEXT://{host}:{sasl}
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
sasl.enabled.mechanisms=PLAIN
listener.name.sasl_plaintext.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required \
user_{user}="{password}";
log.dirs={data}
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.num.partitions=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
auto.create.topics.enable=false
# Test data have old times.
log.retention.ms=-1
"""


@dataclass
class Broker:
    """A broker that can be stopped and started again, with what it has."""

    folder: Path
    plain: int
    """Port of whoever asks."""
    sasl: int
    """Port of USER with PASSWORD."""
    controller: int
    _process: "subprocess.Popen[bytes] | None" = field(default=None, repr=False)

    @property
    def address(self) -> str:
        """Without a password."""
        return f"{HOST}:{self.plain}"

    @property
    def secured(self) -> str:
        """With one."""
        return f"{HOST}:{self.sasl}"

    @property
    def admin(self) -> Any:
        return AdminClient(
            {"bootstrap.servers": self.address, "reconnect.backoff.max.ms": 100, "log_level": 0}
        )

    def start(self) -> None:
        """Returns when it answers."""
        java = jars.find_java()
        libraries = os.path.join(jars.fetch(java, POM, "Kafka", print), "*")
        properties, data = self.folder / "server.properties", self.folder / "data"
        told = {"host": HOST, "plain": self.plain, "sasl": self.sasl, "controller": self.controller}
        properties.write_text(PROPERTIES.format(**told, data=data, user=USER, password=PASSWORD))
        command = [
            java.tool("java"),
            *JAVA,
            "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
            "-cp",
            libraries,
        ]
        with (self.folder / "log").open("ab") as log:
            if not data.exists():
                made = [
                    *command,
                    "kafka.tools.StorageTool",
                    "format",
                    "-t",
                    CLUSTER_ID,
                    "-c",
                    str(properties),
                ]
                subprocess.run(made, check=True, stdout=log, stderr=log)
            served = [*command, "kafka.Kafka", str(properties)]
            self._process = subprocess.Popen(served, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self._until(lambda: bool(self.admin.list_topics(timeout=1)))

    def stop(self) -> None:
        """Ends it; what it has stays."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def create(self, topic: str, partitions: int) -> None:
        admin = self.admin  # which ends what it was asked when nobody holds it
        admin.create_topics([NewTopic(topic, partitions, 1)])[topic].result(20)

    def add_partitions(self, topic: str, total: int) -> None:
        admin = self.admin
        admin.create_partitions([NewPartitions(topic, total)])[topic].result(20)

    def _until(self, ask: Callable[[], bool]) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while True:
            assert self._process is not None
            assert self._process.poll() is None, (self.folder / "log").read_text(errors="replace")[-3000:]
            try:
                if ask():
                    return
            except KafkaException:
                assert time.monotonic() < deadline, "the broker doesn't answer"


@contextmanager
def broker(folder: Path) -> Iterator[Broker]:
    """A broker whose files are in `folder`, ended in the end.

    Raises:
      SetupError: there is no Java or no Maven for it.
    """
    made = Broker(folder, *processes.free_ports(3))
    try:
        made.start()
        yield made
    finally:
        made.stop()
