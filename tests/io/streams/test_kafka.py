"""Topics as streams, on confluent-kafka's own mock broker: each message once, as a document or as a reject."""

import io
import json
import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fastavro
import pyarrow as pa
import pytest
from confluent_kafka import Producer

from beam_etl import schema
from beam_etl.io.columns import Columns
from beam_etl.io.errors import InputError
from beam_etl.io.streams import kafka
from beam_etl.io.streams.kafka import BrokenStreamError, KafkaSource, sample_values
from beam_etl.io.streams.kafka_client import Topic, connect, read_settings
from beam_etl.io.streams.values import AvroValues, JsonValues, Values, avro_values
from tests.io.streams.contract import Driven, check_clocks, check_in_bound, drive, ids, micros, table

SECOND = 1_000_000
COLUMNS = Columns(needed=("id", "time", "text"))
PARTITIONS = 4
"""Of a topic that the mock broker makes."""

AVRO = {
    "type": "record",
    "name": "document",
    "fields": [
        {"name": "id", "type": "string"},
        {"name": "time", "type": {"type": "long", "logicalType": "timestamp-micros"}},
        {"name": "text", "type": ["null", "string"]},
    ],
}


@dataclass
class Broker:
    """A mock broker, which lives as long as its producer."""

    producer: Any
    address: str

    def send(self, topic: str, values: Sequence[bytes | None], partition: int = 0) -> None:
        for value in values:
            self.producer.produce(topic, value, partition=partition)
        assert self.producer.flush(10) == 0


@pytest.fixture(scope="module")
def broker() -> Iterator[Broker]:
    producer = Producer(
        {"test.mock.num.brokers": 1, "bootstrap.servers": "unused", "linger.ms": 0, "log_level": 0}
    )
    brokers = producer.list_topics(timeout=10).brokers.values()
    yield Broker(producer, ",".join(f"{each.host}:{each.port}" for each in brokers))
    del producer


def source(broker: Broker, topic: str, values: Values | None = None, **options: Any) -> KafkaSource:
    values = values or JsonValues()
    partitions, sample = sample_values(Topic(broker.address, topic))
    return KafkaSource(
        columns=COLUMNS,
        stored=values.stored(sample),
        topic=Topic(broker.address, topic),
        values=values,
        **{"splits": len(partitions), **options},
    )


def as_json(rows: pa.Table) -> list[bytes]:
    return [json.dumps({**row, "time": row["time"].isoformat()}).encode() for row in rows.to_pylist()]


def as_avro(rows: pa.Table, prefix: bytes = b"") -> list[bytes]:
    written = []
    for row in rows.to_pylist():
        stream = io.BytesIO()
        fastavro.schemaless_writer(stream, fastavro.parse_schema(AVRO), row)
        written.append(prefix + stream.getvalue())
    return written


def has(rows: int) -> Any:
    return lambda driven: len(driven.rows) + len(driven.rejects) >= rows


