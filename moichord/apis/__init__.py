"""The servers that moichord calls: HTTP in, words of moichord out.

Owns requests, deadlines, connections, and what an answer means. It must not know samples on disk, DICOM, the queue
or the configuration file: whoever calls gives addresses, headers and bodies. Errors that leave it: `ApiOutage`,
`ApiTransient`, `ApiRefusal` (with `SampleUnknown`), `Stopped`, `ConfigurationInvalid` when an address or a header
cannot be used at all, and whatever a body raises while it is read.

    http.py       one request to one endpoint, bounded in time, its answer or its failure
    bodies.py     what a request carries, counted and held to its length
    exchange.py   one request and its answer in time: deadlines, early answers, stopping
    transport.py  the connections below it, bounded by the exchange
    faults.py     which fault an exception of the HTTP libraries stands for
    answers.py    pure: what an answer or a fault means (outage, transient, permanent), in plain words
    replies.py    pure: what of a reply is read, kept and quoted
    masking.py    pure: our own secrets, where an answer quotes them
    bandwidth.py  how fast all uploads together may go
    metadata.py, analytics.py, upload/  the three calls of a trip
    sample_list.py, receiver.py  the list of expected samples; who is told of what happened
    preflight.py  whether the server would take what comes, asked without causing work
"""
