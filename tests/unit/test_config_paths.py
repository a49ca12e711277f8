"""The short way to where the samples and the state are says what the long one says, or nothing."""

from pathlib import Path

import pytest

from moichord.config import load_whereabouts
from moichord.config.example import example
from moichord.config.paths import plain_places
from moichord.errors import ConfigurationInvalid

ENVIRON = {"LAB": "/lab", "EMPTY": ""}

WELL = {
    "nothing but a version": "version: 1\n",
    "the folders": "folders: {inbox: /a/inbox, done: /b/done, failed: /c/failed}\nstate: /d/state.db\n",
    "a work of its own": "folders: {inbox: /a/inbox, work: /a/hidden/work}\n",
    "work named as null": "folders: {inbox: /a/inbox, work: null}\n",
    "dots in paths": "folders: {inbox: /a/./b/../inbox}\n",
    "variables": "folders: {inbox: '${LAB}/inbox', done: '${NONE:-/srv/done}'}\nstate: ${LAB}/state.db\n",
    "mistakes elsewhere": "version: 1\nmetadata: {url: '${NOT_SET}', colour: blue}\nworkers: many\n",
    "a byte order mark": "\ufeffversion: 1\nstate: /d/state.db\n",
}
WRONG = {
    "no block": "- 1\n",
    "no YAML": "folders: {inbox: [}\n",
    "another version": "version: 2\n",
    "a version that is a text": "version: '1'\n",
    "an unknown key": "folders: {inbox: /a/inbox, outbox: /b}\n",
    "a key twice": "state: /a/state.db\nstate: /b/state.db\n",
    "no full path": "folders: {inbox: inbox}\n",
    "a number for a path": "state: 7\n",
    "null for a path": "folders: {done: null}\n",
    "folders that are no block": "folders: /srv\n",
    "one inside another": "folders: {inbox: /a, done: /a/done}\n",
    "the state in a folder": "folders: {inbox: /a/inbox}\nstate: /a/inbox/state.db\n",
    "another database": "state: postgresql://lab/moichord\n",
    "a variable that is not set": "state: ${NOT_SET}/state.db\n",
}


def written(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "moichord.yaml"
    file.write_text(text, encoding="utf-8")
    return file


@pytest.mark.parametrize("name", WELL)
def test_both_ways_say_the_same(tmp_path: Path, name: str) -> None:
    file = written(tmp_path, WELL[name])
    assert plain_places(file, ENVIRON) == load_whereabouts(file, ENVIRON).places()


def test_the_example_is_read_so(tmp_path: Path) -> None:
    file = written(tmp_path, example(tmp_path, tmp_path / "state" / "state.db"))
    assert plain_places(file, {}) == load_whereabouts(file, {}).places()


@pytest.mark.parametrize("name", WRONG)
def test_where_there_is_something_to_say_the_long_way_says_it(tmp_path: Path, name: str) -> None:
    file = written(tmp_path, WRONG[name])
    assert plain_places(file, ENVIRON) is None
    with pytest.raises(ConfigurationInvalid):
        load_whereabouts(file, ENVIRON)


def test_a_file_that_cannot_be_read_gives_nothing(tmp_path: Path) -> None:
    assert plain_places(tmp_path / "missing.yaml", {}) is None
    (tmp_path / "latin.yaml").write_bytes(b"state: /a/\xe4.db\n")
    assert plain_places(tmp_path / "latin.yaml", {}) is None
