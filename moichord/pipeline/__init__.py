"""What is done for a sample: metadata -> tags -> upload -> analytics -> archive.

Owns the order and the steps, one file each. It must not know the queue, the inbox or the configuration file: it sees
a `Journal`, its `Equipment` and a folder.
"""
