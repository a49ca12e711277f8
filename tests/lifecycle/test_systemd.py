"""systemd/install on a machine with a real systemd, and the service that it sets up, under its full hardening.

The tests of this module share one machine and follow one another as an administrator's days do: install, configure,
start, use, disturb, upgrade, uninstall.
"""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from moichord.queue.schema import SCHEMA_VERSION
from moichord.sample import Api
from tests.builders import write_image
from tests.lifecycle.installation import (
    CHECKOUT,
    PACKAGES,
    SAMPLES,
    Installation,
    copy_of_checkout,
    is_active,
    owner_of,
    packages_for,
    pid_of,
    python_of_the_machine,
)
from tests.lifecycle.machine import Machine, booted

pytestmark = [pytest.mark.needs("root", "systemd-nspawn", "nsenter"), pytest.mark.xdist_group("systemd")]

UNIT = "moichord.service"
QUICK_API, SLOW_API = 8080, 8081
SLOW = "1s"
IMAGES = 6
MADE = ("DROPPED", "SHOWN", "KILLED", "RELOADED", "DRAINED", "NORTH", "SOUTH", "BEFORE", "AFTER", "ENCRYPTED")


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_of_checkout(tmp_path_factory.mktemp("systemd") / "checkout")


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, checkout: Path) -> Iterator[Installation]:
    """The machine, on which nothing is installed yet. A technician works there, of moichord's group."""
    samples = tmp_path_factory.mktemp("samples")
    for name in MADE:
        (samples / name).mkdir()
        for number in range(IMAGES):
            write_image(samples / name / f"{number}.dcm")
    samples.chmod(0o755)
    python = python_of_the_machine()
    visible = {checkout: CHECKOUT, packages_for(python): PACKAGES, samples: SAMPLES}
    with booted(tmp_path_factory.mktemp("machine"), visible) as machine:
        yield Installation(machine, python, samples)


@pytest.fixture(scope="module")
def machine(house: Installation) -> Machine:
    return house.machine


@pytest.fixture(scope="module")
def installed(house: Installation) -> Installation:
    house.install()
    house.machine.run("useradd", "--groups", "moichord", "--no-create-home", "technician")
    # Another try is due sooner than for administrators.
    house.drop_in("[Service]\nRestartSec=200ms\n")
    return house


@pytest.fixture(scope="module")
def service(installed: Installation) -> Installation:
    """Configured and started."""
    apis = installed.serve(QUICK_API)
    installed.serve(SLOW_API, "--latency", SLOW)
    installed.configure(apis)
    installed.machine.run("systemctl", "reset-failed", UNIT, may_fail=True)
    installed.machine.run("systemctl", "start", UNIT)
    return installed


@pytest.fixture
def slow_upload(service: Installation) -> Iterator[None]:
    """The image server takes its time, so that something can happen meanwhile."""
    ports = {f"http://127.0.0.1:{QUICK_API}/instances": f"http://127.0.0.1:{SLOW_API}/instances"}
    service.edit("/etc/moichord/config.yaml", ports)
    service.machine.run("systemctl", "restart", UNIT)
    yield
    service.edit("/etc/moichord/config.yaml", {there: here for here, there in ports.items()})
    service.machine.run("systemctl", "restart", UNIT)


# Installing


def test_a_dry_run_shows_every_step_and_changes_nothing(house: Installation) -> None:
    said = house.install("--dry-run").stdout
    for word in ("-m venv /opt/moichord/", "systemd-sysusers", "moichord -c /etc/moichord/config.yaml init", "enable"):
        assert word in said
    assert not (house.machine.root / "opt/moichord").exists()
    assert not (house.machine.root / "etc/moichord").exists()
    assert house.machine.says("getent", "passwd", "moichord") == ""


def test_after_the_installation_everything_lies_where_it_belongs(installed: Installation, machine: Machine) -> None:
    assert owner_of(machine, "/srv/moichord/inbox") == "moichord:moichord 2775"
    assert owner_of(machine, "/srv/moichord/work") == "moichord:moichord 700"
    assert owner_of(machine, "/var/lib/moichord") == "moichord:moichord 750"
    assert owner_of(machine, "/etc/moichord") == "root:moichord 750"
    assert owner_of(machine, "/etc/moichord/config.yaml") == "root:moichord 640"
    assert {owner_of(machine, f"/etc/moichord/{key}_key") for key in ("md", "u", "a")} == {"root:root 600"}
    assert machine.says("systemctl", "is-enabled", UNIT) == "enabled"
    assert not is_active(machine, UNIT), "it has no settings yet"


