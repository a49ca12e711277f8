"""The one-shot: one directory, once, without inbox, state or daemon.

    run           the order: check, fetch, update, send, trigger; and how each ending is told
    directory     which files of the directory are its images
    journal       what the steps remember, in memory
    retrying      again after a failure that may pass, in this process
    environment   the settings' variables, from the environment and a .env file
    progress      bars on a terminal

Owns what the original script did, with its flags, its environment and its log file. It must not know the queue, and
nothing on its path needs a POSIX-only module. `run_once` answers with an exit code; no error of ours leaves it.
"""

from moichord.oneshot.run import OneShot, run_once

__all__ = ["OneShot", "run_once"]
