"""A build by a Dask cluster of processes with stores of their own: the bytes of a build here, whoever is killed meanwhile."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import struct
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.machines import Machines
from tests.e2e.project import Project, flip, old

pytest.importorskip("distributed", reason="the extra `dask` is not installed")

TOML = """\
[cache]
remote = "file://{share}"
[model.chat]
from = "./weights"
system = "Hello."
[model.chat.matrix]
quantize = ["q8_0", "q4_0", "q4_K_M", "q5_K_M", "q6_K", "q3_K_M", "q5_0", "q2_K"]
"""
SIZE = {"layers": 3, "hidden": 512, "intermediate": 1024, "vocabulary": 4000}
KILLS = int(os.environ.get("MODELBUILD_KILLS", "20"))
"""Random moments at which a worker is killed."""


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machines]:
    found = Machines(tmp_path_factory.mktemp("machines"))
    yield found
    found.end()


class Clone(Project):
    """A clone of the project on the machine that builds; `number` tells its weights from those of others, tensor by tensor."""

    def __init__(self, folder: Path, machines: Machines, number: int) -> None:
        super().__init__(folder)
        self.write("ModelBuild.toml", TOML.format(share=machines.share))
        weights = self.checkpoint(**SIZE) / "model.safetensors"
        with weights.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            header = json.loads(file.read(length))
        for name, entry in header.items():
            if name != "__metadata__":
                flip(weights, 8 + length + entry["data_offsets"][0], number)
        for path in weights.parent.iterdir():
            old(path)

    def begin(self, *words: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(self.command(*words), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def local(project: Project) -> dict[str, bytes]:
    """What a build here makes, without the shared cache."""
    project.build("--remote-cache", "off", models=project.folder / "models-here", cache=project.folder / "cache-here")
    return project.tree(project.folder / "models-here")


pytestmark = pytest.mark.peer


def test_workers_make_the_bytes_of_a_build_here_and_a_kill_costs_time_alone(
    machines: Machines, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dice, seconds, killed = random.Random(15), 5.0, 0
    for number in range(KILLS + 1):
        project = Clone(tmp_path / str(number), machines, number + 1)
        expected = local(project)
        begun = time.monotonic()
        build = project.begin("--executor", machines.url)
        victim = dice.choice(sorted(machines.workers))
        timer = threading.Timer(dice.uniform(0.2, 1.0) * seconds, machines.kill, [victim])
        if number:
            timer.start()
        _, said = build.communicate(timeout=300)
        timer.cancel()
        if number:
            timer.join()
        assert build.returncode == 0, said.decode()
        assert project.tree() == expected
        took = time.monotonic() - begun
        with capsys.disabled():
            print(f" {took:.1f}", end="", flush=True)
        if machines.workers[victim].poll() is not None:
            killed += 1
            machines.begin(victim)
            machines.awaited(victim)
        else:
            seconds = took
        shutil.rmtree(project.folder)
    assert killed >= KILLS // 2
    runners = [name for name in machines.workers if "layer " in machines.log(name)]
    assert len(runners) > 1, "the work was spread"


def test_two_builds_at_once_share_the_work(machines: Machines, tmp_path: Path) -> None:
    projects = [Clone(tmp_path / name, machines, 100) for name in "ab"]
    builds = [each.begin("--executor", machines.url) for each in projects]
    for build in builds:
        _, said = build.communicate(timeout=300)
        assert build.returncode == 0, said.decode()
    assert projects[0].tree() == projects[1].tree()


def test_a_lost_scheduler_is_said_and_what_is_finished_is_kept(tmp_path: Path) -> None:
    machines = Machines(tmp_path / "machines", 2)
    try:
        project = Clone(tmp_path / "project", machines, 120)
        expected = local(project)
        build = project.begin("--executor", machines.url)
        while not list((machines.share / "ac").glob("*")) or not machines.log("worker0").count("layer "):
            assert build.poll() is None
            time.sleep(0.02)
        machines.scheduler.send_signal(signal.SIGKILL)
        _, said = build.communicate(timeout=120)
        text = said.decode()
        assert build.returncode == 1 and text.count("is gone") == 1 and "Traceback" not in text, text
        ran = project.build()
        assert len([name for name in ran if name.endswith("/model")]) < 8
        assert project.tree() == expected
    finally:
        machines.end()


def test_workers_that_dask_starts_are_ours_by_a_preload(tmp_path: Path) -> None:
    env = {
        "DASK_DISTRIBUTED__WORKER__PRELOAD": '["modelbuild.session.cluster.dask_worker"]',
        "MODELBUILD_REMOTE": f"file://{tmp_path}/machines/share",
        "MODELBUILD_CACHE": str(tmp_path / "cache"),
    }
    machines = Machines(tmp_path / "machines", 0, env=env)
    words = ["-m", "distributed.cli.dask_worker", machines.address, "--nthreads", "2", "--no-dashboard"]
    machines.workers["dask"] = machines.start("dask", [*words, "--local-directory", str(tmp_path)])
    try:
        project = Clone(tmp_path / "project", machines, 140)
        expected = local(project)
        build = project.begin("--executor", machines.url)
        _, said = build.communicate(timeout=300)
        assert build.returncode == 0, said.decode()
        assert project.tree() == expected and list((tmp_path / "cache" / "blobs").iterdir())
    finally:
        machines.workers["dask"].terminate()
        machines.workers["dask"].wait(60)
        machines.end()


def test_with_tls_as_dask_has_it(tmp_path: Path) -> None:
    from distributed.security import Security

    security = Security.temporary()
    files = {}
    for name in (
        "ca_file",
        "client_cert",
        "client_key",
        "worker_cert",
        "worker_key",
        "scheduler_cert",
        "scheduler_key",
    ):
        files[name] = tmp_path / name
        files[name].write_text(getattr(security, f"tls_{name}"))
    env = {"DASK_DISTRIBUTED__COMM__TLS__CA_FILE": str(files["ca_file"])}
    for role in ("client", "worker", "scheduler"):
        for what in ("cert", "key"):
            env[f"DASK_DISTRIBUTED__COMM__TLS__{role.upper()}__{what.upper()}"] = str(files[f"{role}_{what}"])
    machines = Machines(tmp_path / "machines", 1, protocol="tls", env=env)
    try:
        project = Clone(tmp_path / "project", machines, 130)
        expected = local(project)
        words = project.command("--executor", machines.url)
        plain = subprocess.run(words, capture_output=True, timeout=120, check=False)
        assert plain.returncode == 1 and b"no Dask scheduler answers" in plain.stderr, plain.stderr
        done = subprocess.run(words, capture_output=True, timeout=300, env={**os.environ, **env}, check=False)
        assert done.returncode == 0, done.stderr.decode()
        assert project.tree() == expected
    finally:
        machines.end()
