"""What people are told without looking: messages, reports of failed samples, a heartbeat.

    news            pure: which rows of history are news, and the message that tells several of them
    timing          pure: when a message goes out, and when one that was not taken is tried again
    messages        the thread that sends messages;  receivers: Apprise, the only user of that library
    failure_report  pure: what is told of a failed sample, without values of patients
    reports         the thread that posts those reports;  unmade: those that cannot be made
    heartbeat       the thread that says once a minute whether all is well

Owns who is told what, and when. It reads the state and keeps its own marks there (`queue.announcements`): what was not
told is told later, also after a restart, and not twice. It must not move a sample nor keep one waiting: each thread
works by itself, with bounded work, and what fails is said once in the log and in the notices. Errors: StateUnwritable.
"""
