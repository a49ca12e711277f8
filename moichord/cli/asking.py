"""The commands that ask the daemon for something: retry, cancel, pause, resume.

Owns their options and answers. They write a request into the state; only the daemon moves samples. Errors: those of
the entrance, and UsageRefused for what makes no sense now.
"""

from typing import TYPE_CHECKING

import click

from moichord.cli.entrance import Entrance, OpenState, tell
from moichord.cli.looking import unknown
from moichord.errors import UsageRefused
from moichord.sample import Step

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from moichord.sample import Image, Submission

REFUSED = 1
SOME_REFUSED = 3


@click.command()
@click.argument("samples", nargs=-1, metavar="SAMPLE...")
@click.option("--all", "every", is_flag=True, help="All samples that failed.")
@click.option("--from", "from_step", type=click.Choice([str(step) for step in Step]), help="Begin again at this step.")
@click.pass_obj
def retry(entrance: Entrance, samples: tuple[str, ...], every: bool, from_step: str | None) -> int:
    """Continue failed or cancelled samples where they ended.

    Exit code 1 if it was refused, 3 if it was refused for some of several samples.
    """
    if every == bool(samples):
        raise click.UsageError("Name the samples, or give --all.")
    step = None if from_step is None else Step(from_step)
    with entrance.state(writing=True) as state:
        chosen = _all_failed(state) if every else list(dict.fromkeys(samples))
        if not chosen:
            entrance.say("No sample has failed: there is nothing to retry.")
            return 0
        refused = 0
        for sample in chosen:
            try:
                click.echo(_retry(state, sample, step))
            except UsageRefused as refusal:
                tell(refusal, entrance.command)
                refused += 1
        if refused < len(chosen):
            entrance.say(state.when())
            if state.requests.is_paused():
                entrance.say("moichord is paused: nothing goes on before `moichord resume`.")
    if not refused:
        return 0
    return REFUSED if refused == len(chosen) else SOME_REFUSED


def _all_failed(state: OpenState) -> list[str]:
    return [submission.sample_id for submission in state.standing(most=0).attention]


def _retry(state: OpenState, sample: str, step: Step | None) -> str:
    from moichord.queue.requests import reopening

    submission = _newest(state, sample)
    if _is_asked(state, submission, "retry"):
        return f"{submission.sample_id}: that was asked for already."
    detail = state.views.detail(submission.uuid)
    how = reopening(submission, detail.steps, detail.images, step)
    looked = _require_folder(state, submission, detail.images)
    state.requests.ask_retry(submission, step)
    unsure = "" if looked else ", if its folder is as it was (you may not look into it; the daemon will)"
    return f"{submission.sample_id}: goes on at {how.from_step}{unsure}."


def _require_folder(state: OpenState, submission: "Submission", images: "Sequence[Image]") -> bool:
    """Refuse early what the daemon would refuse: the folder is gone, altered, or another submission's.

    Whether it could be looked at. Images that were added are only known to the daemon.
    """
    from moichord.queue.requests import require_unaltered
    from moichord.sample import State, native, printable
    from moichord.spool import receipt_owner

    if submission.state is State.DONE:
        return True
    folder = state.whereabouts.folders.failed / (submission.place or submission.folder_name)
    try:
        owner = receipt_owner(folder)
        files = {image.relative_path: native(folder, image.relative_path) for image in images}
        found = {path: file.lstat().st_size for path, file in files.items() if _is_there(file)}
    except OSError:
        return False
    if owner != submission.uuid:
        raise UsageRefused(
            f"{submission.sample_id} cannot go on: {printable(str(folder))} is gone, or was altered.",
            remedy="Put it back as it was, or drop the sample into the inbox again as a new submission.",
        )
    if any(image.upload_began for image in images):
        require_unaltered(folder, images, found)
    return True


def _is_there(file: "Path") -> bool:
    """Raises PermissionError where nobody can tell."""
    try:
        file.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


@click.command()
@click.argument("sample")
@click.pass_obj
def cancel(entrance: Entrance, sample: str) -> None:
    """Stop a SAMPLE and move it to failed, with the reason "cancelled"."""
    with entrance.state(writing=True) as state:
        submission = _newest(state, sample)
        if _is_asked(state, submission, "cancel"):
            click.echo(f"{submission.sample_id}: that was asked for already.")
        else:
            state.requests.ask_cancel(submission)
            click.echo(f"{submission.sample_id}: is to be cancelled.")
        entrance.say(state.when())


@click.command()
@click.pass_obj
def pause(entrance: Entrance) -> None:
    """Take nothing and start nothing, until `resume`; what is being sent is finished."""
    with entrance.state(writing=True) as state:
        if state.requests.is_paused():
            click.echo("It was paused already.")
            return
        state.requests.pause()
        click.echo(entrance.in_words("Paused: nothing is taken and nothing new starts, until: moichord resume"))
        entrance.say(state.when())


@click.command()
@click.pass_obj
def resume(entrance: Entrance) -> None:
    """Go on after `pause`."""
    with entrance.state(writing=True) as state:
        if not state.requests.is_paused():
            click.echo("It was not paused.")
            return
        state.requests.resume()
        click.echo("Resumed.")
        entrance.say(state.when())


def _newest(state: OpenState, sample: str) -> "Submission":
    submission = state.views.newest(sample)
    if submission is not None:
        return submission
    if state.views.arrival_of(sample) is not None:
        raise UsageRefused(
            f"{sample} is still arriving: it has not been taken yet.",
            remedy="To stop it, take its folder out of the inbox.",
        )
    raise unknown(sample)


def _is_asked(state: OpenState, submission: "Submission", kind: str) -> bool:
    """Whether this is asked for already and not carried out yet."""
    return any(one.kind == kind and one.submission.uuid == submission.uuid for one in state.requests.open())


COMMANDS = (retry, cancel, pause, resume)
