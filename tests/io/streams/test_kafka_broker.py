"""Topics of a real broker: what the mock one doesn't do. The long form of test_kafka.py."""

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from confluent_kafka import Producer, TopicPartition

from beam_etl.engines.flink.jars import SetupError
from beam_etl.io.columns import Columns
from beam_etl.io.streams import kafka
from beam_etl.io.streams.kafka import KafkaSource, sample_values
from beam_etl.io.streams.kafka_client import Topic
from beam_etl.io.streams.values import JsonValues
from tests.io.streams.contract import Driven, check_clocks, check_in_bound, drive, ids, table
from tests.kafka_broker import PASSWORD, USER, Broker, broker

pytestmark = pytest.mark.long

SECOND = 1_000_000
COLUMNS = Columns(needed=("id", "time", "text"))
ROWS = 100_000


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    try:
        with broker(tmp_path_factory.mktemp("kafka")) as running:
            yield running
    except SetupError as error:
        if os.environ.get("BEAM_ETL_REQUIRE_JAVA") == "1":
            pytest.fail(str(error))
        pytest.skip(str(error))


def send(real: Broker, topic: str, rows: pa.Table, partition: int) -> None:
    producer = Producer(
        {"bootstrap.servers": real.address, "linger.ms": 20, "queue.buffering.max.messages": 500_000}
    )
    for row in rows.to_pylist():
        value = json.dumps({**row, "time": row["time"].isoformat()})
        producer.produce(topic, value, partition=partition, timestamp=int(row["time"].timestamp() * 1000))
    assert producer.flush(60) == 0


def source(topic: Topic, **options: Any) -> KafkaSource:
    partitions, sample = sample_values(topic)
    values = JsonValues()
    columns = {"columns": COLUMNS, "stored": values.stored(sample)}
    return KafkaSource(topic=topic, **{**columns, "splits": len(partitions), **options})


def test_a_hundred_thousand_messages_come_once(real: Broker) -> None:
    real.create("large", 4)
    stored = table(ROWS, disorder=50 * SECOND)
    for partition in range(4):
        send(real, "large", stored.slice(partition * ROWS // 4, ROWS // 4), partition)
    parts = source(Topic(real.address, "large"), disorder=60 * SECOND).split(4)
    seen: list[str] = []
    for part in parts:
        driven = drive(
            part, lambda driven: len(driven.rows) >= ROWS // 4, 0.3, part.index, fresh=part.index % 2 > 0
        )
        check_clocks(driven.rows, 60 * SECOND)
        check_in_bound(driven.rows, 60 * SECOND)
        seen += ids(driven.rows)
    assert seen == stored["id"].to_pylist()


def test_a_broker_that_is_stopped_is_waited_for_and_holds_the_clock(real: Broker, monkeypatch: Any) -> None:
    real.create("stopped", 2)
    stored = table(2000)
    send(real, "stopped", stored.slice(0, 1000), 0)
    now = [1_800_000_000.0]
    monkeypatch.setattr("time.time", lambda: now[0])
    reader = source(Topic(real.address, "stopped"), splits=1, idle_after=60 * SECOND).create_reader(
        None, None
    )
    driven = Driven()
    while len(driven.rows) < 1000:
        if reader.advance():
            driven.take(reader)
    real.stop()
    while reader._cursor._reached:
        assert not reader.advance()
    before = reader.get_watermark()
    for _ in range(100):
        now[0] += 5
        assert not reader.advance()
    assert reader.get_watermark() == before
    real.start()
    send(real, "stopped", stored.slice(1000), 1)
    while len(driven.rows) < 2000:
        if reader.advance():
            driven.take(reader)
    reader.close()
    assert ids(driven.rows) == stored["id"].to_pylist()


def test_new_partitions_are_noticed(real: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafka, "LOOK_SECONDS", 0.5)
    real.create("growing", 1)
    stored = table(300)
    send(real, "growing", stored.slice(0, 100), 0)

    def done(driven: Driven) -> bool:
        if len(driven.rows) == 100 and not added:
            added.append(True)
            real.add_partitions("growing", 3)
            send(real, "growing", stored.slice(100, 100), 1)
            send(real, "growing", stored.slice(200, 100), 2)
        return len(driven.rows) >= 300

    added: list[bool] = []
    driven = drive(source(Topic(real.address, "growing")), done, chance=0.2)
    assert sorted(ids(driven.rows)) == sorted(stored["id"].to_pylist())


def test_deleted_messages_are_told(real: Broker) -> None:
    real.create("trimmed", 1)
    stored = table(100)
    send(real, "trimmed", stored, 0)
    part = source(Topic(real.address, "trimmed"))
    mark = part.get_checkpoint_mark_coder().decode(b'[{"0":10},null]')
    admin = real.admin
    for done in admin.delete_records([TopicPartition("trimmed", 0, 40)]).values():
        done.result(20)
    reader, driven = part.create_reader(None, mark), Driven()
    while len(driven.rows) < 60:
        if reader.advance():
            driven.take(reader)
    reader.close()
    assert ids(driven.rows) == stored["id"].to_pylist()[40:]
    assert [(row["position"], row["rows"]) for row in driven.rejects] == [(10, 30)]


def test_settings_reach_the_client(real: Broker, tmp_path: Path) -> None:
    real.create("secured", 1)
    send(real, "secured", table(10), 0)
    settings = tmp_path / "kafka.properties"
    login = f"sasl.username={USER}\nsasl.password={PASSWORD}\n"
    settings.write_text(f"security.protocol=SASL_PLAINTEXT\nsasl.mechanism=PLAIN\n{login}")
    part = source(Topic(real.secured, "secured", str(settings)))
    assert len(drive(part, lambda driven: len(driven.rows) >= 10).rows) == 10
    assert PASSWORD not in repr(replace(part, splits=1))
