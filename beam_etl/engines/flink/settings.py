"""What a cluster on this machine is started with: memory, ports, Flink's settings and the command of each process."""

import json
import math
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from beam_etl.engines.flink import processes
from beam_etl.engines.flink.jars import Jars

MIB = 1 << 20
GIB = 1 << 30

LEAST_HEAP = 256 * MIB
"""All rows of a key are one record on the heap, of 32 MiB at most, and several copies of it are made."""
LEAST_HEAP_OF_SLOT = 192 * MIB
"""Where there are several: with 128 MiB, keys of 32 MiB in all slots at once failed, with 192 they passed.

With it goes the memory to sort in, 256 MiB a slot. Flink gives each shuffle of a job two equal parts of that, in which
a slice of 4 MiB must fit, or the job fails in every attempt ("record too large"): so a job can have 30 shuffles.
"""

MERGED_RUNS = 16
"""Spilled runs that a sort reads at a time: of each, a slice of up to 4 MiB is on the heap, in every slot. With Flink's
128, 10 GiB through 1 GiB of memory failed in every attempt."""

OFF_HEAP = 256 * MIB
"""Of each slot, at most. A JVM that reaches this loses its connection to a worker, and the job may hang."""
FRAMEWORK_OFF_HEAP = 128 * MIB
METASPACE = 256 * MIB
EMBEDDED_METASPACE = 1024 * MIB
"""An embedded Flink starts anew for each job, and keeps some 18 MiB of classes of every one."""
OVERHEAD = 192 * MIB
SERIAL_HEAP = 2 * GIB
"""Up to here the collector with the least overhead; its pauses on a larger heap would look like a lost process."""

HEARTBEAT_MILLIS = 1000
LOST_MILLIS = 8000
"""A process that is silent for so long counts as lost."""
RESTART_SECONDS = 3
RESTARTS = 10
REST_HOURS = 1
"""A job that has run so long without a fault has all its restarts again: a stream runs for months."""

HOST = "127.0.0.1"

_OPENED = (
    *("lang", "lang.reflect", "io", "net", "nio", "text", "time", "util"),
    *("util.concurrent", "util.concurrent.atomic", "util.concurrent.locks"),
)
"""Packages java.* whose private fields Flink's serializers read."""


@dataclass(frozen=True)
class Memory:
    """Bytes of a task manager: what it is given, divided.

    On top come classes, code and threads, some 200 MB, and the buffers of what goes to and from SDK workers: mostly
    below 100 MB, `OFF_HEAP` at most.
    """

    heap: int
    network: int
    managed: int

    @staticmethod
    def of(total: int, slots: int) -> "Memory":
        """3/8 are heap, 1/8 network buffers, and 1/2 is managed: what shuffles sort in.

        Raises:
          ValueError: too little for a key of 32 MiB in each slot.
        """
        heap, network = total * 3 // 8, total // 8
        needed = max(LEAST_HEAP, LEAST_HEAP_OF_SLOT * slots)
        if heap < needed:
            raise ValueError(
                f"--memory={total // MIB}MiB would leave {heap // MIB} MiB of heap; a key of 32 MiB in each of {slots} "
                f"slots needs {needed // MIB}: give at least {math.ceil(needed * 8 / 3 / MIB)}MiB"
            )
        managed = total - heap - network
        return Memory(heap, network, managed)


