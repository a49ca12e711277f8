"""Starts daemons quickly: each is a fork of one process that has imported moichord already.

Owns the start of a daemon under test, and nothing of its behaviour: what runs is `moichord.service.serve`. Threads are
given their Python names in the kernel, so that a tracer finds them.

One JSON object a line on standard input, {"config", "log", "gate", "passed"}: the daemon begins once the FIFO `gate` is
opened for writing. Its clocks are ahead by the seconds in the file `passed`, as soon as there is one. Two lines come
back for each: {"pid"} at once, {"status"} when it has ended (-9: killed).

With `--one-worker-thread` each daemon has one thread a worker, and no others for when large samples are being sent:
which of several threads takes a turn is chance, and a point of a trip is a call of one thread.
"""

import contextlib
import ctypes
import gc
import importlib
import json
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from moichord import composition, config, logs, service
from moichord.errors import MoichordError

PR_SET_PDEATHSIG = 1
PR_SET_NAME = 15
PR_SET_PTRACER = 0x59616D61
PR_SET_PTRACER_ANY = -1
ONE_WORKER_THREAD = "--one-worker-thread"

_prctl = ctypes.CDLL(None, use_errno=True).prctl


# What moichord imports late is imported once here: a fork then starts in no time.
LATE = ("jmespath", "sqlalchemy.dialects.sqlite", "pydantic.dataclasses")


def main() -> None:
    if ONE_WORKER_THREAD in sys.argv[1:]:
        composition.LONG_SAMPLES_PER_WORKER = 0
    for name in LATE:
        importlib.import_module(name)
    warm = False
    for line in sys.stdin:
        order = json.loads(line)
        warm = warm or _warm_up(Path(order["config"]))
        pid = os.fork()
        if pid == 0:
            if order["passed"] is not None:
                _set_clocks_ahead(Path(order["passed"]))
            _run(Path(order["config"]), Path(order["log"]), Path(order["gate"]))
        _say(pid=pid)
        _, status = os.waitpid(pid, 0)
        _say(status=os.waitstatus_to_exitcode(status))


def _warm_up(config_file: Path) -> bool:
    """What is made once by the first reading of any configuration takes half of a start's time."""
    with contextlib.suppress(MoichordError):
        config.load(config_file, os.environ)
    gc.freeze()
    return True


def _say(**words: int) -> None:
    sys.stdout.write(json.dumps(words) + "\n")
    sys.stdout.flush()


def _run(config_file: Path, log: Path, gate: Path) -> NoReturn:
    status = 70
    try:
        _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        _prctl(PR_SET_PTRACER, ctypes.c_ulong(PR_SET_PTRACER_ANY))
        os.setsid()
        output = os.open(log, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600)
        for descriptor, target in ((output, 1), (output, 2), (os.open(os.devnull, os.O_RDONLY), 0)):
            os.dup2(descriptor, target)
        _name_threads()
        gate.read_bytes()
        status = _serve(config_file)
    except BaseException:  # noqa: BLE001 - a fork must not go on as the launcher
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def _serve(config_file: Path) -> int:
    try:
        settings = config.load(config_file, os.environ)
        logs.setup(stream=sys.stderr, level="info", format="console", secrets=settings.secrets())
        service.serve(settings)
    except MoichordError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0


def _set_clocks_ahead(passed: Path) -> None:
    def ahead(real: Callable[[], float]) -> Callable[[], float]:
        return lambda: real() + (float(passed.read_text()) if passed.exists() else 0.0)

    for name in ("time", "monotonic"):
        setattr(time, name, ahead(getattr(time, name)))


def _name_threads() -> None:
    run = threading.Thread.run

    def named(thread: threading.Thread) -> None:
        _prctl(PR_SET_NAME, thread.name.encode()[:15])
        run(thread)

    threading.Thread.run = named  # type: ignore[method-assign]


if __name__ == "__main__":
    main()
