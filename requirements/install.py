"""Makes .venv and installs a lock of this folder into it: `python install.py demo|dev [--python=NAME]`.

Standard library only, and in the syntax of Python 3.6, so that an interpreter that is too old can say so.
Nothing is done, in some 50 ms, when the lock is installed already; a changed lock gets a new environment.
"""

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time

SUPPORTED = ((3, 10), (3, 11), (3, 12), (3, 13))
HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
VENV = os.path.join(ROOT, ".venv")
VENV_PYTHON = os.path.join(VENV, "bin", "python")
STAMP = os.path.join(VENV, "installed.json")

# MB to download and MB on disk, measured on Linux x86-64 with Python 3.11; half as much again is asked for.
SIZES = {"demo": (220, 850), "dev": (340, 1300)}
# A lock that holds another one, at the same versions.
CONTAINS = {"dev": ("demo", "dev"), "demo": ("demo",)}

PROBE = """
import json, platform, struct, sys
try:
    import ensurepip, venv
    has_venv = True
except ImportError:
    has_venv = False
print(json.dumps({
    "version": sys.version_info[:3], "path": sys.executable, "venv": has_venv,
    "cpython": platform.python_implementation() == "CPython", "bits": 8 * struct.calcsize("P"),
}))
"""


class SetupError(Exception):
    """Something that the person at the terminal can mend; the message says how."""


def dotted(version):
    return ".".join(str(part) for part in version)


