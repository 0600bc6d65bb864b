"""What runs of a cluster, in lines for a person."""

import time

from beam_etl.engines.flink import processes, record
from beam_etl.engines.flink.processes import Process
from beam_etl.engines.flink.rest import TERMINAL, FlinkError, FlinkRest
from beam_etl.engines.flink.settings import Plan


def describe(folder: str | None = None) -> tuple[list[str], bool]:
    """The processes of a cluster with pid, memory, time and ports, and its slots and jobs; whether all of it is up."""
    where = record.place(folder)
    found = record.read(where)
    if found is None:
        left = processes.marked(where)
        if not left:
            return [f"no cluster in {where}"], False
        return [
            f"no cluster in {where}, but processes of one: {', '.join(map(str, left))}; `stop` ends them"
        ], False
    lines = [f"{'':16}{'pid':>8}{'MB':>7}{'up':>10}  ports", *map(_process_line, found.processes)]
    dead = found.dead()
    if dead:
        lines.append(f"ended: {', '.join(dead)}. `restart NAME` starts one again, `stop` ends the others.")
    told, answers = _flink_lines(found.plan)
    return [*lines, *told], answers and found.ready and not dead


def _process_line(process: Process) -> str:
    if not process.alive():
        return f"{process.name:16}{process.pid:8}  ended"
    megabytes = processes.resident_bytes(process.pid) // 1_000_000
    ports = " ".join(str(port) for _, port in processes.listening(process.pid))
    return (
        f"{process.name:16}{process.pid:8}{megabytes:7}{_duration(time.time() - process.since):>10}  {ports}"
    )


def _flink_lines(plan: Plan) -> tuple[list[str], bool]:
    """What Flink says of itself, and whether it says that all task managers are there."""
    if plan.embedded:
        return ["Flink runs inside the job server"], True
    rest = FlinkRest(plan.address("rest"))
    try:
        overview = rest.overview()
        running = [job for job in rest.jobs() if job.state not in TERMINAL]
    except FlinkError:
        return [f"Flink doesn't answer at {rest.address}"], False
    used = f"{overview.slots - overview.free_slots} of {overview.slots} slots in use"
    lines = [f"{overview.task_managers} of {plan.task_managers} task managers, {used}"]
    lines += [f"job {job.name}: {job.state}, {_duration(job.duration_ms / 1000)}" for job in running]
    return lines, overview.task_managers == plan.task_managers


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"
