"""Why a job failed, in the few lines that say so, from the stack that Flink keeps."""

import re

_TRACEBACK = "Traceback (most recent call last):"
_CHAINED = re.compile(
    r"\n\n(?:During handling of the above exception, another exception occurred|"
    r"The above exception was the direct cause of the following exception):\n\n"
)
_JAVA_FRAME = re.compile(r"^\t(?:at |\.\.\. ).*$", re.MULTILINE)
_PYTHON_FRAME = re.compile(r'^  File "(.*?)".*\n(?:    .*\n)*', re.MULTILINE)
_CLASS = re.compile(r"^(?:[\w$]+\.)+([\w$]+)(?::\s|$)")
_GAVE_UP = "Recovery is suppressed by"
_BEAM = "apache_beam/"
_MOST = 4000
"""Characters: a message may hold the value that it complains of."""

_WORKER_ENDED = re.compile(
    r"client cancelled|Process died with exit code|SDK harness .*(?:closed|disconnected)"
)
_WORKER_HINT = "an SDK worker ended while it was needed: killed, out of memory, or crashed in native code"


def cause(stack: str) -> str:
    """What a person needs of a Java stack.

    A Python exception is given as its own last line, with the step that it came from, then the places in code that
    isn't Beam's. Of others, the messages from the outermost to the innermost, each once.
    """
    return _python_cause(stack) or _java_cause(stack)


def _python_cause(stack: str) -> str | None:
    _, found, rest = stack.partition(_TRACEBACK)
    if not found:
        return None
    own = re.split(r"\n(?:\tat |\t\.\.\. |Caused by: )", rest, maxsplit=1)[0]
    # Beam raises it once more with the name of the step: that is the last one.
    last = _CHAINED.split(own)[-1].removeprefix(_TRACEBACK).strip("\n") + "\n"
    places = "".join(frame[0] for frame in _PYTHON_FRAME.finditer(last) if _BEAM not in frame[1])
    message = _PYTHON_FRAME.sub("", last).strip()
    return f"{message[:_MOST]}\n{places}".rstrip()


def _java_cause(stack: str) -> str:
    told = [
        text.strip() for text in re.split(r"^Caused by: ", _JAVA_FRAME.sub("", stack), flags=re.MULTILINE)
    ]
    told = [text for text in told if _GAVE_UP not in text] or told
    # The message of a wrapper repeats the one it wraps.
    messages = [_CLASS.sub("", text) or text for text in told]
    alone = [text for at, text in enumerate(told) if not any(later in text for later in messages[at + 1 :])]
    lines = "\n  caused by ".join(_CLASS.sub(r"\1: ", text).rstrip(": ") for text in alone)[:_MOST]
    return f"{_WORKER_HINT}\n{lines}" if _WORKER_ENDED.search(lines) else lines
