"""A Flink cluster on this machine, for jobs too large for one process, and control of the jobs on it or on another."""

import argparse
import difflib
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType

from beam_etl.engines.flink import by_name, cluster
from beam_etl.engines.flink.cluster import COMMAND
from beam_etl.engines.flink.jars import SetupError
from beam_etl.engines.flink.record import ClusterError
from beam_etl.engines.flink.rest import FlinkError, FlinkRest
from beam_etl.engines.flink.status import describe

DONE, FAILED, USAGE = 0, 1, 2
INTERRUPTED = 130

_PIPELINES = Path(__file__).parents[2] / "pipelines"
_TASK_MANAGERS, _SLOTS = 2, 2
_UNITS = {"": 1, "B": 1, "KIB": 1 << 10, "MIB": 1 << 20, "GIB": 1 << 30}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns its exit code: 0 done, 1 failed, 2 usage, 130 interrupted."""
    arguments = _parser().parse_args(argv)
    for number in _ends():
        signal.signal(number, _interrupt)
    command: Callable[[argparse.Namespace], int] = arguments.command
    try:
        return command(arguments)
    except ValueError as error:
        _say(str(error))
        return USAGE
    except (SetupError, ClusterError, FlinkError, OSError) as error:
        _say(str(error))
        return FAILED
    except KeyboardInterrupt:
        _say("interrupted")
        return INTERRUPTED


def _start(arguments: argparse.Namespace) -> int:
    _show(_started(arguments))
    return DONE


def _status(arguments: argparse.Namespace) -> int:
    lines, whole = describe(arguments.folder)
    print("\n".join(lines))
    return DONE if whole else FAILED


def _stop(arguments: argparse.Namespace) -> int:
    _say("stopped" if cluster.stop(arguments.folder, say=_say) else "no cluster runs there")
    return DONE


def _restart(arguments: argparse.Namespace) -> int:
    cluster.restart(arguments.folder, arguments.name, say=_say)
    return DONE


def _run(arguments: argparse.Namespace) -> int:
    name, known = arguments.job, job_names()
    if name not in known:
        close = difflib.get_close_matches(name, known, 1)
        hint = f"Did you mean {close[0]}?" if close else f"There is: {', '.join(known)}."
        raise ValueError(f"no job {name!r}. {hint}")
    there = cluster.running(arguments.folder)
    if there and _asks(arguments):
        there = _started(arguments)  # which refuses what differs from the cluster that runs
    ours = None if there else _started(arguments)
    found = there or ours
    assert found is not None
    from beam_etl.engines.flink.options import with_cluster  # Beam takes a second to load

    try:
        flags = with_cluster(arguments.flags, found)
        return _watched([sys.executable, "-m", f"beam_etl.pipelines.{name}", *flags, "--runner=flink"])
    finally:
        if ours:
            _say("stopping the cluster")
            cluster.stop(arguments.folder, say=_say)


def _jobs(arguments: argparse.Namespace) -> int:
    print(by_name.describe_jobs(_rest(arguments)))
    return DONE


def _attach(arguments: argparse.Namespace) -> int:
    return by_name.attach(_rest(arguments), arguments.name)


def _cancel(arguments: argparse.Namespace) -> int:
    return by_name.cancel(_rest(arguments), arguments.name)


def _savepoint(arguments: argparse.Namespace) -> int:
    return by_name.savepoint(_rest(arguments), arguments.name, arguments.target, ends=arguments.stop)


def _drain(arguments: argparse.Namespace) -> int:
    return by_name.drain(_rest(arguments), arguments.name)


def _rest(arguments: argparse.Namespace) -> FlinkRest:
    """Of the cluster that is named, else of the one of this machine."""
    if arguments.flink_master:
        return FlinkRest(arguments.flink_master)
    found = cluster.running(arguments.folder)
    if found is None:
        raise ClusterError("no cluster runs here: name one with --flink_master=HOST:PORT, its REST address")
    if not found.rest:
        raise ClusterError("the embedded Flink has no REST: its jobs are known to their own command only")
    return FlinkRest(found.rest)


def _watched(line: Sequence[str]) -> int:
    """Runs a job. Ctrl-C reaches it by the terminal, SIGTERM from here; it decides what becomes of the work.

    Neither ends this process from now on: a cluster that lives as long as the job has still to be stopped.
    """
    with subprocess.Popen(line) as job:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        for number in _ends():
            signal.signal(number, lambda *_: job.send_signal(signal.SIGTERM))
        code = job.wait()
    return code if code >= 0 else 128 - code


def _started(arguments: argparse.Namespace) -> cluster.Running:
    return cluster.start(
        arguments.folder,
        _TASK_MANAGERS if arguments.task_managers is None else arguments.task_managers,
        arguments.slots or _SLOTS,
        arguments.memory,
        arguments.high_availability,
        say=_say,
    )


def _asks(arguments: argparse.Namespace) -> bool:
    """Whether a flag says what cluster it shall be."""
    given = (arguments.task_managers, arguments.slots, arguments.memory)
    return any(value is not None for value in given) or arguments.high_availability


def _ends() -> list[signal.Signals]:
    """Signals that end a command, besides Ctrl-C. SIGHUP, of a terminal that is closed, not under `nohup`."""
    hangs_up = signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN
    return [signal.SIGTERM, *([signal.SIGHUP] if hangs_up else [])]


def _show(found: cluster.Running) -> None:
    if found.rest:
        print(f"Flink: http://{found.rest}")
    print(f"job server: {found.job_endpoint}, SDK workers: {found.pool}, logs: {found.folder}/log")
    where = cluster.folder_flag(found.folder)
    print(f"next: {COMMAND} run{where} JOB --flag=value ...; at the end: {COMMAND} stop{where}")


def job_names() -> list[str]:
    """The pipelines that run on an engine, by their modules: nothing below them imports them."""
    is_job = re.compile(r"^JOB = ", re.MULTILINE)
    return sorted(
        path.stem for path in _PIPELINES.glob("*.py") if is_job.search(path.read_text(encoding="utf-8"))
    )


def memory_bytes(text: str) -> int:
    """Bytes of `1GiB`, `768MiB` or a plain number."""
    found = re.fullmatch(r"(\d+)\s*([KMG]iB|B|)", text, re.IGNORECASE)
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} isn't an amount such as 1GiB or 768MiB")
    size = int(found[1]) * _UNITS[found[2].upper()]
    if not size:
        raise argparse.ArgumentTypeError(f"{text!r} is no memory at all")
    return size


def _count(least: int) -> Callable[[str], int]:
    def count(text: str) -> int:
        if not text.isdigit() or int(text) < least:
            raise argparse.ArgumentTypeError(f"{text!r} isn't a number from {least} on")
        return int(text)

    return count


def _boolean(text: str) -> bool:
    if text not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")
    return text == "true"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=COMMAND, description=__doc__, allow_abbrev=False)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    start = _command(commands, "start", _start, "start a cluster, and return when it takes jobs")
    _cluster_flags(start)
    _command(
        commands, "status", _status, "processes, memory, ports, slots and jobs; exit code 0 when all is up"
    )
    _command(
        commands,
        "stop",
        _stop,
        "end all processes, also those of a cluster that crashed, and remove its files",
    )
    restart = _command(commands, "restart", _restart, "start one process of a cluster again")
    restart.add_argument("name", metavar="NAME", help="as `status` shows it: jobmanager, taskmanager-1, ...")
    run = _command(commands, "run", _run, "run a job on the cluster, or on one that lives as long as the job")
    _cluster_flags(run)
    run.add_argument("job", metavar="JOB", help=", ".join(job_names()))
    run.add_argument("flags", nargs=argparse.REMAINDER, metavar="--flag=value ...", help="of the job")
    for name, command, summary in (
        ("jobs", _jobs, "the jobs that a cluster remembers, and how far they are"),
        ("attach", _attach, "show the progress of a job until it ends; Ctrl-C leaves it to itself"),
        ("cancel", _cancel, "cancel a job, and wait until it has ended"),
        ("savepoint", _savepoint, "print the path of a savepoint of a stream, taken now"),
        ("drain", _drain, "end a stream: open windows give what they have, for good"),
    ):
        control = _command(commands, name, command, summary)
        control.add_argument(
            "--flink_master", metavar="HOST:PORT", help="REST address of a cluster elsewhere"
        )
        if name != "jobs":
            control.add_argument("name", metavar="JOB_NAME", help="or the beginning of that of one that runs")
        if name == "savepoint":
            control.add_argument(
                "--target",
                metavar="URL",
                help="folder of savepoints; by default beside the job's checkpoints",
            )
            control.add_argument(
                "--stop",
                type=_boolean,
                default=False,
                metavar="true|false",
                help="end the job with it, to go on from there with --savepoint_path=PATH",
            )
    return parser


def _command(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
    name: str,
    command: Callable[[argparse.Namespace], int],
    summary: str,
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        name, help=summary, description=summary, allow_abbrev=False
    )
    parser.set_defaults(command=command)
    parser.add_argument("--folder", metavar="PATH", help="of the cluster; by default in the user's cache")
    return parser


def _cluster_flags(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "--task_managers",
        type=_count(0),
        metavar="N",
        help=f"{_TASK_MANAGERS}; with 0 Flink runs in the job server",
    )
    add("--slots", type=_count(1), metavar="N", help=f"tasks at a time of each task manager: {_SLOTS}")
    add(
        "--memory",
        type=memory_bytes,
        metavar="SIZE",
        help="of each one's JVM: 512MiB a slot, at least 1GiB",
    )
    add(
        "--high_availability",
        type=_boolean,
        default=False,
        metavar="true|false",
        help="jobs survive the job manager: false",
    )


def _interrupt(number: int, frame: FrameType | None) -> None:
    del number, frame
    raise KeyboardInterrupt


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