def test_systemd_finds_no_fault_with_the_units(installed: Installation, machine: Machine) -> None:
    verified = machine.run("systemd-analyze", "verify", UNIT, "moichord@north.service")
    assert "moichord" not in verified.stderr


def test_without_its_settings_it_says_which_are_missing_and_is_not_started_again_and_again(
    installed: Installation, machine: Machine
) -> None:
    assert machine.run("systemctl", "start", UNIT, may_fail=True).returncode != 0
    machine.wait_for(lambda: machine.property(UNIT, "ActiveState") == "failed", "the end")
    assert machine.property(UNIT, "ExecMainStatus") == "78"
    assert machine.property(UNIT, "NRestarts") == "0"
    assert "config.yaml:" in log_of(machine)


def test_a_missing_key_file_is_no_loop_either(installed: Installation, machine: Machine) -> None:
    key = machine.root / "etc/moichord/a_key"
    key.rename(key.with_suffix(".away"))
    try:
        assert machine.run("systemctl", "start", UNIT, may_fail=True).returncode != 0
        assert machine.property(UNIT, "NRestarts") == "0"
        assert "a_key" in log_of(machine)
    finally:
        key.with_suffix(".away").rename(key)


# Running


def test_it_is_active_within_five_seconds_and_says_how_it_stands(service: Installation, machine: Machine) -> None:
    assert is_active(machine, UNIT)
    started, active = (
        int(machine.property(UNIT, name))
        for name in ("ExecMainStartTimestampMonotonic", "ActiveEnterTimestampMonotonic")
    )
    assert active - started < 5_000_000
    machine.wait_for(lambda: machine.property(UNIT, "StatusText") == "nothing to do", "a line that people can read")


def test_a_dropped_sample_is_done_and_belongs_to_the_group(service: Installation, machine: Machine) -> None:
    service.drop("DROPPED")
    service.wait_until_done("DROPPED")
    assert len(service.received(QUICK_API, Api.ANALYTICS)) == 1
    assert owner_of(machine, "/srv/moichord/done/DROPPED").startswith(("moichord:moichord", "technician:moichord"))
    assert "DROPPED" in service.moichord("history").stdout
    machine.wait_for(lambda: log_of(machine, "SAMPLE=DROPPED"), "its log")


def test_its_page_and_the_pictures_on_it_come_from_inside_the_hardening(
    service: Installation, machine: Machine
) -> None:
    service.drop("SHOWN")
    service.wait_until_done("SHOWN")
    page = "http://127.0.0.1:8642"
    shown = machine.wait_for(lambda: re.search(r"/samples/([0-9a-f-]{36})", asked(machine, f"{page}/?q=SHOWN")), "it")
    kind = machine.wait_for(lambda: asked(machine, f"{page}/pictures/{shown[1]}").partition("\n")[0], "a picture")
    assert kind == "image/jpeg"
    assert "moichord_info{" in asked(machine, f"{page}/metrics")
    assert "MemoryDenyWriteExecute=yes" in machine.says("systemctl", "cat", UNIT)


def test_the_support_file_has_the_journal_of_the_service(service: Installation, machine: Machine) -> None:
    machine.wait_for(lambda: log_of(machine, "SAMPLE=SHOWN"), "its log")
    machine.run("moichord", "-c", "/etc/moichord/config.yaml", "support", "/root/support.zip")
    assert owner_of(machine, "/root/support.zip") == "root:root 600"
    assert "sample=SHOWN" in part_of(machine, "/root/support.zip", "log.txt")
    assert part_of(machine, "/root/support.zip", "problems.txt").strip() == ""


def test_who_may_not_read_the_journal_is_told_so_in_the_support_file(service: Installation, machine: Machine) -> None:
    assert service.moichord("support", "/var/lib/moichord/support.zip").returncode == 0
    said = part_of(machine, "/var/lib/moichord/support.zip", "problems.txt")
    assert "log.txt" in said
    assert "journal" in said
    assert "SHOWN" in part_of(machine, "/var/lib/moichord/support.zip", "states.json")


