"""Results appear whole or not at all, and spare what is not ours."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from facegen_app.casework.case_data import CaseData
from facegen_app.casework.destination import adding, building, own_files
from facegen_app.casework.export import Wanted, write_results
from facegen_app.casework.verify import verify_result
from facegen_inference.errors import OutputError, UserError
from facegen_inference.progress import Cancelled
from facegen_inference.reconstruct import Request

PLAIN = Wanted(pictures=False)


def everything_in(folder: Path) -> dict[str, bytes]:
    """Return name → content of all files, hidden ones too."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_all_that_is_promised_is_written(made_up, tmp_path):
    out = tmp_path / "deep" / "out"
    wanted = Wanted(report=True, case=CaseData(case_number="7"))
    result = write_results(out, made_up.prepared, made_up.face, Request(), wanted=wanted)
    files = everything_in(out)
    views = ("frontal", "three-quarter-left", "three-quarter-right", "lateral-left",
             "lateral-right")  # fmt: skip
    pictures = {f"pictures/{v}-{k}.png" for v in views for k in ("skull", "face", "overlay")}
    pictures |= {f"pictures/variant-{n:02d}-frontal.png" for n in (1, 2)}
    variants = {"variants/variant-01.ply", "variants/variant-02.ply"}
    assert set(files) == pictures | variants | {
        "face.ply", "skull.ply", "result.json", "report.pdf"
    }  # fmt: skip
    data = json.loads(result.read_text())
    recorded = {row["name"]: row["sha256"] for row in data["outputs"]}
    assert set(recorded) == set(files) - {"result.json"}
    for name, digest in recorded.items():
        assert hashlib.sha256(files[name]).hexdigest() == digest, name
    assert data["case"] == {"case_number": "7"}
    assert [p.name for p in out.parent.iterdir()] == ["out"]


def test_result_says_what_was_put_in_and_what_came_out(made_up, tmp_path):
    result = write_results(
        tmp_path / "out", made_up.prepared, made_up.face, Request(seed=5), wanted=PLAIN
    )
    data = json.loads(result.read_text())
    assert data["inputs"]["files"] == [
        {"name": "scan.bin", "bytes": 6, "sha256": hashlib.sha256(b"a scan").hexdigest()}
    ]
    assert data["geometry"]["spacing_kji_mm"] == [3.0, 2.0, 2.0]
    assert data["geometry"]["warnings"] == ["The gantry tilt of 18.5° was undone."]
    assert data["seed"] == data["request"]["seed"] == 5
    assert data["model"]["sha256"] == "b" * 64
    assert data["skull"]["parts"]["left orbit"] == "absent"
    assert data["landmarks"]["landmarks"][1]["provenance"] == "mirrored"
    assert data["face"]["values"]["spread_mm"]["median"] == pytest.approx(3.0, abs=0.01)
    assert 1.5 < data["variants"][0]["rms_mm"] < 2.5  # eggs of 78 and 80 mm
    assert data["timings"]["network"] == 1.25
    assert data["timings"]["skull"] == 3.0
    assert "never an identification" in data["intended_use"]


def test_same_inputs_give_the_same_bytes(made_up, tmp_path):
    first, second = tmp_path / "one", tmp_path / "two"
    for out in (first, second):
        write_results(out, made_up.prepared, made_up.face, Request(), wanted=PLAIN)
    one, two = everything_in(first), everything_in(second)
    del one["result.json"], two["result.json"]  # it holds the time
    assert one == two


def test_a_folder_that_is_not_empty_needs_overwrite(made_up, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match="not empty"):
        write_results(out, made_up.prepared, made_up.face, Request(), wanted=PLAIN)
    assert everything_in(out) == {"notes.txt": b"mine"}


def test_overwrite_replaces_what_facegen_wrote_and_nothing_else(make_up, tmp_path):
    out = tmp_path / "out"
    made = make_up()
    thrice = replace(made.face, variants=(*made.face.variants, made.face.variants[0]))
    write_results(out, made.prepared, thrice, Request(), wanted=PLAIN)
    assert (out / "variants" / "variant-03.ply").is_file()
    (out / "notes.txt").write_text("mine")
    (out / "variants" / "photo.jpg").write_bytes(b"mine too")
    write_results(out, made.prepared, made.face, Request(), overwrite=True, wanted=PLAIN)
    assert set(everything_in(out)) == {
        "face.ply", "skull.ply", "variants/variant-01.ply", "variants/variant-02.ply",
        "result.json", "notes.txt", "variants/photo.jpg",
    }  # fmt: skip
    assert (out / "notes.txt").read_text() == "mine"


def test_overwrite_does_not_touch_a_file_of_the_same_name_that_is_not_ours(made_up, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "face.ply").write_text("somebody else's face")
    with pytest.raises(OutputError, match="not written by facegen"):
        write_results(out, made_up.prepared, made_up.face, Request(), overwrite=True, wanted=PLAIN)
    assert everything_in(out) == {"face.ply": b"somebody else's face"}


@pytest.mark.parametrize("name", ["../victim", "/etc/passwd", "a/../../victim", "C:/x", "a\\b"])
def test_a_forged_result_cannot_name_files_elsewhere(tmp_path, name):
    out = tmp_path / "out"
    out.mkdir()
    (tmp_path / "victim").write_text("keep")
    forged = {"format": "facegen result", "outputs": [{"name": name}]}
    (out / "result.json").write_text(json.dumps(forged))
    assert own_files(out) == ["result.json"]


