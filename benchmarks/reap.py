"""Runs a command and ends after all that it started: so its CPU seconds are those of all its processes. Linux.

python -m benchmarks.reap COMMAND...
"""

import ctypes
import os
import subprocess
import sys

_SUBREAPER = 36
"""PR_SET_CHILD_SUBREAPER: processes whose parent ends become children of this one."""


def main() -> int:
    ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)
    code = subprocess.call(sys.argv[1:])
    while True:
        try:
            os.wait()
        except ChildProcessError:
            return code


if __name__ == "__main__":
    sys.exit(main())