def test_the_keys_are_the_services_alone(service: Installation, machine: Machine) -> None:
    for user in ("technician", "nobody"):
        for path in ("/etc/moichord/md_key", f"/run/credentials/{UNIT}/md_key"):
            assert machine.run("runuser", "-u", user, "--", "cat", path, may_fail=True).returncode != 0
    assert machine.run("runuser", "-u", "moichord", "--", "cat", "/etc/moichord/md_key", may_fail=True).returncode != 0
    environment = machine.run("cat", f"/proc/{pid_of(machine, UNIT)}/environ").stdout
    assert "CREDENTIALS_DIRECTORY=" in environment
    assert "_KEY=" not in environment


def test_when_it_hangs_the_watchdog_starts_another(service: Installation, machine: Machine) -> None:
    service.drop_in("[Service]\nRestartSec=200ms\nWatchdogSec=2\nTimeoutAbortSec=2\n")
    machine.run("systemctl", "restart", UNIT)
    hanging = pid_of(machine, UNIT)
    machine.run("kill", "-STOP", str(hanging))
    machine.wait_for(lambda: is_active(machine, UNIT) and pid_of(machine, UNIT) not in (0, hanging), "a new one")
    assert "Watchdog timeout" in log_of(machine)
    service.drop_in("[Service]\nRestartSec=200ms\n")
    machine.run("systemctl", "restart", UNIT)


@pytest.mark.usefixtures("slow_upload")
def test_killed_in_the_middle_it_goes_on_by_itself(service: Installation, machine: Machine) -> None:
    before = len(service.received(SLOW_API, Api.UPLOAD))
    service.drop("KILLED")
    machine.wait_for(lambda: len(service.received(SLOW_API, Api.UPLOAD)) > before, "an upload")
    killed = pid_of(machine, UNIT)
    machine.run("systemctl", "kill", "--signal=KILL", UNIT)
    service.wait_until_done("KILLED")
    assert pid_of(machine, UNIT) not in (0, killed)


@pytest.mark.usefixtures("slow_upload")
def test_a_stop_in_mid_upload_lets_requests_in_flight_finish(service: Installation, machine: Machine) -> None:
    service.drop("DRAINED")
    machine.wait_for(lambda: "sending" in machine.property(UNIT, "StatusText"), "an upload")
    machine.run("systemctl", "stop", UNIT)
    assert machine.property(UNIT, "Result") == "success"
    machine.run("systemctl", "start", UNIT)
    service.wait_until_done("DRAINED")
    sent = Counter(one.sop_instance_uid for one in service.received(SLOW_API, Api.UPLOAD) if one.is_about("DRAINED"))
    assert list(sent.values()) == [1] * IMAGES, "no request was broken off, so none was repeated"


def test_a_reload_takes_new_settings_and_keeps_the_old_ones_instead_of_wrong_ones(
    service: Installation, machine: Machine
) -> None:
    config, pid = "/etc/moichord/config.yaml", pid_of(machine, UNIT)
    before = machine.says("cat", config)
    try:
        service.edit(config, {f"http://127.0.0.1:{QUICK_API}/instances": f"http://127.0.0.1:{SLOW_API}/instances"})
        machine.run("systemctl", "reload", UNIT)
        machine.wait_for(lambda: "is reloaded: upload.url" in log_of(machine), "the reload")
        service.edit(config, {"workers: 4": "workers: many"})
        machine.run("systemctl", "reload", UNIT)
        machine.wait_for(lambda: "config.yaml:" in machine.property(UNIT, "StatusText"), "the mistake, named")
        service.drop("RELOADED")
        service.wait_until_done("RELOADED")
        assert any(one.is_about("RELOADED") for one in service.received(SLOW_API, Api.UPLOAD))
        assert is_active(machine, UNIT), "READY came after RELOADING"
        assert pid_of(machine, UNIT) == pid
    finally:
        machine.write(config, before + "\n")
    machine.run("systemctl", "reload", UNIT)
    machine.wait_for(lambda: machine.property(UNIT, "StatusText") == "nothing to do", "the mistake to be forgotten")


# Several, and shares


def test_two_instances_run_side_by_side(service: Installation, machine: Machine) -> None:
    for name in ("north", "south"):
        service.install("--instance", name)
        service.configure(apis_of(service), name)
        machine.run("systemctl", "start", f"moichord@{name}")
        service.drop(name.upper(), f"/srv/moichord/{name}/inbox")
    ports = machine.run("bash", "-c", "grep -h '^  listen:' /etc/moichord/{config,north,south}.yaml").stdout.split()[
        1::2
    ]
    assert ports == ["127.0.0.1:8642", "127.0.0.1:8643", "127.0.0.1:8644"]
    for name in ("north", "south"):
        service.wait_until_done(name.upper(), f"/srv/moichord/{name}/done")
        assert owner_of(machine, f"/var/lib/moichord/{name}") == "moichord:moichord 750"
    inside = ("nsenter", "--mount", "--target", str(pid_of(machine, "moichord@north")), "touch")
    for place in ("/var/lib/moichord", "/srv/moichord"):
        machine.run(*inside, f"{place}/north/probe")
        assert machine.run(*inside, f"{place}/south/probe", may_fail=True).returncode != 0
    machine.run("systemctl", "stop", "moichord@south")


