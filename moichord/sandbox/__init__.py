"""The rehearsal room: stand-in APIs on loopback and generated samples, for demonstrations, rehearsals and tests.

Nothing outside this folder depends on it but the commands `sandbox` and `demo`.
"""
