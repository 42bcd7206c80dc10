"""The cluster kit: scripts that are sound, templates that say what the program says, wheels."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from facegen_training.cli import app

ROOT = Path(__file__).resolve().parents[2]
KIT = ROOT / "packaging" / "hpc"
SCRIPTS = sorted(KIT.glob("*.sh"))


def test_every_script_is_sound() -> None:
    assert len(SCRIPTS) == 4
    for path in SCRIPTS:
        assert os.access(path, os.X_OK), path
        subprocess.run(["bash", "-n", str(path)], check=True)
    if shutil.which("shellcheck"):
        command = ["shellcheck", "--severity=warning", *map(str, SCRIPTS)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("path", [p for p in SCRIPTS if "#SBATCH" in p.read_text()],
                         ids=lambda path: path.name)  # fmt: skip
def test_templates_are_what_submit_writes(
    path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    text = path.read_text(encoding="utf-8")
    said = re.search(r"^#   facegen-train (submit .*) -- (.*)$", text, re.MULTILINE)
    assert said is not None
    monkeypatch.chdir(tmp_path)
    (tmp_path / "prepared").mkdir()
    (tmp_path / "prepared" / "manifest.json").touch()
    words = [*said.group(1).split(), "--dry-run", "--", *said.group(2).split()]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    first, *rest = text.splitlines()
    while not rest[0].startswith("#SBATCH"):  # what the template says of itself
        rest = rest[1:]
    assert [first, *rest] == done.output.replace(f"{tmp_path}/", "").splitlines()


def test_the_kit_names_no_address() -> None:
    for path in KIT.iterdir():
        assert not re.search(r"https?://|\.io/|\.org/", path.read_text(encoding="utf-8")), path


@pytest.fixture
def wheelhouse(tmp_path: Path) -> Path:
    """A wheelhouse with one small wheel, as wheelhouse.sh leaves it."""
    import hashlib
    import zipfile

    folder = tmp_path / "wheels"
    folder.mkdir()
    wheel = folder / "facegen_kit_try-1.0-py3-none-any.whl"
    info = "facegen_kit_try-1.0.dist-info"
    with zipfile.ZipFile(wheel, "w") as file:
        file.writestr("facegen_kit_try.py", "WORKS = True\n")
        file.writestr(
            f"{info}/METADATA", "Metadata-Version: 2.1\nName: facegen-kit-try\nVersion: 1.0\n"
        )
        file.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        file.writestr(f"{info}/RECORD", "")
    (folder / "requirements.txt").write_text("facegen-kit-try==1.0\n")
    sums = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n"
        for path in sorted(folder.iterdir())
    ]
    (folder / "SHA256SUMS").write_text("".join(sums))
    return folder


def install(wheelhouse: Path, target: Path) -> subprocess.CompletedProcess[str]:
    command = [str(KIT / "install-offline.sh"), str(wheelhouse), str(target), sys.executable]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_a_wheelhouse_is_installed_without_an_index(wheelhouse: Path, tmp_path: Path) -> None:
    done = install(wheelhouse, tmp_path / "venv")
    assert done.returncode == 0, done.stderr
    code = "import facegen_kit_try; print(facegen_kit_try.WORKS)"
    python = str(tmp_path / "venv" / "bin" / "python")
    assert subprocess.run([python, "-c", code], capture_output=True, check=True).stdout == b"True\n"
    again = install(wheelhouse, tmp_path / "venv")
    assert again.returncode == 2
    assert "is there already" in again.stderr


def test_a_damaged_wheel_is_not_installed(wheelhouse: Path, tmp_path: Path) -> None:
    next(wheelhouse.glob("*.whl")).write_bytes(b"half a wheel")
    done = install(wheelhouse, tmp_path / "venv")
    assert done.returncode == 2
    assert "damaged" in done.stderr
    assert not (tmp_path / "venv").exists()


def test_wrong_words_to_wheelhouse_are_one_sentence(tmp_path: Path) -> None:
    script = str(KIT / "wheelhouse.sh")
    for words in ([], ["--pyton", "3.11"], ["x", "y"], [str(tmp_path)], ["x", "--glibc", "2"]):
        done = subprocess.run([script, *words], capture_output=True, text=True, check=False)
        assert done.returncode == 2, words
        assert done.stderr.count("\n") == 1