def test_a_share_that_is_taken_away_and_mounted_again_is_followed(service: Installation, machine: Machine) -> None:
    share, unit = "/srv/moichord/north", "moichord@north.service"
    machine.run("systemctl", "stop", unit)
    machine.run("bash", "-c", f"mkdir /mnt/share && mount -t tmpfs share /mnt/share && cp -a {share}/. /mnt/share/")
    machine.run("mount", "--bind", "/mnt/share", share)
    machine.run("systemctl", "start", unit)
    service.drop("BEFORE", f"{share}/inbox")
    service.wait_until_done("BEFORE", f"{share}/done")
    machine.run("umount", share)
    machine.wait_for(lambda: "work" in machine.property(unit, "StatusText"), "the share to be missed")
    machine.run("mount", "--bind", "/mnt/share", share)
    service.drop("AFTER", f"{share}/inbox")
    service.wait_until_done("AFTER", "/mnt/share/done")
    assert machine.property(unit, "NRestarts") == "0"
    machine.run("systemctl", "stop", unit)
    machine.run("umount", share)


def test_keys_may_be_encrypted_on_the_disk(service: Installation, machine: Machine) -> None:
    lines = ["[Service]", "LoadCredential="]
    for key in ("md_key", "u_key", "a_key"):
        file = f"/etc/moichord/{key}"
        machine.run("systemd-creds", "encrypt", "--with-key=host", f"--name={key}", file, f"{file}.cred")
        lines.append(f"LoadCredentialEncrypted={key}:{file}.cred")
    service.drop_in("\n".join(lines) + "\n")
    machine.run("systemctl", "restart", UNIT)
    service.drop("ENCRYPTED")
    service.wait_until_done("ENCRYPTED")
    service.drop_in("[Service]\nRestartSec=200ms\n")
    machine.run("systemctl", "restart", UNIT)


# Upgrading and uninstalling


def test_installing_again_changes_nothing(service: Installation, machine: Machine) -> None:
    before = (
        pid_of(machine, UNIT),
        machine.says("find", "/opt/moichord", "/etc/moichord", "-newer", "/etc/hostname", "-ls"),
    )
    said = service.install().stdout
    assert "Nothing had to be changed." in said
    assert before[0] == pid_of(machine, UNIT)
    assert before[1] == machine.says("find", "/opt/moichord", "/etc/moichord", "-newer", "/etc/hostname", "-ls")


def test_a_version_that_cannot_read_the_state_is_refused_before_anything_changes(
    service: Installation, machine: Machine, checkout: Path
) -> None:
    """As when one goes back to a version whose state is older."""
    release, pid = machine.says("readlink", "/opt/moichord/current"), pid_of(machine, UNIT)
    with (checkout / "moichord" / "__init__.py").open("a") as file:
        file.write("# an older version\n")
    schema_version(machine, 99)
    try:
        refused = service.install(may_fail=True)
    finally:
        schema_version(machine, SCHEMA_VERSION)
    assert refused.returncode == 1
    assert "has schema version 99" in refused.stderr
    assert "Install " in refused.stderr
    assert machine.says("readlink", "/opt/moichord/current") == release
    assert pid_of(machine, UNIT) == pid


def test_an_upgrade_restarts_what_runs_but_only_if_it_accepts_the_settings(
    service: Installation, machine: Machine, checkout: Path
) -> None:
    release, pid = machine.says("readlink", "/opt/moichord/current"), pid_of(machine, UNIT)
    with (checkout / "moichord" / "__init__.py").open("a") as file:
        file.write("# another version\n")
    service.edit("/etc/moichord/config.yaml", {"workers: 4": "workers: 4\ngone_in_this_version: 1"})
    refused = service.install(may_fail=True)
    assert refused.returncode == 1
    assert "gone_in_this_version" in refused.stderr
    assert machine.says("readlink", "/opt/moichord/current") == release
    assert pid_of(machine, UNIT) == pid

    service.edit("/etc/moichord/config.yaml", {"\ngone_in_this_version: 1": ""})
    service.install()
    assert machine.says("readlink", "/opt/moichord/current") != release
    assert machine.says("readlink", "/opt/moichord/previous") == release
    assert is_active(machine, UNIT)
    assert pid_of(machine, UNIT) != pid
    assert not is_active(machine, "moichord@south.service"), "what does not run is not started"
    assert len(machine.says("ls", "/opt/moichord/releases").split()) == 2


