"""A Kafka client as the source uses it: its settings, which may hold secrets, and what it says of a topic."""

import logging
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from beam_etl.io.access import open_file
from beam_etl.io.errors import InputError

OWN = {
    "bootstrap.servers": "it is in --input=kafka://HOST:PORT/TOPIC",
    "enable.auto.commit": "offsets are in the engine's checkpoint",
    "enable.auto.offset.store": "offsets are in the engine's checkpoint",
    "enable.partition.eof": "a partition's end tells that it is idle",
    "auto.offset.reset": "an offset that is gone is told as a reject; --kafka_start says where a stream begins",
}
"""Settings that are the source's, and why."""

SETTINGS: Mapping[str, Any] = {
    "group.id": "beam_etl",  # a consumer has to have one; nothing is committed for it
    "fetch.wait.max.ms": 100,
    "queued.max.messages.kbytes": 16_384,  # prefetched: what a poll may hold
    "log_level": 3,
}
"""What a file of settings may change."""

SECRET = re.compile(
    r"password|secret|\.key|\.pem|token|jaas|oauth|credential|userinfo|username", re.IGNORECASE
)
"""In the names of settings whose values nobody is shown."""

SECONDS = 10.0
"""Until a broker has to answer."""


@dataclass(frozen=True)
class Topic:
    """A topic, and how its brokers are reached.

    Args:
      brokers: HOST:PORT, comma-separated.
      name: of the topic.
      settings: file of the client's settings, `name=value` a line, which workers read as well: what is in it doesn't
        travel, and is in no manifest. None for the default ones.
    """

    brokers: str
    name: str
    settings: str | None = None

    @contextmanager
    def consumer(self, told: Callable[[Any], None] = lambda error: None) -> Iterator[Any]:
        """A consumer, closed in the end; see `connect`."""
        consumer = connect(self, told)
        try:
            yield consumer
        finally:
            consumer.close()

    def partitions(self, consumer: Any, seconds: float = SECONDS) -> list[int]:
        """The numbers of its partitions.

        Raises:
          InputError: no broker answers, or they have no such topic.
        """
        from confluent_kafka import KafkaException

        try:
            found = consumer.list_topics(self.name, timeout=seconds).topics[self.name]
        except KafkaException as error:
            raise InputError(f"{self}: {self.without_secrets(error)}") from None
        if found.error is not None:
            raise InputError(f"{self}: {self.without_secrets(found.error)}")
        return sorted(found.partitions)

    def ends(self, consumer: Any, partition: int) -> tuple[int, int]:
        """The first offset that is kept of a partition, and that behind its last message.

        Raises:
          InputError: as `partitions`.
        """
        from confluent_kafka import KafkaException, TopicPartition

        try:
            low, high = consumer.get_watermark_offsets(
                TopicPartition(self.name, partition), timeout=SECONDS, cached=False
            )
        except KafkaException as error:
            raise InputError(f"{self}: {self.without_secrets(error)}") from None
        return low, high

    def without_secrets(self, error: Any) -> str:
        """An error in words, whatever its library put into it."""
        text = " ".join(str(error).split())
        for name, value in read_settings(self.settings).items():
            if SECRET.search(name) and value:
                text = text.replace(value, "***")
        return text

    def __str__(self) -> str:
        return f"kafka://{self.brokers}/{self.name}"


def connect(topic: Topic, told: Callable[[Any], None] = lambda error: None) -> Any:
    """A consumer that is assigned nothing yet.

    Args:
      topic: what it will read.
      told: of errors of the connection, which the client mends by itself.

    Raises:
      InputError: confluent-kafka isn't installed, or a setting isn't one.
    """
    try:
        from confluent_kafka import Consumer, KafkaException
    except ImportError as error:
        raise InputError(f"{topic}: needs confluent-kafka: pip install 'beam-etl[kafka]'") from error
    own = {
        "bootstrap.servers": topic.brokers,
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "enable.partition.eof": True,
        "auto.offset.reset": "error",
        "error_cb": told,
    }
    try:
        return Consumer(
            {**SETTINGS, **read_settings(topic.settings), **own}, logger=logging.getLogger(__name__)
        )
    except (KafkaException, ValueError, TypeError) as error:
        raise InputError(f"{topic.settings or topic}: {topic.without_secrets(error)}") from None


def read_settings(path: str | None) -> dict[str, str]:
    """Settings of librdkafka from a file: `name=value` a line, `#` before a comment.

    Raises:
      InputError: there is no such file, or a line is none, or has a setting that is the source's own. The message has
        no value.
    """
    if path is None:
        return {}
    try:
        with open_file(path) as file:
            lines = file.read().decode().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"--kafka_config={path} can't be read: {type(error).__name__}") from None
    found = {}
    for number, line in enumerate(lines, 1):
        bare = line.strip()
        if not bare or bare.startswith("#"):
            continue
        name, equals, value = bare.partition("=")
        if not equals:
            raise InputError(f"{path}, line {number}: not NAME=VALUE")
        if name.strip() in OWN:
            raise InputError(f"{path}, line {number}: {name.strip()} can't be set, since {OWN[name.strip()]}")
        found[name.strip()] = value.strip()
    return found