def probe(name):
    """What the interpreter `name` is, or None when there is none that runs."""
    try:
        found = subprocess.run([name, "-c", PROBE], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        return json.loads(found.stdout.decode()) if found.returncode == 0 else None
    except (OSError, ValueError):
        return None


def supported(python):
    return tuple(python["version"][:2]) in SUPPORTED and python["cpython"] and python["bits"] == 64


def describe(python):
    kind = "" if python["cpython"] else ", not CPython"
    bits = "" if python["bits"] == 64 else ", 32 bits"
    return "{} ({}{}{})".format(dotted(python["version"]), python["path"], kind, bits)


def choose_python(asked):
    """The interpreter asked for, else `python3` when it is supported, else the newest supported one."""
    names = [asked] if asked else ["python3"] + ["python" + dotted(v) for v in reversed(SUPPORTED)]
    found = [python for python in map(probe, names) if python]
    for python in found:
        if supported(python):
            return python
    need = "beam_etl needs 64-bit CPython {} to {}".format(dotted(SUPPORTED[0]), dotted(SUPPORTED[-1]))
    if asked and not found:
        raise SetupError("{}; PYTHON={} does not run here.".format(need, asked))
    raise SetupError(
        "{}; found {}. Install one of them, then name it: PYTHON=python{} make demo".format(
            need, ", ".join(map(describe, found)) or "no Python", dotted(SUPPORTED[-2])
        )
    )


def check_venv(python):
    if not python["venv"]:
        raise SetupError(
            "Python {0} lacks its venv module. On Debian and Ubuntu: sudo apt-get install python{1}-venv. "
            "Or name another Python: PYTHON=/path/to/python3 make demo".format(
                describe(python), dotted(python["version"][:2])
            )
        )


def check_disk(lock):
    """Free space for the environment here, and for pip's downloads in the folder for temporary files."""
    download, installed = SIZES[lock]
    for folder, size in ((ROOT, installed), (tempfile.gettempdir(), download)):
        need = size * 3 // 2
        free = shutil.disk_usage(folder).free >> 20
        if free < need:
            raise SetupError(
                "Not enough free disk at {}: {} MB are free, {} MB are needed. "
                "Free some, or point TMPDIR or this folder to another disk.".format(folder, free, need)
            )


def digest(*path):
    """Identity of a file of this repository at this place: an environment does not survive a move."""
    with open(os.path.join(ROOT, *path), "rb") as file:
        return hashlib.sha256(ROOT.encode() + file.read()).hexdigest()


def wanted_stamp(lock):
    """What is written down when a lock is installed, with all that it contains."""
    locks = {name: digest("requirements", name + ".txt") for name in CONTAINS[lock]}
    return dict(locks, project=digest("setup.py"))


def read_stamp():
    try:
        with open(STAMP) as file:
            return json.load(file)
    except (OSError, ValueError):
        return {}


def is_current(lock, asked):
    """Whether .venv holds this lock already, with the interpreter asked for."""
    if not wanted_stamp(lock).items() <= read_stamp().items():
        return False
    here = probe(VENV_PYTHON)
    wanted = probe(asked) if asked else here
    return bool(here and wanted and here["version"] == wanted["version"])


def has_pip():
    """Whether .venv has pip, which an installation that was stopped early may lack."""
    return subprocess.call([VENV_PYTHON, "-c", "import pip"], stderr=subprocess.DEVNULL) == 0


def make_venv(python, lock):
    """A new .venv, unless there is one of this interpreter in which nothing is outdated."""
    here = probe(VENV_PYTHON)
    same_python = here and here["version"] == python["version"]
    stamp = read_stamp()
    outdated = any(
        stamp.get(name, new) != new for name, new in wanted_stamp("dev").items() if name != "project"
    )
    if same_python and not outdated and has_pip():
        return
    shutil.rmtree(VENV, ignore_errors=True)
    made = subprocess.run(
        [python["path"], "-m", "venv", VENV], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    if made.returncode:
        raise SetupError("Could not make {}:\n{}".format(VENV, made.stdout.decode(errors="replace")))


def pip_install(arguments, packages):
    """Runs pip in .venv, and shows on a terminal which of `packages` it has come to."""
    command = [VENV_PYTHON, "-m", "pip", "install", "--no-input", "--disable-pip-version-check"]
    command += ["--progress-bar=off", "--retries=10", "--timeout=60", *arguments]
    pip = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    said, collected = [], 0
    for raw in pip.stdout:
        line = raw.decode(errors="replace").rstrip()
        said.append(line)
        if line.startswith("Ignoring "):  # the lock's line for another Python or platform
            packages -= 1
        elif line.startswith("Collecting "):
            collected += 1
            show("downloading {} of {}: {}".format(collected, packages, line.split()[1]))
        elif line.startswith("Installing collected"):
            show("unpacking {} packages".format(collected))
    show("")
    if pip.wait():
        raise SetupError(explain(said))


def show(text):
    if sys.stdout.isatty():
        sys.stdout.write("\r\033[K  " + text[:76] if text else "\r\033[K")
        sys.stdout.flush()


def explain(said):
    """What to do about a failed pip, after the end of what it said."""
    output = "\n".join(said)
    if "No space left on device" in output:
        advice = (
            "The disk is full: free some space (or point TMPDIR to another disk), then run the same command."
        )
    elif "No matching distribution" in output or "from versions: none" in output:
        advice = (
            "No ready-made package for this machine, or the package index cannot be reached: "
            "check the network and pip's index and proxy settings (pip config list)."
        )
    elif "HASHES" in output:
        advice = (
            "A downloaded package differs from the lock: clear pip's cache (pip cache purge) and try again."
        )
    else:
        advice = "pip failed; what it said last is above."
    return "\n".join([*said[-8:], "", advice])


def install(lock, asked):
    python = choose_python(asked)
    check_venv(python)
    check_disk(lock)
    path = os.path.join(HERE, lock + ".txt")
    with open(path) as file:
        packages = sum(line[:1].isalnum() for line in file)
    print(
        "Python {}. Making .venv and installing requirements/{}.txt into it:".format(describe(python), lock)
    )
    print(
        "about {0} MB to download (less what pip has cached), {1} MB on disk, some 30 s on a fast line. "
        "Every package is checked against its hash.".format(*SIZES[lock]),
        flush=True,
    )
    began = time.time()
    make_venv(python, lock)
    pip_install(["--require-hashes", "--only-binary=:all:", "-r", path], packages)
    pip_install(["--no-deps", "--no-build-isolation", "-e", "."], 1)
    with open(STAMP, "w") as file:
        json.dump(dict(read_stamp(), **wanted_stamp(lock)), file)
    print("Installed in {:.0f} s.".format(time.time() - began), flush=True)


def main():
    parser = argparse.ArgumentParser(description="Make .venv and install a lock into it.")
    parser.add_argument("lock", choices=sorted(SIZES))
    parser.add_argument("--python", default="", help="the interpreter to use (default: a supported one)")
    arguments = parser.parse_args()
    try:
        if not is_current(arguments.lock, arguments.python):
            install(arguments.lock, arguments.python)
    except SetupError as error:
        print(error, file=sys.stderr)
        return 1
    except OSError as error:  # a full or read-only disk shows up in any of the steps
        print(
            "{}. Free some space, or give this folder write access, and try again.".format(error),
            file=sys.stderr,
        )
        return 1
    except KeyboardInterrupt:
        print("\nStopped. The same command goes on from here.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
