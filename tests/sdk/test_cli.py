"""The command line: what it prints, its exit codes, and that errors are one line."""

import io
import json
import os
import re
import shutil
import subprocess
import sys

import pytest
from PIL import Image

from sdk import jobs, progress
from sdk.cli import main
from sdk.errors import InputError
from sdk.facts import describe
from sdk.progress import Meter, Progress

COLOURS = ("red", "green", "blue")


@pytest.fixture(scope="module")
def folder(tmp_path_factory, picture):
    root = tmp_path_factory.mktemp("pictures")
    lines = ["path,camera"]
    for number in range(9):
        picture(COLOURS[number % 3], number).save(root / f"{COLOURS[number % 3]}{number}.png")
        lines.append(f"{COLOURS[number % 3]}{number}.png,{number // 3}")
    (root / "list.csv").write_text("\n".join(lines))
    return root


@pytest.fixture(scope="module")
def gallery(tmp_path_factory, folder, tiny_bundle):
    path = tmp_path_factory.mktemp("gallery") / "people.gallery"
    jobs.index(folder / "list.csv", tiny_bundle, path, device="cpu")
    return path


@pytest.fixture
def run(capsys):
    """run("info", path) -> (exit code, stdout, stderr)"""

    def call(*arguments):
        capsys.readouterr()
        code = main([str(a) for a in arguments])
        out = capsys.readouterr()
        return code, out.out, out.err

    return call


@pytest.fixture
def search(run, tiny_bundle, gallery):
    def call(*arguments):
        code, out, err = run("search", "--bundle", tiny_bundle, "--gallery", gallery, "--json", *arguments)
        return (json.loads(out) if code == 0 else None), code, err

    return call


def test_index_prints_what_became_of_the_files(run, folder, tiny_bundle, tmp_path):
    shutil.copytree(folder, tmp_path / "in")
    (tmp_path / "in" / "bad.jpg").write_bytes(b"")
    (tmp_path / "in" / "notes.txt").touch()
    arguments = ("index", tmp_path / "in", "--bundle", tiny_bundle, "--gallery", tmp_path / "g")
    code, out, err = run(*arguments)
    assert code == 0
    assert "10 files in 0:0" in out
    assert "9 ok, 0 updated, 0 skipped (already there), 1 corrupt, 0 refused" in out
    assert "the gallery holds 9 rows" in out
    assert "  bad.jpg: is empty (0 bytes)" in out
    assert "passed over, not pictures by their suffix: 1 .csv, 1 .txt" in out
    assert re.search(r"^10/10 · .* files/s · 1 failed$", err, re.MULTILINE)
    code, out, err = run(*arguments, "--max-failures", "0", "--report", tmp_path / "r.csv")
    assert code == 1
    assert err.splitlines()[-1] == "  bad.jpg: is empty (0 bytes)"
    assert "error: stopped: 1 files failed, max_failures allows 0" in err
    assert re.search(r"^bad\.jpg,.*bad\.jpg,corrupt,is empty", (tmp_path / "r.csv").read_text(), re.MULTILINE)


def test_index_as_json_lines(run, folder, tiny_bundle, tmp_path):
    code, out, _ = run("index", folder, "--bundle", tiny_bundle, "--gallery", tmp_path / "g", "--json")
    lines = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert [line["event"] for line in lines[-2:]] == ["progress", "result"]
    assert (lines[-2]["done"], lines[-2]["total"]) == (9, 9)
    assert (lines[-1]["ok"], lines[-1]["rows"], lines[-1]["failures"]) == (9, 9, [])


def test_search_by_text_attributes_and_image(search, folder):
    hits, code, _ = search("--text", "a man in a red coat", "--k", "3")
    assert code == 0
    assert [hit["id"][:3] for hit in hits] == ["red"] * 3
    assert hits[0]["score"] >= hits[1]["score"]
    assert hits[0]["metadata"]["path"].endswith(hits[0]["id"])
    hits, _, _ = search("--attributes", "gender=male", "coat=green", "--k", "3")
    assert {hit["id"][:5] for hit in hits} == {"green"}
    hits, _, _ = search("--image", folder / "blue5.png", "--k", "1")
    assert hits[0]["id"] == "blue5.png"
    both = ("--image", folder / "blue5.png", "--text", "a red coat")
    hits, _, _ = search(*both, "--compose", "sum", "--k", "9")
    assert hits[-1]["id"].startswith("green")


