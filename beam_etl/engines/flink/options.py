"""Beam's options for a Flink cluster: what must be set is filled in, what is known to hang or lose data is refused."""

import json
import math
import os
import re
import sys
from collections.abc import Sequence

import grpc
from apache_beam.options.pipeline_options import (
    FlinkRunnerOptions,
    PipelineOptions,
    PortableOptions,
    StandardOptions,
)
from apache_beam.portability.api import beam_job_api_pb2, beam_job_api_pb2_grpc

from beam_etl.engines.flink import cluster
from beam_etl.engines.flink.jars import SetupError
from beam_etl.engines.flink.record import ClusterError
from beam_etl.engines.flink.rest import FlinkError, FlinkRest
from beam_etl.engines.flink.runner import EMBEDDED

CACHE_MILLIS = 1000
"""An SDK worker is kept so long after its last stage. Not at all would start one for every stage."""

ELEMENT_MINUTES = 60
"""A worker that is busy with one element for so long is ended, and what it did is tried again."""

HEAP_BYTES, SLOT_HEAP_BYTES, FLINKS_HEAP_BYTES = 256 << 20, 192 << 20, 128 << 20
"""Of a task manager: at least, for each slot, and what of that Flink itself has. A key's rows are one record there."""

CHECKPOINT_MILLIS = 10_000
"""Between two checkpoints of a stream: so much is done again after a failure."""

STREAMING = (
    "--finish_bundle_before_checkpointing",
    f"--checkpointing_interval={CHECKPOINT_MILLIS}",
    "--state_backend=rocksdb",
    "--externalized_checkpoints_enabled",
    "--retain_externalized_checkpoints_on_cancellation",
)
"""What a stream needs: without the first, sources stall; the last two leave a checkpoint of a job that fails or is
cancelled."""