def test_one_instance_is_retired_alone(service: Installation, machine: Machine) -> None:
    machine.run("systemctl", "start", "moichord@north.service")
    pid = pid_of(machine, UNIT)
    said = service.install("--uninstall", "--instance", "north").stdout
    for stays in ("/etc/moichord/north.yaml", "/var/lib/moichord/north", "/srv/moichord/north"):
        assert f"  {stays}\n" in said
        assert machine.run("test", "-e", stays, may_fail=True).returncode == 0
    assert not is_active(machine, "moichord@north.service")
    assert "moichord@north" not in machine.says("bash", "-c", "ls /etc/systemd/system/*.wants/")
    assert "moichord@south.service" in machine.says("bash", "-c", "ls /etc/systemd/system/*.wants/")
    assert is_active(machine, UNIT)
    assert pid_of(machine, UNIT) == pid
    assert "Nothing had to be changed" in service.install("--uninstall", "--instance", "north").stdout


def test_uninstalling_leaves_what_others_put_beside_it(service: Installation, machine: Machine) -> None:
    machine.write("/opt/moichord/notes/upgrade.txt", "the administrator's own\n")
    said = service.install("--uninstall", "--dry-run").stdout
    assert "rm -rf /opt/moichord/releases" in said
    assert "rm -rf /opt/moichord\n" not in said
    machine.run("rm", "-r", "/opt/moichord/notes")


def test_uninstalling_leaves_data_and_removes_the_rest(service: Installation, machine: Machine) -> None:
    said = service.install("--uninstall").stdout
    assert machine.property(UNIT, "LoadState") == "not-found"
    for path in ("/opt/moichord", "/usr/local/bin/moichord", f"/usr/local/lib/systemd/system/{UNIT}"):
        assert machine.run("test", "-e", path, may_fail=True).returncode != 0, path
    assert machine.says("bash", "-c", "ls /etc/systemd/system/*.wants/ | grep moichord") == ""
    for path in ("/etc/moichord/config.yaml", "/etc/moichord/md_key", "/var/lib/moichord/state.db"):
        assert machine.run("test", "-s", path, may_fail=True).returncode == 0, path
    assert service.lies_in("/srv/moichord/done", "DROPPED")
    for stays in ("/etc/moichord", "/var/lib/moichord", "/srv/moichord", "the user"):
        assert stays in said
    assert "Nothing had to be removed." in service.install("--uninstall").stdout


def schema_version(machine: Machine, version: int) -> None:
    program = (
        "import sqlite3, sys; state = sqlite3.connect('/var/lib/moichord/state.db'); "
        "state.execute('update facts set value = ? where name = ?', (sys.argv[1], 'schema_version')); state.commit()"
    )
    machine.run("/opt/moichord/current/bin/python", "-c", program, str(version))


def log_of(machine: Machine, *fields: str) -> str:
    return machine.says("journalctl", "-o", "cat", "-u", UNIT, *fields)


def asked(machine: Machine, address: str) -> str:
    """What is answered there: its kind, and then, if it is a text, the text."""
    program = (
        "import sys, urllib.request; answer = urllib.request.urlopen(sys.argv[1], timeout=20); "
        "kind = answer.headers.get_content_type(); print(kind); "
        "print(answer.read().decode() if kind.startswith('text/') else '')"
    )
    return machine.says("/opt/moichord/current/bin/python", "-c", program, address)


def part_of(machine: Machine, archive: str, name: str) -> str:
    program = "import sys, zipfile; print(zipfile.ZipFile(sys.argv[1]).read(sys.argv[2]).decode())"
    return machine.run("/opt/moichord/current/bin/python", "-c", program, archive, name).stdout


def apis_of(service: Installation) -> dict[str, str]:
    """What the stand-ins said when they began."""
    lines = service.machine.says("journalctl", "-o", "cat", "-u", f"stand-ins-{QUICK_API}").splitlines()
    return dict(line.removeprefix("export ").split("=", 1) for line in lines if line.startswith("export "))
