"""The page for people, in a browser: who may see it, what it says, what can be asked for on it.

    server        listens; a port in use stops nothing else
    application   which address is answered by what
    guard         every request before that: the host it names, who asks, the headers of every answer
    sessions      pure: sealed cookies, and the token of every form
    passwords     the password file;  attempts: how often somebody may try;  entrance: signing in and out
    present       how it stands, read at most once for all who look;  live: tells browsers that it changed
    kept          what was said at that look, for all who ask the same
    pages         the pages;  rows, story, days: pure, what is said on them;  drawing: the templates
    actions       retry and cancel
    interface     JSON for programs, /healthz, /readyz
    pictures      thumbnails, made by a process of their own

Owns HTTP towards browsers. It reads by connections that cannot write; what people ask for goes through
`queue.requests` as a row that the daemon carries out. It must not move a sample. No error leaves it but those of the
server's start.
"""
