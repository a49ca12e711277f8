"""What people see of the state.

    standing    everything at one moment, as plain data
    phrases     times, durations and sizes as people say them
    sentences   pure: what that moment means, in words: the banner, a sample's plain state, why it waits
    report      the same as JSON, for programs
    terminal    the same drawn on a terminal, once or again and again
    timeline    one sample drawn on a terminal, and history

Owns the words and the drawing. It must not change anything. No error of its own leaves it.
"""