def test_search_with_filters(search):
    hits, _, _ = search("--text", "red", "--where", '{"camera": {"$ne": 0}}', "--k", "20")
    assert {hit["metadata"]["camera"] for hit in hits} == {1, 2}
    assert len(hits) == 6
    hits, _, _ = search("--text", "red", "--min-score", "0.5", "--k", "20")
    assert {hit["id"][:3] for hit in hits} == {"red"}
    plain, _, _ = search("--text", "red", "--k", "9")
    steered, _, _ = search("--text", "red", "--without", "green", "--k", "9")
    assert {h["id"]: h["score"] for h in steered} != {h["id"]: h["score"] for h in plain}


def test_search_prints_a_table_and_draws_a_sheet(run, tiny_bundle, gallery, tmp_path):
    code, out, _ = run(
        "search", "--bundle", tiny_bundle, "--gallery", gallery, "--text", "red", "--k", "2",
        "--sheet", tmp_path / "s.png",
    )  # fmt: skip
    assert code == 0
    assert re.search(r"^1\s+0\.\d{4}\s+red\d\.png\s+camera=\d", out, re.MULTILINE)
    with Image.open(tmp_path / "s.png") as sheet:
        assert sheet.width > 400
    code, out, _ = run(
        "search", "--bundle", tiny_bundle, "--gallery", gallery, "--text", "red", "--min-score", "2"
    )
    assert (code, out) == (0, "no hit\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--attributes", "coat=purple"], "coat='purple' is unknown; 'coat' takes '"),
        (["--attributes", "coat"], "got 'coat'; write slot=value"),
        (["--attributes", "coat=red,hat=yes"], "got 'coat=red,hat=yes'; write slot=value, such as"),
        (["--attributes", "hat=yes", "hat=yes"], "'hat' is given twice"),
        (["--text", "red", "--where", "{camera: 1}"], "isn't JSON"),
        (["--text", "red", "--where", "[1]"], "give a JSON object"),
        (["--text", "red", "--where", '{"camera": {"$near": 1}}'], "$near"),
        (["--text", " "], "empty"),
        (["--text", "red", "--k", "0"], "k: got 0"),
        (["--image", "gone.jpg"], "gone.jpg"),
        ([], "text"),
    ],
)
def test_bad_searches_are_one_line_and_code_2(search, arguments, message):
    _, code, err = search(*arguments)
    assert code == 2
    assert err.startswith("error: ")
    assert message in err
    assert "Traceback" not in err


def test_a_gallery_that_is_not_there_is_not_made_by_searching(run, tiny_bundle, tmp_path):
    code, _, err = run("search", "--bundle", tiny_bundle, "--gallery", tmp_path / "none", "--text", "red")
    assert code == 2
    assert "none" in err
    assert not (tmp_path / "none").exists()


def test_index_errors(run, folder, tiny_bundle, gallery, make_bundle, tmp_path):
    (tmp_path / "empty").mkdir()
    code, _, err = run("index", tmp_path / "empty", "--bundle", tiny_bundle, "--gallery", tmp_path / "g")
    assert (code, err.count("\n")) == (1, 1)
    assert "no picture in" in err
    other = make_bundle(tmp_path / "other.bundle", seed=2)
    code, _, err = run("index", folder, "--bundle", other, "--gallery", gallery)
    assert code == 2
    assert "Open it with the model that made it" in err


def test_info_of_a_bundle(run, tiny_bundle):
    code, out, _ = run("info", tiny_bundle, "--json")
    facts = json.loads(out)
    assert code == 0
    assert (facts["kind"], facts["name"], facts["vectors"]) == ("bundle", "tiny", "16 x float32")
    assert facts["roles"]["query.text"] == "text.features"
    assert set(facts["schema"]["gender"]) == {"male", "female"}
    assert len(facts["digest"]) == len(facts["space"]) == 64
    assert facts["bytes"] == sum(p.stat().st_size for p in tiny_bundle.rglob("*") if p.is_file())
    code, out, _ = run("info", tiny_bundle)
    assert code == 0
    assert re.search(r"image\s+32x16 \(h x w\), squash, bilinear", out)
    assert re.search(r"gender: (male, female|female, male)", out)


def test_info_sums_the_gate_up(run, make_bundle, tmp_path):
    checks = [{"passed": i > 0} for i in range(40)]
    path = make_bundle(tmp_path / "b.bundle", parity={"passed": False, "on": "paper", "checks": checks})
    assert re.search(r"parity +passed: False *\n +on: paper *\n +checks: 39 of 40 hold", run("info", path)[1])
    assert json.loads(run("info", path, "--json")[1])["parity"]["checks"] == checks


