"""How much memory each process of a cluster had at most."""

import threading
from collections import defaultdict
from pathlib import Path

from beam_etl.engines.flink import cluster, processes

EVERY_SECONDS = 0.5
WORKERS = "SDK worker"


class Peaks(threading.Thread):
    """While inside, looks at all processes of a cluster, its workers among them, again and again."""

    def __init__(self, running: cluster.Running) -> None:
        super().__init__(daemon=True)
        self._folder = running.folder
        self._names = {process.pid: process.name for process in running.processes}
        self._peaks: defaultdict[int, int] = defaultdict(int)
        self._over = threading.Event()

    def __enter__(self) -> "Peaks":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.join()

    def run(self) -> None:
        while not self._over.wait(EVERY_SECONDS):
            for process in processes.marked(self._folder):
                self._peaks[process] = max(self._peaks[process], resident_peak(process))

    def by_name(self) -> dict[str, int]:
        """MiB of each process at its peak; of all workers the largest."""
        found: dict[str, int] = {}
        for process, size in self._peaks.items():
            name = self._names.get(process, WORKERS)
            found[name] = max(found.get(name, 0), size >> 20)
        return found


def resident_peak(process: int) -> int:
    """Bytes, as the kernel kept count; 0 for a process that is gone."""
    try:
        lines = Path(f"/proc/{process}/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), 0)