_BACKENDS = ("rocksdb", "filesystem")
_ENVIRONMENTS = ("EXTERNAL", "PROCESS", "DOCKER", "LOOPBACK")
_ASK_SECONDS = 10
_MILLIS = {"d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1000, "ms": 1}
_DURATION = re.compile(
    r"(\d+)\s*(?:(?P<d>d|day)s?|(?P<h>h|hour)s?|(?P<m>m|min|minute|minutes)|(?P<s>s|sec|secs|seconds?)"
    r"|(?P<ms>|ms|milli|millis|milliseconds?))"
)
"""As Flink writes them. A number alone is milliseconds."""
_ISO_DURATION = re.compile(
    r"p(?:(?P<d>\d+)d)?(?:t(?:(?P<h>\d+)h)?(?:(?P<m>\d+)m)?(?:(?P<s>\d+(?:\.\d+)?)s)?)?", re.IGNORECASE
)
"""As Flink takes them as well: PT1M30S."""


class RefusedError(ValueError):
    """Options, or a cluster, with which a job is known to hang, to fail or to lose data. The message says why."""


def with_cluster(arguments: Sequence[str], here: cluster.Running | None = None) -> list[str]:
    """The flags, with those of a cluster of this machine where they name none.

    Args:
      arguments: flags of a job, and Beam's.
      here: the cluster; None looks for the usual one.

    Raises:
      RefusedError: they name none, and none runs here, or what runs here can't be told.
    """
    options = PipelineOptions(list(arguments))
    endpoint = options.view_as(PortableOptions).job_endpoint
    if not endpoint and not _given(arguments, "flink_master"):
        try:
            here = here or cluster.running()
        except (ClusterError, SetupError) as error:
            raise RefusedError(str(error)) from error
        if here is None:
            raise RefusedError(
                "no Flink cluster: start one with `python -m beam_etl.engines.flink start`, or name yours with "
                "--flink_master=HOST:PORT (its REST address) and --job_endpoint=HOST:PORT (of Beam's job server)"
            )
        return _with(_with_command(arguments), here.flags())
    if not _given(arguments, "flink_master"):
        raise RefusedError(
            f"--job_endpoint={endpoint} needs --flink_master=HOST:PORT, the REST address of the cluster behind it: "
            f"by it the job is watched and cancelled. Write --flink_master={EMBEDDED} where there is none."
        )
    return list(arguments)


def fill(arguments: Sequence[str], job_name: str) -> list[str]:
    """The flags of a job on the cluster that they name, complete.

    Filled in: the name of the job, the time that workers are kept, the time that one element may take, as many tasks
    at a time as the cluster has slots; in a stream, checkpoints every CHECKPOINT_MILLIS, before which bundles end, with
    state in RocksDB.

    Raises:
      RefusedError: see `refuse` and `refuse_cluster`.
      FlinkError: the cluster doesn't answer.
    """
    refuse(arguments)
    options = PipelineOptions(list(arguments))
    needed = [
        f"--job_name={job_name}",
        f"--environment_cache_millis={CACHE_MILLIS}",
        f"--element_processing_timeout_minutes={ELEMENT_MINUTES}",
    ]
    if options.view_as(StandardOptions).streaming:
        needed += STREAMING
    address = options.view_as(FlinkRunnerOptions).flink_master
    if address == EMBEDDED:
        return _with(arguments, needed)
    rest = FlinkRest(address)
    complete = _with(arguments, [*needed, f"--parallelism={rest.overview().slots or 1}"])
    refuse_cluster(complete, rest)
    return complete


def refuse(arguments: Sequence[str]) -> None:
    """Refuses flags that are known to do harm on any cluster.

    Raises:
      RefusedError: with the reason and what to write instead.
    """
    portable = PipelineOptions(list(arguments)).view_as(PortableOptions)
    kind, address = portable.environment_type, portable.view_as(FlinkRunnerOptions).flink_master
    if not kind:
        raise RefusedError(
            "say how task managers get Python workers that have beam_etl: --environment_type=EXTERNAL with "
            "--environment_config=HOST:PORT of `python -m beam_etl.engines.pool`, PROCESS with "
            '--environment_config={"command":"PATH of beam-etl-boot"}, or DOCKER with the name of an image'
        )
    if kind not in _ENVIRONMENTS:
        raise RefusedError(f"--environment_type={kind}: there is {', '.join(_ENVIRONMENTS)}")
    if kind == "PROCESS" and not _command(portable.environment_config):
        raise RefusedError(
            '--environment_type=PROCESS needs --environment_config={"command":"PATH of beam-etl-boot"}, a path on '
            "every machine of task managers"
        )
    if kind == "LOOPBACK" and address != EMBEDDED:
        raise RefusedError(
            "--environment_type=LOOPBACK makes this process the only worker: the job hangs when it is lost. "
            "Use EXTERNAL, PROCESS or DOCKER."
        )
    if kind == "DOCKER" and not portable.environment_config:
        raise RefusedError(
            "--environment_type=DOCKER takes Beam's own image, which has no beam_etl: every worker would fail. "
            "Name one that has it in --environment_config."
        )
    if _given(arguments, "number_of_execution_retries"):
        raise RefusedError(
            "--number_of_execution_retries does nothing in a batch job: set restart-strategy.type in the cluster's "
            "configuration"
        )
    if portable.view_as(StandardOptions).streaming:
        if address == EMBEDDED:
            raise RefusedError(
                "a stream on the embedded Flink can't be stopped, drained or gone on with: it would run until the job "
                "server ends. Start a cluster of its own, `python -m beam_etl.engines.flink start --task_managers=1`."
            )
        _refuse_checkpoints(arguments)


def _refuse_checkpoints(arguments: Sequence[str]) -> None:
    """Refuses what keeps a stream from going on where it was."""
    backend, storage, interval = (
        _value(arguments, name)
        for name in ("state_backend", "state_backend_storage_path", "checkpointing_interval")
    )
    if not storage:
        raise RefusedError(
            "checkpoints without --state_backend_storage_path go to memory, and one above 5 MB fails again and again: "
            "name a folder that all task managers see, --state_backend_storage_path=file:///... or a URL"
        )
    if backend not in (None, *_BACKENDS):
        raise RefusedError(f"--state_backend={backend}: Beam knows {' and '.join(_BACKENDS)}")
    if interval is not None and not (interval.isdigit() and int(interval) > 0):
        raise RefusedError(
            f"--checkpointing_interval={interval}: without checkpoints a stream begins again after each failure. "
            f"Give milliseconds, such as {CHECKPOINT_MILLIS}."
        )
    if _value(arguments, "finish_bundle_before_checkpointing") == "false":
        raise RefusedError(
            "--finish_bundle_before_checkpointing=false: sources stop at the first checkpoint, and the job says RUNNING"
        )


def refuse_cluster(arguments: Sequence[str], rest: FlinkRest) -> None:
    """Refuses a cluster on which the job is known to hang or to fail.

    Raises:
      RefusedError: with the reason and what to set.
      FlinkError: it doesn't answer.
    """
    settings, options = rest.settings(), PipelineOptions(list(arguments))
    cache = int(options.view_as(PortableOptions).environment_cache_millis)
    delay = _restart_delay(settings)
    if delay is not None and delay <= cache:
        raise RefusedError(
            f"the cluster restarts a job after {delay} ms, and workers are kept for {cache} ms: a killed one would "
            f"be met by every restart. Set the delay of its restart strategy above that, or "
            f"--environment_cache_millis below."
        )
    heap = rest.heap_bytes()
    overview = rest.overview()
    slots = math.ceil(overview.slots / max(1, overview.task_managers))
    needed = max(HEAP_BYTES, slots * SLOT_HEAP_BYTES - FLINKS_HEAP_BYTES)
    if heap is not None and heap < needed:
        raise RefusedError(
            f"a task manager has {heap >> 20} MiB of task heap; keys of 32 MiB in {slots} slots need "
            f"{needed >> 20} MiB. Set taskmanager.memory.task.heap.size."
        )
    wanted, there = options.view_as(FlinkRunnerOptions).parallelism, overview.slots
    if wanted > there and not _is_elastic(settings):
        raise RefusedError(
            f"--parallelism={wanted} needs as many slots, and the cluster has {there}: the job would wait for them "
            f"and fail. Use a lower one, or more task managers."
        )


def job_server_flags(endpoint: str) -> set[str]:
    """Names of the flags that a job server knows, `--finish_bundle_before_checkpointing` among them.

    Raises:
      FlinkError: it doesn't answer.
    """
    with grpc.insecure_channel(endpoint) as channel:
        try:
            answer = beam_job_api_pb2_grpc.JobServiceStub(channel).DescribePipelineOptions(
                beam_job_api_pb2.DescribePipelineOptionsRequest(), timeout=_ASK_SECONDS, wait_for_ready=True
            )
        except grpc.RpcError as error:
            said = error.details() if isinstance(error, grpc.Call) else error  # without its status and trace
            raise FlinkError(f"no job server answers at --job_endpoint={endpoint}: {said}") from error
    return {f"--{option.name}" for option in answer.options}


def _restart_delay(settings: dict[str, str]) -> int | None:
    """Milliseconds before the first restart; None where the cluster restarts nothing, or doesn't say how."""
    kind = settings.get("restart-strategy.type") or settings.get("restart-strategy")
    keys = {
        "fixed-delay": ("restart-strategy.fixed-delay.delay", "1 s"),
        "failure-rate": ("restart-strategy.failure-rate.delay", "1 s"),
        "exponential-delay": ("restart-strategy.exponential-delay.initial-backoff", "1 s"),
    }
    if kind not in keys:
        return None
    key, default = keys[kind]
    return _millis(settings.get(key, default).strip().lower())


def _millis(duration: str) -> int | None:
    """None for what is no duration."""
    if found := _DURATION.fullmatch(duration):
        return int(found[1]) * _MILLIS[str(found.lastgroup)]
    iso = _ISO_DURATION.fullmatch(duration)
    parts = [(name, value) for name, value in iso.groupdict().items() if value] if iso else []
    return round(sum(float(value) * _MILLIS[name] for name, value in parts)) if parts else None


def _is_elastic(settings: dict[str, str]) -> bool:
    """Whether the cluster starts task managers as they are needed."""
    return any(name.startswith(("kubernetes.", "yarn.")) for name in settings)


def _with_command(arguments: Sequence[str]) -> list[str]:
    """On this machine, a worker process of its own is started by the command that is installed beside this Python."""
    boot = os.path.join(sys.prefix, "bin", "beam-etl-boot")
    if "--environment_type=PROCESS" not in arguments or not os.path.exists(boot):
        return list(arguments)
    return _with(arguments, ["--environment_config=" + json.dumps({"command": boot})])


def _command(config: str | None) -> str | None:
    """Of a PROCESS environment; None where there is none."""
    try:
        found = json.loads(config or "{}")
    except ValueError:
        return None
    return found.get("command") if isinstance(found, dict) else None


def _with(arguments: Sequence[str], more: Sequence[str]) -> list[str]:
    """The flags, and of the others those that they don't give."""
    return [*arguments, *(flag for flag in more if not _given(arguments, _name(flag)))]


def _given(arguments: Sequence[str], name: str) -> bool:
    return any(_name(flag) == name for flag in arguments)


def _value(arguments: Sequence[str], name: str) -> str | None:
    """What a flag was given as last; None where it wasn't."""
    values = [flag.partition("=")[2] for flag in arguments if _name(flag) == name]
    return values[-1] if values else None


def _name(flag: str) -> str:
    return flag.removeprefix("--").partition("=")[0]
