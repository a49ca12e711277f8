"""What has arrived?

    doorbell     rings when something changes in the inbox; may miss things
    filesystem   what the inbox lies on, and whether the kernel still watches it
    intake       the thread that looks, judges and takes
    open_files   whether a program on this machine still writes a file
    scanner      the truth: reads the inbox into manifests and verdicts
    seen         the words for what a scan saw, as plain data
    settling     pure: manifests over time -> take | not yet, because ...
    taking       intent, renames, result; and what is not taken for now

Owns the question, from the first event to the taking. It must not know what is done for a sample afterwards.
"""
