"""What Prometheus reads, and the rules and the dashboard that are shipped for it."""

import json
import re
import subprocess
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from moichord.sample import State, Step
from moichord.status.metrics import WAITS_FOR, render
from moichord.status.standing import Disk, disks
from tests.unit.status.lab import MIB, Lab, whole_story

SHIPPED = Path(__file__).parents[3] / "systemd"
RULES = SHIPPED / "prometheus-alerts.yml"
DASHBOARD = SHIPPED / "grafana-dashboard.json"
DISKS = [Disk(("work", "done"), 5, 10)]


def read(lab: Lab, *, daemon: bool = True) -> dict[str, dict[tuple[str, ...], float]]:
    """By name: the values by the labels' values."""
    text = render(lab.standing(daemon=daemon), DISKS).decode()
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sample.labels.values())] = sample.value
    return found


def test_samples_are_counted_by_what_they_do(lab: Lab) -> None:
    whole_story(lab)
    told = read(lab)
    counted = {key[0]: value for key, value in told["moichord_samples"].items()}
    assert counted == {"receiving": 1, "ready": 1, "processing": 2, "waiting": 1}
    assert told["moichord_ended_submissions"] == {("done",): 1, ("failed",): 1, ("cancelled",): 1}
    assert told["moichord_attention_samples"] == told["moichord_misnamed_folders"] == {(): 1}
    assert told["moichord_waiting_samples"][("retry",)] == 1


def test_what_is_left_to_send_is_counted_in_bytes(lab: Lab) -> None:
    sending = lab.processing("MO-1", Step.UPLOAD)
    lab.sent(sending, 2)
    lab.taken("MO-2", size=7 * MIB)
    lab.bulletin.publish([], {sending.uuid: 9 * MIB})
    told = read(lab)
    assert told["moichord_queue_bytes"] == {(): 50 * MIB + 7 * MIB}
    assert told["moichord_sending_bytes"] == {(): 9 * MIB}


def test_a_server_that_fails_everybody_is_down_and_says_for_how_long(lab: Lab) -> None:
    lab.outage(lab.processing("MO-1", Step.UPLOAD))
    lab.clock.at += 60
    told = read(lab)
    assert told["moichord_api_up"] == {("metadata",): 1, ("upload",): 0, ("analytics",): 1}
    assert told["moichord_api_outage_seconds"][("upload",)] == 60
    assert told["moichord_waiting_samples"][("upload",)] == 1


def test_answers_are_counted_and_never_forgotten(lab: Lab) -> None:
    lab.sent(lab.processing("MO-1", Step.UPLOAD), 2)
    assert read(lab)["moichord_api_answers_total"][("upload",)] == 2


def test_times_are_those_of_the_oldest_and_of_the_last(lab: Lab) -> None:
    lab.ended(lab.processing("MO-1", Step.ARCHIVE), State.DONE)
    done = lab.clock.at
    lab.clock.at += 100
    lab.taken("MO-2")
    lab.clock.at += 50
    told = read(lab)
    assert told["moichord_oldest_sample_seconds"] == {(): 50}
    assert told["moichord_last_done_timestamp_seconds"] == {(): done}
    assert told["moichord_last_taken_timestamp_seconds"] == {(): done + 100}


def test_disks_are_told_by_folder_and_one_that_is_gone_is_left_out(lab: Lab) -> None:
    assert read(lab)["moichord_disk_free_bytes"] == {("work",): 5, ("done",): 5}
    found = disks({"work": lab.root / "work", "done": lab.root / "done", "failed": lab.root / "gone"})
    assert [one.folders for one in found] == [("work", "done")]


def test_no_label_names_a_sample_however_many_there_are(lab: Lab) -> None:
    few = len(read(lab)["moichord_waiting_samples"])
    whole_story(lab)
    text = render(lab.standing(), DISKS).decode()
    assert "MO-1" not in text
    assert "slides" not in text
    assert len(read(lab)["moichord_waiting_samples"]) == few == len(WAITS_FOR)


@pytest.mark.parametrize("file", [RULES, DASHBOARD], ids=["rules", "dashboard"])
def test_what_is_shipped_uses_only_metrics_that_there_are(lab: Lab, file: Path) -> None:
    lab.ended(lab.processing("MO-1", Step.ARCHIVE), State.DONE)
    used = set(re.findall(r"\bmoichord_\w+", file.read_text("utf-8")))
    assert used
    assert used - read(lab).keys() == set()


def test_the_dashboard_has_no_two_panels_in_one_place() -> None:
    places = [tuple(sorted(panel["gridPos"].items())) for panel in json.loads(DASHBOARD.read_text("utf-8"))["panels"]]
    assert len(places) == len(set(places)) > 5


@pytest.mark.needs("promtool")
def test_promtool_finds_nothing_wrong_with_metrics_and_rules(lab: Lab) -> None:
    whole_story(lab)
    metrics = subprocess.run(
        ["promtool", "check", "metrics"], input=render(lab.standing(), DISKS), capture_output=True, check=False
    )
    assert (metrics.returncode, metrics.stdout + metrics.stderr) == (0, b"")
    rules = subprocess.run(["promtool", "check", "rules", RULES], capture_output=True, text=True, check=False)
    assert rules.returncode == 0, rules.stdout + rules.stderr