def test_info_of_a_gallery(run, gallery, folder, tiny_bundle):
    code, out, _ = run("info", gallery, "--json")
    facts = json.loads(out)
    assert code == 0
    assert (facts["kind"], facts["rows"], facts["removed"]) == ("gallery", 9, 0)
    assert facts["space"] == describe(tiny_bundle)["space"]
    assert facts["engines"] == {"onnxruntime cpu fp32": 9}
    assert facts["jobs"] == {str(folder / "list.csv"): "9 of 9 files done"}
    code, out, _ = run("info", gallery)
    assert re.search(r"rows +9 *\n", out)


def test_info_of_neither(run, tmp_path):
    for path, message in ((tmp_path / "gone", "doesn't exist"), (tmp_path, "isn't a bundle")):
        code, _, err = run("info", path)
        assert code == 2
        assert message in err
    with pytest.raises(InputError, match="isn't a folder"):
        describe(__file__)


def test_doctor_exit_codes(run, tiny_bundle, tmp_path):
    code, out, _ = run("doctor", tiny_bundle)
    assert code == 0
    assert "✓ search kernels" in out
    assert "golden" in out
    assert out.endswith("nothing is broken\n")
    code, out, _ = run("doctor", tmp_path, "--json")
    assert code == 1
    assert json.loads(out)[-1]["state"] == "broken"


def test_markup_in_names_is_printed_not_obeyed(run, tiny_bundle, tmp_path, picture):
    (tmp_path / "in").mkdir()
    picture("red").save(tmp_path / "in" / "[bold]x[link=y].png")
    arguments = ("--bundle", tiny_bundle, "--gallery", tmp_path / "g")
    run("index", tmp_path / "in", *arguments)
    _, out, _ = run("search", *arguments, "--text", "red")
    assert "[bold]x[link=y].png" in out


def test_an_interrupt_is_said_without_a_traceback(run, folder, tiny_bundle, tmp_path, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(jobs, "index", interrupted)
    code, _, err = run("index", folder, "--bundle", tiny_bundle, "--gallery", tmp_path / "g")
    assert (code, err) == (130, "error: interrupted; an index command given again goes on where it was\n")


def test_the_module_runs_and_its_help_loads_nothing_heavy():
    script = (
        "import sys\nsys.argv = ['sdk', 'index', '--help']\n"
        "try:\n    from sdk.cli import main; main()\n"
        "except SystemExit as e: assert e.code == 0\n"
        "heavy = ('numpy', 'onnxruntime', 'PIL', 'torch', 'cpp_ext', 'sqlite3')\n"
        "print([m for m in heavy if m in sys.modules])"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "COLUMNS": "200"}
    shown = subprocess.run(
        [sys.executable, "-c", script],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert shown.stdout.splitlines()[-1] == "[]"
    for said in ("--max-failures", "Exit code 0", "Progress and result as JSON lines"):
        assert said in shown.stdout
    wrong = subprocess.run(
        [sys.executable, "-m", "sdk", "index", "gone", "--bundle", "b", "--gallery", "g"],
        env=environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert wrong.returncode == 1
    assert wrong.stderr == "error: source: 'gone' doesn't exist; give a folder, a .csv or a .parquet list\n"


def test_progress_lines_on_a_pipe_and_a_bar_on_a_terminal():
    pipe = io.StringIO()
    with progress.shown(stream=pipe) as say:
        for done in (1, 2, 1200):
            say(Progress(done, 1200, 2, 310.4, 61.0))
    first, last = pipe.getvalue().splitlines()  # the second came too soon
    assert first == "1/1,200 · 310 files/s · 1:01 left · 2 failed"
    assert last == "1,200/1,200 · 310 files/s · 2 failed"
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    with progress.shown(stream=terminal) as say:
        say(Progress(600, 1200, 0, 3.25, 4000.0))
    assert "600/1,200 · 3.2 files/s · 1:06:40 left" in terminal.getvalue()


def test_the_rate_is_that_of_the_last_seconds():
    now, seen = [0.0], []
    meter = Meter(1000, seen.append, clock=lambda: now[0])
    for second in range(1, 41):
        now[0] = float(second)
        meter.say(10 * min(second, 20), 0)  # stops after 20 s
    assert seen[9].rate == 10
    assert seen[9].seconds_left == 90
    assert 0 < seen[24].rate < 10
    assert seen[-1].rate == 0
    assert seen[-1].seconds_left is None
