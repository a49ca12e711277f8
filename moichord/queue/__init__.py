"""What is to be done, and what became of it: the state, in SQLite; the only SQL.

    schema        the tables, and the transitions drawn
    migrations    versions of the database
    files         its files: their modes, and copies from before an upgrade
    database      one writer, many readers
    rows          from rows to plain data
    arrivals      what is arriving, and the taking of it
    transitions   a submission's turns: claimed, and waiting again
    endings       to done or failed, and back by retry
    journal       what the steps write down
    circuits      which servers serve
    requests      what people asked for
    bulletin      what the daemon publishes
    views         what people and programs ask
    holder        whose state it is: one daemon at a time

Owns the truth about every submission. It must not move folders or send requests. Errors: see the modules.
"""
