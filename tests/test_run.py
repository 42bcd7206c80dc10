"""run.py: what it decides, with real pip, real files and a real server wherever one can run."""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import tomllib
import venv
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCE = (ROOT / "run.py").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def run() -> ModuleType:
    spec = importlib.util.spec_from_file_location("facegen_run", ROOT / "run.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["facegen_run"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def environment(run: ModuleType, tmp_path: Path) -> object:
    """A real virtual environment without pip."""
    venv.create(tmp_path / "venv", with_pip=False)
    return run.Environment(tmp_path / "venv")


def plant(environment: object, name: str) -> None:
    """Make a distribution of that name look installed."""
    site = environment.ask("import sysconfig; print(sysconfig.get_path('purelib'))")  # type: ignore[attr-defined]
    folder = Path(site) / f"{name.replace('-', '_')}-1.0.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")


def test_needs_only_the_standard_library() -> None:
    names = set()
    for node in ast.walk(ast.parse(SOURCE)):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add((node.module or "").partition(".")[0])
    assert names
    assert names <= sys.stdlib_module_names


def test_an_old_python_reads_the_file_and_gets_a_sentence() -> None:
    ast.parse(SOURCE, feature_version=(3, 7))
    code = (
        "import runpy, sys; sys.version_info = (3, 9, 2); sys.argv = ['run.py', 'demo']; "
        f"runpy.run_path({str(ROOT / 'run.py')!r}, run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1
    assert "FaceGen needs Python 3.11 or newer; this is Python 3.9.2." in done.stderr
    assert "Traceback" not in done.stderr


def test_demo_asks_for_nothing_that_needs_torch() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    needed = project["dependencies"] + extras["app"] + extras["cpu"]
    names = {re.match(r"[\w.-]+", line).group().lower() for line in needed}  # type: ignore[union-attr]
    assert not names & {"torch", "monai", "lightning", "onnxscript", "tensorboard"}


def test_words_after_two_dashes_go_on(run: ModuleType) -> None:
    options = run.parse(["test", "--no-training", "--", "-k", "volume", "--lf"])
    assert options.rest == ["-k", "volume", "--lf"]
    assert options.no_training


@pytest.mark.parametrize("words", [[], ["demo", "--hedless"], ["test", "--torch", "x", "--no-t"]])
def test_wrong_words_end_with_status_2(run: ModuleType, words: list[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        run.parse(words)
    assert stop.value.code == 2


def test_missing_libraries_and_programs_are_named_by_package(run: ModuleType) -> None:
    packages = run.missing_packages({"libno-such-thing.so.9": "libno9"}, {"no-such-x": "nox"})
    assert packages == ["libno9", "nox"]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems always have a screen")
def test_a_display_left_over_is_no_screen(run: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    if os.environ.get("DISPLAY"):  # pytest-xvfb's
        assert run.has_screen()
    monkeypatch.setenv("DISPLAY", ":987")
    assert run.has_screen() is not run.loads("libxcb.so.1")
    monkeypatch.delenv("DISPLAY")
    assert not run.has_screen()


def test_not_root_gets_the_exact_line(run: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(run.os, "geteuid", lambda: 1000, raising=False)
    with pytest.raises(run.AdviceError) as stop:
        run.install_packages(["libgl1", "xvfb"])
    line = "sudo apt-get install -y --no-install-recommends libgl1 xvfb"
    assert str(stop.value).endswith(line)


def test_services_are_held_while_packages_are_installed(run: ModuleType, tmp_path: Path) -> None:
    policy = tmp_path / "policy-rc.d"
    with run.services_held(policy):
        if sys.platform != "win32":
            assert subprocess.run([policy, "munge", "start"], check=False).returncode == 101
    assert not policy.exists()
    policy.write_text("mine")
    with run.services_held(policy):
        assert policy.read_text() == "mine"
    assert policy.read_text() == "mine"


def test_slurm_is_installed_by_root_and_never_demanded(
    run: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    asked = []

    def refuse(packages: list[str]) -> None:
        asked.append(packages)
        raise run.AdviceError("The mirror is gone.")

    there = {"apt-get": "/usr/bin/apt-get"}
    monkeypatch.setattr(run.shutil, "which", there.get)
    monkeypatch.setattr(run, "install_packages", refuse)
    monkeypatch.setattr(run, "POLICY", tmp_path / "policy-rc.d")
    monkeypatch.setattr(run.os, "geteuid", lambda: 1000, raising=False)
    run.install_slurm()
    assert asked == []
    monkeypatch.setattr(run.os, "geteuid", lambda: 0, raising=False)
    run.install_slurm()
    assert asked == [["munge", "slurm-wlm"]]
    assert "will be skipped. The mirror is gone." in capsys.readouterr().out
    there.update({"sbatch": "/usr/bin/sbatch", "slurmctld": "/x", "munged": "/x"})
    run.install_slurm()
    assert len(asked) == 1


def test_both_runtimes_are_refused_with_the_line_that_mends_it(
    run: ModuleType, environment: object
) -> None:
    assert run.runtime_extra(environment) == "cpu"
    plant(environment, "onnxruntime-gpu")
    assert run.runtime_extra(environment) == "gpu"
    plant(environment, "onnxruntime")
    with pytest.raises(run.AdviceError, match="pip uninstall -y onnxruntime onnxruntime-gpu"):
        run.runtime_extra(environment)


def test_an_installation_counts_until_pyproject_changes(
    run: ModuleType, environment: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "ROOT", tmp_path)
    (tmp_path / "pyproject.toml").write_text("[project]\n")
    stamp = {"hash": run.fingerprint(environment), "extras": ["app", "cpu"]}
    environment.stamp.write_text(json.dumps(stamp))  # type: ignore[attr-defined]
    assert run.installed_extras(environment) == {"app", "cpu"}
    run.install(environment, {"app"})  # there is no pip: it would fail if it tried
    (tmp_path / "pyproject.toml").write_text("[project]\nname = 'other'\n")
    assert run.installed_extras(environment) == set()
    environment.stamp.write_text("half a sta")  # type: ignore[attr-defined]
    assert run.installed_extras(environment) == set()


def test_a_folder_with_other_things_in_it_is_left_alone(run: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "letters").write_text("mine")
    with pytest.raises(run.AdviceError, match="is not a virtual environment"):
        run.Environment(tmp_path).make()
    assert (tmp_path / "letters").read_text() == "mine"


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A real web server on loopback: its folder and its address."""
    handler = lambda *words: _Quiet(*words, directory=str(tmp_path))  # noqa: E731
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as web:
        thread = threading.Thread(target=web.serve_forever)
        thread.start()
        yield tmp_path, f"http://127.0.0.1:{web.server_port}"
        web.shutdown()
        thread.join()


def item(name: str, url: str) -> dict[str, object]:
    return {"metadata": {"name": name}, "download_info": {"url": url, "archive_info": {}}}


def test_sizes_come_from_servers_and_disks(run: ModuleType, server: tuple[Path, str]) -> None:
    folder, address = server
    with open(folder / "big.whl", "wb") as file:
        file.truncate(700_000_000)
    with open(folder / "small one.whl", "wb") as file:
        file.truncate(5_000)
    here = {"metadata": {"name": "facegen"}, "download_info": {"url": "file:///", "dir_info": {}}}
    report = {
        "install": [
            here,
            item("torch", f"{address}/big.whl"),
            item("fsspec", (folder / "small one.whl").as_uri()),
            item("gone", f"{address}/no-such.whl"),
        ]
    }
    assert run.fetched(report) == (700_005_000, [])


def test_cuda_of_unknown_size_counts_as_too_much(run: ModuleType, tmp_path: Path) -> None:
    report = {"install": [item("nvidia-cublas", (tmp_path / "gone.whl").as_uri())]}
    total, cuda = run.fetched(report)
    assert total > run.LIMIT_BYTES
    assert cuda == ["nvidia-cublas"]


def wheel(folder: Path, name: str, needs: str = "") -> Path:
    """Write a minimal wheel by hand."""
    import zipfile

    path = folder / f"{name}-1.0-py3-none-any.whl"
    info = f"{name}-1.0.dist-info"
    requires = f"Requires-Dist: {needs}\n" if needs else ""
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(
            f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n{requires}"
        )
        file.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        file.writestr(f"{info}/RECORD", "")
    return path


def test_too_much_to_fetch_stops_and_names_two_ways(
    run: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Real pip resolves a real wheel that needs another; the limit is lowered to meet them."""
    wheel(tmp_path, "nvidia_something")
    target = wheel(tmp_path, "thing", "nvidia-something")
    for name in [n for n in os.environ if n.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    environment = run.Environment(Path(sys.prefix))
    words = ("install", "--dry-run", "--report", str(tmp_path / "r.json"), str(target))
    environment.pip(*words)
    report = json.loads((tmp_path / "r.json").read_text())
    total, cuda = run.fetched(report)
    size = sum(path.stat().st_size for path in tmp_path.glob("*.whl"))
    assert (total, cuda) == (size, ["nvidia-something"])

    monkeypatch.setattr(run.Environment, "pip", lambda self, *w: _copy(w, report))
    assert run.check_size(environment, "thing") == size
    monkeypatch.setattr(run, "LIMIT_BYTES", size - 1)
    with pytest.raises(run.AdviceError) as stop:
        run.check_size(environment, "thing")
    assert '--torch "ARGS FOR PIP"' in str(stop.value)
    assert "--no-training" in str(stop.value)


def _copy(words: tuple[str, ...], report: dict[str, object]) -> None:
    """Stand where pip would write its report again (an editable target needs a build backend)."""
    Path(words[words.index("--report") + 1]).write_text(json.dumps(report))


def test_being_offline_is_one_sentence(run: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [n for n in os.environ if n.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_RETRIES", "1")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    with pytest.raises(run.AdviceError, match="package index cannot be reached") as stop:
        run.Environment(Path(sys.prefix)).pip("install", "no-such-thing-at-all")
    assert "\n" not in str(stop.value)


@pytest.mark.skipif(sys.platform == "win32", reason="signals differ")
def test_ctrl_c_reaches_the_child_and_leaves_no_traceback(tmp_path: Path) -> None:
    """The child tidies up, run.py says it stopped."""
    child = (
        "import time, pathlib\n"
        f"p = pathlib.Path({str(tmp_path)!r})\n"
        "try:\n (p / 'started').touch(); time.sleep(60)\n"
        "except KeyboardInterrupt:\n time.sleep(0.3); (p / 'tidied').touch()\n"
    )
    code = (
        f"import runpy, sys; r = runpy.run_path({str(ROOT / 'run.py')!r})\n"
        f"r['main'].__globals__['demo'] = lambda o, e: r['call'](sys.executable, '-c', {child!r})\n"
        "sys.exit(r['main'](['demo']))"
    )
    command = [sys.executable, "-c", code]
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        deadline = time.monotonic() + 20
        while not (tmp_path / "started").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGINT)
        _, stderr = process.communicate(timeout=20)
    assert process.returncode == 130
    assert stderr == "Stopped.\n"
    assert (tmp_path / "tidied").exists()


def test_without_training_skips_what_needs_torch_and_nothing_else(tmp_path: Path) -> None:
    blocked = "raise ModuleNotFoundError(\"No module named 'torch'\", name='torch')\n"
    (tmp_path / "torch.py").write_text(blocked)
    (tmp_path / "test_top.py").write_text("import torch\ndef test_a(): pass\n")
    (tmp_path / "test_inner.py").write_text(
        "def test_b():\n import torch\ndef test_c():\n assert 1 == 2\ndef test_d(): pass\n"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT / "tests")])}
    command = [sys.executable, "-m", "pytest", "-p", "without_training", "-rs", str(tmp_path)]
    command += ["-c", os.devnull, "--rootdir", str(tmp_path), "-p", "no:cacheprovider"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, cwd=tmp_path)
    assert re.search(r"1 failed, 1 passed, 2 skipped", done.stdout), done.stdout
    assert "torch is not installed (run.py test --no-training)" in done.stdout


def test_ci_runs_the_same_command() -> None:
    text = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert text.rstrip().endswith("exec python3 run.py test")
    if sys.platform != "win32":
        assert os.access(ROOT / ".ci" / "run", os.X_OK)