def test_a_failure_half_way_leaves_everything_as_it_was(made_up, tmp_path):
    out = tmp_path / "out"
    write_results(out, made_up.prepared, made_up.face, Request(), wanted=PLAIN)
    before = everything_in(out)

    def stop(fraction: float, step: str) -> None:
        if fraction > 0.25:
            raise Cancelled

    with pytest.raises(Cancelled):
        write_results(out, made_up.prepared, made_up.face, Request(), overwrite=True, progress=stop)
    assert everything_in(out) == before
    with pytest.raises(Cancelled):
        write_results(tmp_path / "new", made_up.prepared, made_up.face, Request(), progress=stop)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["input", "out"]


def test_a_move_that_fails_is_undone(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    old = {"format": "facegen result", "outputs": [{"name": "a.txt"}]}
    (out / "a.txt").write_text("old")
    (out / "result.json").write_text(json.dumps(old))
    (out / "blocked").write_text("a file where a folder should be made")
    before = everything_in(out)
    with pytest.raises(OutputError), building(out, overwrite=True) as folder:  # noqa: PT012
        (folder / "a.txt").write_text("new")
        (folder / "blocked").mkdir()
        (folder / "blocked" / "b.txt").write_text("new")
    assert everything_in(out) == before


def test_an_input_that_is_gone_is_a_sentence(made_up, tmp_path):
    made_up.prepared.scan.files[0].unlink()
    with pytest.raises(UserError, match=r"scan\.bin cannot be read"):
        write_results(tmp_path / "out", made_up.prepared, made_up.face, Request(), wanted=PLAIN)
    assert not (tmp_path / "out").exists()


def test_results_cannot_go_to_a_file(made_up, tmp_path):
    (tmp_path / "out").write_text("a file")
    with pytest.raises(OutputError, match="is a file"):
        write_results(tmp_path / "out", made_up.prepared, made_up.face, Request(), wanted=PLAIN)


def test_adding_replaces_nothing(tmp_path):
    (tmp_path / "landmarks.json").write_text("edited")
    with pytest.raises(OutputError), adding(tmp_path) as folder:
        (folder / "landmarks.json").write_text("found")
    assert everything_in(tmp_path) == {"landmarks.json": b"edited"}


def test_an_embedded_scan_travels_with_the_result(made_up, tmp_path):
    wanted = Wanted(pictures=False, embed_scan=True)
    write_results(tmp_path / "out", made_up.prepared, made_up.face, Request(), wanted=wanted)
    shutil.rmtree(tmp_path / "input")
    (tmp_path / "out").rename(tmp_path / "elsewhere")
    checked = verify_result(tmp_path / "elsewhere")
    assert {file.state for file in checked} == {"unchanged"}
    assert [file.name for file in checked if file.kind == "input"] == ["scan.bin"]


def test_verify_names_what_changed_and_what_is_missing(made_up, tmp_path):
    out = tmp_path / "out"
    write_results(out, made_up.prepared, made_up.face, Request(), wanted=PLAIN)
    with (out / "face.ply").open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"\x07")
    (out / "skull.ply").unlink()
    made_up.prepared.scan.files[0].write_bytes(b"another scan")
    states = {file.name: file.state for file in verify_result(out)}
    assert states["face.ply"] == "changed"
    assert states["skull.ply"] == "missing"
    assert states["scan.bin"] == "changed"
    assert states["variants/variant-01.ply"] == "unchanged"


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"format": "other"}', "\x00\xff"])
def test_verify_refuses_what_is_no_result(tmp_path, text):
    (tmp_path / "result.json").write_text(text)
    with pytest.raises(UserError, match="not a FaceGen result"):
        verify_result(tmp_path)


_WRITER = """
import os, pickle, resource, sys
made, out, how = pickle.load(open(sys.argv[1], 'rb')), sys.argv[2], sys.argv[3]
from pathlib import Path
from facegen_app.casework.export import Wanted, write_results
from facegen_inference.errors import OutputError
from facegen_inference.reconstruct import Request
if how == 'limit':
    resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))
if how == 'nobody':
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
try:
    write_results(Path(out), made[0], made[1], Request(), wanted=Wanted(pictures=False))
except OutputError as error:
    print(error)
    sys.exit(error.exit_status)
"""


def write_elsewhere(made_up, tmp_path: Path, out: Path, how: str) -> tuple[int, str]:
    """Write results in a process of its own; return its exit status and what it said."""
    import pickle

    stored = tmp_path / "made.pickle"
    stored.write_bytes(pickle.dumps((made_up.prepared, made_up.face)))
    stored.chmod(0o644)
    done = subprocess.run(
        [sys.executable, "-c", _WRITER, str(stored), str(out), how],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="limits of POSIX")
def test_a_file_that_cannot_grow_is_a_full_disk(made_up, tmp_path):
    status, said = write_elsewhere(made_up, tmp_path, tmp_path / "results" / "out", "limit")
    assert status == 2, said
    assert "not enough room" in said
    assert not (tmp_path / "results").exists()


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="mounting needs root")
def test_a_full_disk_leaves_nothing(made_up, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)],
        capture_output=True, check=False,
    )  # fmt: skip
    if mount.returncode != 0:
        pytest.skip("this root may not mount")
    try:
        with pytest.raises(OutputError, match="not enough room"):
            write_results(disk / "out", made_up.prepared, made_up.face, Request(), wanted=PLAIN)
        assert list(disk.iterdir()) == []
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0, reason="needs root to become less"
)
def test_without_permission_nothing_is_written(made_up, tmp_path):
    for folder in (tmp_path, *tmp_path.parents):  # let the other user come this far
        if folder.is_relative_to("/tmp") and folder != Path("/tmp"):
            folder.chmod(folder.stat().st_mode | 0o055)
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o755)
    status, said = write_elsewhere(made_up, tmp_path, closed / "out", "nobody")
    assert status == 2, said
    assert "not allowed to write" in said
    assert list(closed.iterdir()) == []
