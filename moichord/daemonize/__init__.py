"""A daemon without systemd: started from a terminal, and found again by later commands.

    leaving    the process leaves its terminal; the only user of python-daemon
    launch     the line between the command in the terminal and the daemon that it starts
    pid_file   who was started: for people and for `daemon stop`; the lock of the state decides who runs

Owns how a process becomes a daemon. It must not know what the daemon does. Errors: OSError; what kept a daemon from
starting, as the MoichordError that it was.

The order counts. What must be told to a person is found out before the fork: the configuration, the lock. What does not
survive leaving (threads, the database, log files, the working directory) is opened after it, with full paths.
"""

from moichord.daemonize.launch import Launch
from moichord.daemonize.leaving import complete_standard_streams, leave_terminal
from moichord.daemonize.pid_file import Process, Started, path_of, process_of, read, written

__all__ = [
    "Launch",
    "Process",
    "Started",
    "complete_standard_streams",
    "leave_terminal",
    "path_of",
    "process_of",
    "read",
    "written",
]
