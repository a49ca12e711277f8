"""What has arrived?

doorbell   rings when something changes in the inbox; may miss things
scanner    the truth: reads the inbox into manifests and verdicts
seen       the words for what a scan saw, as plain data
settling   pure: manifests over time -> take | not yet, because ...
"""