def default_memory(slots: int) -> int:
    """Bytes of a task manager, unless asked for others."""
    return max(GIB, slots * GIB // 2)


@dataclass(frozen=True)
class Plan:
    """What a cluster consists of, and where it listens: always on the loopback address."""

    folder: str
    task_managers: int
    """0: Flink runs inside the job server."""
    slots: int
    memory_bytes: int
    high_availability: bool
    ports: Mapping[str, int]

    @property
    def embedded(self) -> bool:
        return self.task_managers == 0

    @property
    def memory(self) -> Memory:
        return Memory.of(self.memory_bytes, self.slots)

    @property
    def names(self) -> list[str]:
        """The processes, in the order in which they are started."""
        if self.embedded:
            return ["jobserver", "pool"]
        workers = [f"taskmanager-{number}" for number in range(1, self.task_managers + 1)]
        return [
            *(["zookeeper"] if self.high_availability else []),
            "jobmanager",
            *workers,
            "jobserver",
            "pool",
        ]

    def path(self, *names: str) -> Path:
        return Path(self.folder, *names)

    def address(self, port: str) -> str:
        return f"{HOST}:{self.ports[port]}"


PORTS = ("rest", "rpc", "job", "artifact", "pool", "zookeeper")


def choose_ports() -> dict[str, int]:
    """Free ports by what they are for."""
    return dict(zip(PORTS, processes.free_ports(len(PORTS)), strict=True))


def write_files(plan: Plan) -> None:
    """Makes the folders of a cluster and writes its settings into conf/."""
    for name in ("conf", "log", "tmp", "artifacts", "state/zookeeper"):
        plan.path(name).mkdir(parents=True, exist_ok=True)
    # What JSON writes is YAML too, whatever a path holds.
    lines = [f"{name}: {json.dumps(value)}\n" for name, value in flink_settings(plan).items()]
    plan.path("conf", "config.yaml").write_text("".join(lines), encoding="utf-8")
    plan.path("conf", "zoo.cfg").write_text(
        f"dataDir={plan.path('state/zookeeper')}\nclientPortAddress={HOST}\nclientPort={plan.ports['zookeeper']}\n"
        "admin.enableServer=false\ntickTime=1000\n",
        encoding="utf-8",
    )


def flink_settings(plan: Plan) -> dict[str, str | int | bool]:
    """The settings of Flink that all its processes read."""
    settings: dict[str, str | int | bool] = {
        "jobmanager.rpc.address": HOST,
        "jobmanager.rpc.port": plan.ports["rpc"],
        "jobmanager.bind-host": HOST,
        "rest.address": HOST,
        "rest.bind-address": HOST,
        "rest.port": plan.ports["rest"],
        "taskmanager.host": HOST,
        "taskmanager.bind-host": HOST,
        "web.submit.enable": False,
        "web.refresh-interval": 500,  # milliseconds, where stages would be 3 s old
        "io.tmp.dirs": str(plan.path("tmp")),
        "state.checkpoints.dir": f"file://{plan.path('state/checkpoints')}",
        **_memory_settings(plan),
        # The usual 512 a partition would not leave a plan of 50 stages enough at 4 tasks a stage.
        "taskmanager.network.sort-shuffle.min-buffers": 32,
        # Slices of one key are joined before a shuffle until they fill what it sorts in, and then don't fit on arrival.
        "taskmanager.runtime.large-record-handler": True,
        "taskmanager.runtime.max-fan": MERGED_RUNS,
        "cluster.evenly-spread-out-slots": True,
        # A task manager that is up before the job manager would sleep for 10 s.
        "cluster.registration.error-delay": 200,
        "heartbeat.interval": HEARTBEAT_MILLIS,
        "heartbeat.timeout": LOST_MILLIS,
        "state.backend.rocksdb.options-factory": "beametl.SmallManifest",
        **_restarts(),
        "pekko.ask.timeout": "30 s",
        # Task managers have all classes, and a job brings none.
        "classloader.resolve-order": "parent-first",
    }
    if not plan.embedded:  # which makes as many slots as a job asks for
        settings["taskmanager.numberOfTaskSlots"] = plan.slots
    if plan.high_availability:
        settings |= {
            "high-availability.type": "zookeeper",
            "high-availability.zookeeper.quorum": plan.address("zookeeper"),
            "high-availability.zookeeper.client.session-timeout": LOST_MILLIS,
            "high-availability.storageDir": f"file://{plan.path('state/ha')}",
        }
    return settings


def _restarts() -> dict[str, str | int | bool]:
    """The one strategy that forgets faults in time. Its delay, which would grow, stays what it is."""
    settings: dict[str, str | int] = {
        "initial-backoff": f"{RESTART_SECONDS} s",
        "max-backoff": f"{RESTART_SECONDS} s",
        "jitter-factor": "0.0",
        "attempts-before-reset-backoff": RESTARTS,
        "reset-backoff-threshold": f"{REST_HOURS} h",
    }
    return {
        "restart-strategy.type": "exponential-delay",
        **{f"restart-strategy.exponential-delay.{name}": value for name, value in settings.items()},
    }


def _memory_settings(plan: Plan) -> dict[str, str | int | bool]:
    memory = plan.memory
    return {
        "taskmanager.cpu.cores": plan.slots,
        "taskmanager.memory.framework.heap.size": "0b",  # the division is only on paper
        "taskmanager.memory.task.heap.size": f"{memory.heap}b",
        "taskmanager.memory.framework.off-heap.size": f"{FRAMEWORK_OFF_HEAP}b",
        "taskmanager.memory.task.off-heap.size": f"{OFF_HEAP * plan.slots - FRAMEWORK_OFF_HEAP}b",
        "taskmanager.memory.network.min": f"{memory.network}b",
        "taskmanager.memory.network.max": f"{memory.network}b",
        "taskmanager.memory.managed.size": f"{memory.managed}b",
        "taskmanager.memory.jvm-metaspace.size": f"{METASPACE}b",
        "taskmanager.memory.jvm-overhead.min": f"{OVERHEAD}b",
        "taskmanager.memory.jvm-overhead.max": f"{OVERHEAD}b",
    }


def command(plan: Plan, name: str, jars: Jars) -> list[str]:
    """The command line of a process."""
    memory = plan.memory
    configured = ["--configDir", str(plan.path("conf"))]
    kind = name.partition("-")[0]
    if kind == "zookeeper":
        main = "org.apache.flink.shaded.zookeeper3.org.apache.zookeeper.server.ZooKeeperServerMain"
        return [*_java(plan, name, jars, 128 * MIB, 64 * MIB), main, str(plan.path("conf/zoo.cfg"))]
    if kind == "jobmanager":
        main = "org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint"
        return [*_java(plan, name, jars, 512 * MIB, 256 * MIB), main, *configured]
    if kind == "taskmanager":
        main = "org.apache.flink.runtime.taskexecutor.TaskManagerRunner"
        # A name that it had before would be taken for the one that was lost.
        identity = f"-Dtaskmanager.resource-id={name}-{time.time_ns() // 1_000_000}"
        return [
            *_java(plan, name, jars, memory.heap, memory.network + OFF_HEAP * plan.slots),
            main,
            *configured,
            identity,
        ]
    if kind == "jobserver":
        return [*_job_server_java(plan, jars, memory), "beametl.JobServer", *_job_server_flags(plan)]
    return [sys.executable, "-m", "beam_etl.engines.pool", f"--port={plan.ports['pool']}"]


def environment(plan: Plan) -> dict[str, str]:
    """The environment of the processes: temporary files stay in the cluster's folder."""
    return {**os.environ, processes.MARK: plan.folder, "TMPDIR": str(plan.path("tmp"))}


def _job_server_java(plan: Plan, jars: Jars, memory: Memory) -> list[str]:
    """Embedded, it is job manager and task manager as well."""
    heap, direct = 512 * MIB, 256 * MIB
    if plan.embedded:
        heap, direct = heap + memory.heap, direct + memory.network + OFF_HEAP * plan.slots
    return _java(plan, "jobserver", jars, heap, direct)


def _job_server_flags(plan: Plan) -> list[str]:
    """Name and value apart: the job server cuts --name=value at spaces."""
    return [
        *("--flink-master", "[local]" if plan.embedded else plan.address("rest")),
        *("--flink-conf-dir", str(plan.path("conf"))),
        *("--job-host", HOST),
        *("--job-port", str(plan.ports["job"])),
        *("--artifact-port", str(plan.ports["artifact"])),
        *("--expansion-port", "-1"),  # none: no pipeline here has transforms in Java
        *("--artifacts-dir", str(plan.path("artifacts"))),
    ]


def _java(plan: Plan, name: str, jars: Jars, heap: int, direct: int) -> list[str]:
    # What shuffles hold goes to the old generation soon: with the usual third of the heap for the young one, big
    # shuffles spent half their time collecting it.
    collector = ["-XX:+UseSerialGC", "-XX:NewRatio=5"] if heap <= SERIAL_HEAP else []
    # Only task managers run long enough for the better of the two compilers to pay.
    quick = [] if name.startswith("taskmanager") or plan.embedded else ["-XX:TieredStopAtLevel=1"]
    return [
        jars.java,
        f"-Xmx{heap}",
        f"-XX:MaxDirectMemorySize={direct}",
        f"-XX:MaxMetaspaceSize={EMBEDDED_METASPACE if plan.embedded else METASPACE}",
        *collector,
        *quick,
        "-Xshare:auto",
        "-XX:-UsePerfData",  # a file in /tmp that a killed process leaves behind
        f"-Djava.io.tmpdir={plan.path('tmp')}",
        "-Djava.net.preferIPv4Stack=true",
        f"-Dlog.file={plan.path('log', name + '.log')}",
        "-Dorg.slf4j.simpleLogger.showDateTime=true",
        "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd HH:mm:ss.SSS",
        *(f"--add-opens=java.base/java.{package}=ALL-UNNAMED" for package in _OPENED),
        "--add-opens=java.base/sun.nio.ch=ALL-UNNAMED",
        "-cp",
        jars.class_path,
    ]