FORMS = {
    "json": (as_json, JsonValues()),
    "json on several lines": (
        lambda rows: [json.dumps(json.loads(value), indent=1).encode() for value in as_json(rows)],
        JsonValues(),
    ),
    "avro": (as_avro, AvroValues(((-1, json.dumps(AVRO)),))),
    "avro with numbers": (
        lambda rows: as_avro(rows, b"\0\0\0\0\7"),
        AvroValues(((3, json.dumps(AVRO)), (7, json.dumps(AVRO)))),
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_message_comes_once_wherever_a_reader_is_made_anew(
    broker: Broker, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka, "MAX_ROWS", 100)
    encode, values = FORMS[form]
    topic, stored = form.replace(" ", "-"), table(1000, disorder=30 * SECOND)
    for partition in range(2):
        broker.send(topic, encode(stored.slice(partition * 500, 500)), partition)
    parts = source(broker, topic, values, disorder=60 * SECOND).split(1)
    driven = [drive(part, has(500), 0.3, part.index, fresh=part.index > 0) for part in parts[:2]]
    assert [ids(one.rows) for one in driven] == [
        stored["id"].to_pylist()[:500],
        stored["id"].to_pylist()[500:],
    ]
    for partition, one in enumerate(driven):
        check_clocks(one.rows, 60 * SECOND)
        check_in_bound(one.rows, 60 * SECOND)
        assert [row[schema.ADDRESS] for row in one.rows] == [
            (partition << schema.POSITION_BITS) + offset for offset in range(500)
        ]


def test_what_cannot_be_decoded_is_a_reject_with_its_partition_and_offset(broker: Broker) -> None:
    good = as_json(table(2))
    broker.send(
        "bad-json", [good[0], b"no json", b"", b" \n ", None, b'{"id":"x"} {"id":"y"}', good[1], b"null"], 1
    )
    broker.send("bad-json", [b'{"id":"n","text":"t"}', b'{"id":"o","text":"t","time":"soon"}', b"\xff{}"], 1)
    driven = drive(source(broker, "bad-json", splits=1), has(11))
    assert ids(driven.rows) == ["d0", "d1"]
    told = {row["position"]: (row["file"], row["payload"]) for row in driven.rejects}
    assert sorted(told) == [1, 2, 3, 4, 5, 7, 8, 9, 10]
    assert {file for file, _ in told.values()} == {"kafka://bad-json/1"}
    assert told[1][1] == b"no json"
    assert told[5][1] == b'{"id":"x"} {"id":"y"}'


def test_avro_values_that_are_none_are_rejects(broker: Broker) -> None:
    values = AvroValues(((7, json.dumps(AVRO)),))
    good = as_avro(table(2), b"\0\0\0\0\7")
    broker.send(
        "bad-avro",
        [good[0], good[0][5:], good[0][:9], good[0] + b"x", b"\0\0\0\0\x08" + good[0][5:], good[1]],
    )
    driven = drive(source(broker, "bad-avro", values, splits=1), has(6))
    assert ids(driven.rows) == ["d0", "d1"]
    assert sorted(row["position"] for row in driven.rejects) == [1, 2, 3, 4]
    assert any("schema 8" in row["reason"] for row in driven.rejects)


def test_partitions_of_one_split_wait_for_each_other(broker: Broker) -> None:
    stored = table(300)
    for partition in range(PARTITIONS):
        broker.send("together", as_json(stored.slice(partition * 75, 75)), partition)
    driven = drive(source(broker, "together", splits=1, disorder=0), has(300), chance=0.3, fresh=True)
    assert sorted(ids(driven.rows)) == sorted(stored["id"].to_pylist())
    clocks = [micros(row[schema.CLOCK]) for row in driven.rows if row[schema.CLOCK]]
    assert clocks == sorted(clocks)
    first = micros(stored["time"][74].as_py())  # the largest of the partition that is furthest behind
    assert max(clocks, default=0) <= first


def test_idle_partitions_do_not_hold_the_clock_back(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    stored = table(50)
    broker.send("idle", as_json(stored), 2)
    now = [1_800_000_000.0]
    monkeypatch.setattr("time.time", lambda: now[0])
    part = source(broker, "idle", splits=1, idle_after=5 * SECOND)
    reader, driven = part.create_reader(None, None), Driven()
    while len(driven.rows) < 50:
        if reader.advance():
            driven.take(reader)
    while len(reader._cursor.at_end()) < PARTITIONS:  # the client tells of each end by itself
        assert not reader.advance()
    assert reader.get_watermark().micros < 0  # three partitions were not seen to be empty for long
    for _ in range(12):
        now[0] += 1
        assert not reader.advance()
    reader.close()
    assert reader.get_watermark().micros == int(now[0] * SECOND)


def test_new_partitions_are_read_from_their_first_message(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = table(200)
    for partition in (1, 3):
        broker.send("growing", as_json(stored.slice(partition // 3 * 100, 100)), partition)
    there, listed = {1}, Topic.partitions
    monkeypatch.setattr(Topic, "partitions", lambda *args: [p for p in listed(*args) if p in there])
    monkeypatch.setattr(kafka, "LOOK_SECONDS", 0.0)
    part = source(broker, "growing", splits=2, start=kafka.EARLIEST).split(2)[1]

    def done(driven: Driven) -> bool:
        if len(driven.rows) == 100:
            there.add(3)
        return len(driven.rows) >= 200

    driven = drive(part, done, chance=0.3)
    assert ids(driven.rows) == stored["id"].to_pylist()


class Asked:
    """A consumer that notes how many messages it was asked for at once, before it gave any and after."""

    def __init__(self, consumer: Any) -> None:
        self._consumer = consumer
        self.first: list[int] = []
        self.later: list[int] = []
        self._has_given = False

    def consume(self, most: int, seconds: float) -> Any:
        (self.later if self._has_given else self.first).append(most)
        found = self._consumer.consume(most, seconds)
        self._has_given |= any(message.error() is None for message in found)
        return found

    def __getattr__(self, name: str) -> Any:
        return getattr(self._consumer, name)


def test_large_messages_are_taken_few_at_a_time_from_the_first_on(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka, "MAX_BYTES", 640_000)
    monkeypatch.setattr(kafka, "FIRST_BYTES", 20_000)
    value = b'{"id":"a","time":"2024-01-01","text":"x"}'
    for _ in range(40):
        broker.producer.produce("large", value, key=bytes(100_000), partition=0)
    assert broker.producer.flush(10) == 0
    cursor = source(broker, "large", splits=1).open(None)
    asked = cursor._consumer = Asked(cursor._consumer)
    rows, deadline = 0, time.monotonic() + 20
    while rows < 40 and time.monotonic() < deadline:
        piece = cursor.next()
        rows += piece.documents.num_rows if piece is not None and piece.documents is not None else 0
    cursor.close()
    assert rows == 40
    assert set(asked.first) == {16}
    assert len(asked.later) > 2
    assert max(asked.later) <= 3  # of 100 KB, in 320 KB


def test_messages_that_are_gone_are_told(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    broker.send("trimmed", as_json(table(20)))
    part, ends = source(broker, "trimmed", splits=1), Topic.ends
    monkeypatch.setattr(Topic, "ends", lambda *args: (35, 40) if args[2] == 0 else ends(*args))
    reader, driven = (
        part.create_reader(None, part.get_checkpoint_mark_coder().decode(b'[{"0":30},null]')),
        Driven(),
    )
    while not driven.rejects:
        if reader.advance():
            driven.take(reader)
    assert [(row["file"], row["position"], row["rows"]) for row in driven.rejects] == [
        ("kafka://trimmed/0", 30, 5)
    ]
    assert reader.get_checkpoint_mark().position["0"] == 35


def test_a_topic_that_was_made_anew_is_an_error(broker: Broker) -> None:
    broker.send("anew", as_json(table(20)))
    part = source(broker, "anew", splits=1)
    reader = part.create_reader(None, part.get_checkpoint_mark_coder().decode(b'[{"0":30},null]'))
    with pytest.raises(
        BrokenStreamError, match="partition 0 ends at offset 20, and was read up to 30 before"
    ):
        any(reader.advance() for _ in range(50))
    reader.close()


def test_the_start_may_be_the_end(broker: Broker) -> None:
    broker.send("latest", as_json(table(10)))
    part = source(broker, "latest", splits=1, start=kafka.LATEST)
    sent: list[bool] = []

    def done(driven: Driven) -> bool:
        if not sent:
            sent.append(True)
        elif len(sent) == 1:
            broker.send("latest", [b'{"id":"new","time":"2024-01-01","text":"x"}'])
            sent.append(True)
        return bool(driven.rows)

    assert ids(drive(part, done).rows) == ["new"]


def test_a_topic_that_cannot_be_read_is_told_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("beam_etl.io.streams.kafka_client.SECONDS", 0.3)
    topic = Topic("127.0.0.1:1", "none")
    with topic.consumer() as consumer, pytest.raises(InputError, match="kafka://127.0.0.1:1/none"):
        topic.partitions(consumer, 0.3)


SECRETS = "sasl.password = swordfish\nsasl.username=bob\nssl.key.password=hunter2\n"


def test_secrets_are_in_no_message_and_do_not_travel(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = tmp_path / "kafka.properties"
    settings.write_text(
        f"{SECRETS}security.protocol=SASL_PLAINTEXT\nsasl.mechanism=PLAIN\nbroker.version.nonsense=1\n"
    )
    topic = Topic("127.0.0.1:1", "t", str(settings))
    with pytest.raises(InputError) as refused:
        connect(topic)
    assert str(refused.value).startswith(str(settings))
    settings.write_text(f"{SECRETS}security.protocol=SASL_PLAINTEXT\nsasl.mechanism=PLAIN\n")
    part = KafkaSource(columns=COLUMNS, stored=pa.schema([]), topic=topic)
    caplog.set_level(logging.DEBUG)
    with topic.consumer() as consumer, pytest.raises(InputError) as unreachable:
        topic.partitions(consumer, 0.3)
    said = [str(refused.value), str(unreachable.value), repr(part), caplog.text]
    said.append(topic.without_secrets("login of bob with swordfish failed"))
    assert not [word for word in ("swordfish", "hunter2", "bob") if any(word in text for text in said)]
    assert read_settings(str(settings))["sasl.password"] == "swordfish"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("enable.auto.commit=true", "line 2: enable.auto.commit can't be set"),
        ("bootstrap.servers=a:1", "line 2: bootstrap.servers can't be set"),
        ("sasl.password swordfish", "line 2: not NAME=VALUE"),
    ],
    ids=["own", "brokers", "no value"],
)
def test_settings_that_cannot_be_are_told_without_their_value(tmp_path: Path, line: str, said: str) -> None:
    settings = tmp_path / "kafka.properties"
    settings.write_text(f"# a comment\n{line}\n")
    with pytest.raises(InputError, match=said) as refused:
        read_settings(str(settings))
    assert "swordfish" not in str(refused.value)


def test_schemas_are_checked_when_they_are_named(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.avsc", tmp_path / "bad.avsc"
    good.write_text(json.dumps(AVRO))
    bad.write_text('{"type": "record"}')
    assert avro_values([str(good)]).schemas[0][0] == -1
    assert [number for number, _ in avro_values([f"3:{good}", f"12:{good}"]).schemas] == [3, 12]
    for files in ([str(bad)], [str(tmp_path / "none")], [str(good), f"1:{good}"], [f"1:{good}", f"1:{good}"]):
        with pytest.raises(InputError):
            avro_values(files)
