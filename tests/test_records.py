"""Records, their files, the measurements beside them, and the tables rendered from them."""

import csv
import dataclasses
import json
import math
import multiprocessing
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.paper import SECONDS, paper_row
from agents.records import (
    METHODS,
    Record,
    RecordError,
    averages,
    git_commit,
    images_path,
    load_images,
    load_records,
    make_table,
    package_versions,
    paired_difference,
    provenance,
    render_file,
    render_text,
    save_images,
    save_records,
    update_records,
)
from agents.records.__main__ import main
from agents.records.tables import LABELS

ROOT = Path(__file__).parents[1]


def record(**changes) -> Record:
    fields = {
        "method": "bicubic",
        "dataset": "lfw-deepfunneled",
        "split": "test",
        "scale": 8,
        "protocol": "aligned",
        "preset": "default",
        "precision": "float32",
        "seed": 0,
        "psnr": 24.277,
        "psnr_y": 25.9,
        "ssim": 0.7262,
        "fsim": 0.805,
        "n": 3708,
        "seconds_per_image": 0.0004,
        "device": "2 CPU cores",
        "budget": "none",
        "commit": "0" * 40,
        "versions": {"torch": "2.13.0"},
        "command": "python evaluate.py",
        "date": "2026-11-23",
    }
    return Record(**(fields | changes))


def attention(**changes) -> Record:
    changes = {"psnr": 26.1, "mode": "argmax", "coverage": 0.97, "distinct_places": 21.0} | changes
    return record(method="attention_fh", budget="9,525 faces, 20 epochs", **changes)


names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_+-]{0,9}", fullmatch=True)
texts = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1, max_size=20)
finite = st.floats(allow_nan=False, allow_infinity=False)
share = st.floats(0, 1)
records = st.builds(
    Record,
    method=names | st.sampled_from(METHODS),
    mode=st.none() | names,
    dataset=names,
    split=names,
    scale=st.integers(1, 16),
    protocol=st.sampled_from(["aligned", "torch7"]),
    preset=names,
    precision=names,
    seed=st.integers(0, 2**63),
    psnr=finite,
    psnr_y=finite,
    ssim=st.floats(-1, 1),
    fsim=share,
    coverage=st.none() | share,
    distinct_places=st.none() | st.floats(0, 25),
    n=st.integers(1, 10**6),
    seconds_per_image=st.floats(0, 1e6),
    device=texts,
    budget=texts,
    commit=texts,
    versions=st.dictionaries(texts, texts, max_size=3),
    command=texts,
    date=st.dates().map(str),
)
steady = settings(derandomize=True, deadline=None, max_examples=50)


# Records


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("psnr", math.nan),
        ("psnr", math.inf),
        ("psnr", "26.1"),
        ("psnr", None),
        ("ssim", 1.01),
        ("fsim", -0.1),
        ("coverage", 97.0),
        ("n", 0),
        ("n", 3708.0),
        ("n", True),
        ("scale", 0),
        ("seed", -1),
        ("seconds_per_image", -1.0),
        ("method", "../bicubic"),
        ("method", ""),
        ("preset", "a.b"),
        ("protocol", "matlab"),
        ("versions", ["torch"]),
        ("versions", {"torch": 2}),
        ("date", "yesterday"),
        ("device", " "),
        ("commit", None),
    ],
)
def test_a_value_out_of_place_is_refused_by_the_name_of_its_field(field, value):
    with pytest.raises(RecordError, match=f"^{field} is "):
        record(**{field: value})


def test_a_rounding_error_above_one_is_no_reason_to_lose_a_measurement():
    assert record(fsim=1.0000000000000002).fsim == pytest.approx(1)


def test_numbers_of_numpy_are_kept_as_plain_ones():
    made = record(psnr=np.float32(24.5), n=np.int64(7), coverage=np.float64(1))
    assert (type(made.psnr), type(made.n), type(made.coverage)) == (float, int, float)
    assert json.dumps(made.to_dict())


def test_a_record_cannot_be_changed_by_way_of_what_it_was_made_from():
    versions = {"torch": "2.13.0"}
    made = record(versions=versions)
    versions["torch"] = "1.0"
    assert made.versions == {"torch": "2.13.0"}
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.psnr = 30.0


# Files of records


@steady
@given(made=st.lists(records, max_size=5, unique_by=lambda made: made.key))
def test_what_is_saved_is_loaded(tmp_path_factory, made):
    path = tmp_path_factory.mktemp("results") / "r.json"
    saved = save_records(path, made)
    assert load_records(path) == saved
    assert sorted(made, key=lambda each: each.order) == saved
    before = path.read_bytes()
    save_records(path, reversed(saved))
    assert path.read_bytes() == before


def test_methods_stand_in_the_usual_order_and_strangers_last(tmp_path):
    path = tmp_path / "r.json"
    methods = ["zzz", "greedy_oracle", "attention_fh", "another", "gln", "bicubic"]
    save_records(path, [record(method=method) for method in methods])
    expected = ["bicubic", "gln", "attention_fh", "greedy_oracle", "another", "zzz"]
    assert [each.method for each in load_records(path)] == expected


def test_measuring_one_row_again_updates_only_it(tmp_path):
    path = tmp_path / "deep" / "r.json"
    update_records(path, [record(), attention(), attention(mode="sampled"), attention(seed=1)])
    before = json.loads(path.read_text())
    update_records(path, [attention(mode="sampled", psnr=25.0, commit="f" * 40, n=10, device="a GPU")])
    after = json.loads(path.read_text())
    changed = [place for place in range(4) if before[place] != after[place]]
    assert [(after[place]["method"], after[place]["mode"]) for place in changed] == [
        ("attention_fh", "sampled")
    ]
    assert len(after) == 4
    assert after[changed[0]]["psnr"] == 25.0


def test_nothing_but_the_file_is_left_in_the_folder(tmp_path):
    update_records(tmp_path / "r.json", [record()])
    update_records(tmp_path / "r.json", [attention()])
    assert [path.name for path in tmp_path.iterdir()] == ["r.json"]


def _update_seeds(path, seeds):
    for seed in seeds:
        update_records(path, [record(seed=seed)])


def test_two_processes_can_update_one_file(tmp_path):
    path = tmp_path / "r.json"
    # spawn: forking a process that has threads is not safe.
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_update_seeds, args=(path, range(start, 40, 2))) for start in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0]
    assert [each.seed for each in load_records(path)] == list(range(40))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows[1].pop("fsim"), r"r\.json, record 2 \(attention_fh\): missing field 'fsim'"),
        (lambda rows: rows[1].update(psrn=1.0), r"r\.json, record 2 \(attention_fh\): unknown field 'psrn'"),
        (lambda rows: rows[0].update(n=-1), r"r\.json, record 1 \(bicubic\): n is -1"),
        (lambda rows: rows[0].update(psnr=math.nan), r"r\.json, record 1 \(bicubic\): psnr is nan"),
        (lambda rows: rows.append(dict(rows[0])), r"r\.json, record 3: .* stands there twice"),
        (lambda rows: rows.append(3), r"r\.json does not hold a list of objects"),
    ],
)
def test_a_file_that_is_not_records_is_refused_and_left_alone(tmp_path, change, message):
    path = tmp_path / "r.json"
    save_records(path, [record(), attention()])
    rows = json.loads(path.read_text())
    change(rows)
    path.write_text(json.dumps(rows))
    before = path.read_bytes()
    with pytest.raises(RecordError, match=message):
        load_records(path)
    with pytest.raises(RecordError, match=message):
        update_records(path, [record()])
    assert path.read_bytes() == before


def test_a_file_that_is_not_json_or_not_there_is_named(tmp_path):
    (tmp_path / "half.json").write_text('[{"method": ')
    with pytest.raises(RecordError, match=r"half\.json is not JSON"):
        load_records(tmp_path / "half.json")
    with pytest.raises(FileNotFoundError, match=r"none\.json"):
        load_records(tmp_path / "none.json")


def test_the_optional_fields_may_be_left_out_of_a_file(tmp_path):
    values = record().to_dict()
    for name in ("mode", "coverage", "distinct_places"):
        del values[name]
    (tmp_path / "r.json").write_text(json.dumps([values]))
    assert load_records(tmp_path / "r.json") == [record()]


# Measurements of single images


@steady
@given(
    ids=st.lists(st.text(max_size=8).filter(str.isprintable), max_size=6),
    data=st.data(),
)
def test_measurements_are_loaded_as_they_were_saved(tmp_path_factory, ids, data):
    n = len(ids)
    numbers = st.lists(st.floats(-1e6, 1e6), min_size=n, max_size=n)
    columns = {"index": list(range(n)), "id": ids}
    columns |= {
        name: data.draw(numbers) for name in ("psnr", "psnr_y", "ssim", "fsim", "coverage", "seconds")
    }
    path = tmp_path_factory.mktemp("images") / "m.csv"
    save_images(path, columns)
    loaded = load_images(path)
    assert list(loaded) == list(columns)
    assert loaded["index"].tolist() == columns["index"]
    assert loaded["id"].tolist() == ids
    for name in list(columns)[2:]:
        np.testing.assert_allclose(loaded[name], columns[name], rtol=0, atol=5e-7)


def measurements(n=4, **changes):
    columns = {"index": range(n), "id": [f"Face_{i:04}" for i in range(n)]}
    columns |= {name: np.linspace(0.5, 0.9, n) for name in ("psnr", "psnr_y", "ssim", "fsim")}
    return columns | changes


def test_a_perfect_picture_has_infinite_psnr(tmp_path):
    save_images(tmp_path / "m.csv", measurements(psnr=[math.inf, 1, 2, 3]))
    assert load_images(tmp_path / "m.csv")["psnr"].tolist() == [math.inf, 1, 2, 3]


def test_measurements_are_an_ordinary_csv_file(tmp_path):
    save_images(tmp_path / "m.csv", measurements(2, id=["a, b", 'the "c"']))
    with (tmp_path / "m.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["id"] for row in rows] == ["a, b", 'the "c"']
    assert [row["ssim"] for row in rows] == ["0.500000", "0.900000"]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (
            {name: values for name, values in measurements().items() if name != "fsim"},
            "needs the column fsim",
        ),
        (measurements(ssim=[1.0]), "column ssim has 1 values for 4 images"),
        (measurements(fsim=[1, 2, math.nan, 3]), "fsim of image 2 is not a number"),
        (measurements(id=["a", "b", "c", "d\n"]), "id of image 3"),
    ],
)
def test_broken_measurements_are_not_written(tmp_path, columns, message):
    with pytest.raises(RecordError, match=message):
        save_images(tmp_path / "m.csv", columns)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("index,id,psnr,psnr_y,ssim\n", "no column fsim"),
        ("index,id,psnr,psnr_y,ssim,fsim\n0,a,1,2,3\n", "line 2: 5 values"),
        ("index,id,psnr,psnr_y,ssim,fsim\n0,a,1,2,3,x\n", "column fsim"),
        ("", "no column index"),
    ],
)
def test_a_file_that_is_not_measurements_is_refused_by_name(tmp_path, text, message):
    (tmp_path / "m.csv").write_text(text)
    with pytest.raises(RecordError, match=rf"m\.csv.*{message}"):
        load_images(tmp_path / "m.csv")


def test_a_record_is_made_of_the_averages():
    columns = measurements(psnr=[20.0, 30.0, 25.0, 25.0], coverage=[0.5, 1.0, 1.0, 0.5], seconds=[1, 1, 1, 1])
    means = averages(columns)
    assert means["psnr"] == 25.0
    assert (means["coverage"], means["n"]) == (0.75, 4)
    assert "seconds" not in means
    made = dataclasses.asdict(record()) | means
    assert Record(**made).coverage == 0.75


@steady
@given(first=records, second=records)
def test_two_keys_have_two_files(first, second):
    paths = [images_path("results/a.json", each) for each in (first, second)]
    assert (paths[0] == paths[1]) == (first.key == second.key)
    assert all(path.parent == Path("results/a") and path.suffix == ".csv" for path in paths)


# Where a number comes from


def git(folder, *arguments):
    identity = ("-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false")
    return subprocess.run(
        ["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, text=True
    ).stdout.strip()


def test_the_commit_is_named_and_whether_the_tree_was_changed(tmp_path):
    source = tmp_path / "package" / "module.py"
    result = tmp_path / "results" / "r.json"
    for path in (source, result):
        path.parent.mkdir()
        path.write_text("1\n")
    assert git_commit(source) == "unknown"
    git(tmp_path, "init", "-q")
    assert git_commit(source) == "unknown"
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "one")
    commit = git(tmp_path, "rev-parse", "HEAD")
    assert git_commit(source) == commit
    result.write_text("2\n")
    (tmp_path / "notes.txt").write_text("not tracked\n")
    assert git_commit(source) == commit
    (tmp_path / "notes.txt").unlink()
    source.write_text("2\n")
    assert git_commit(source) == commit + "-dirty"
    git(tmp_path, "commit", "-qam", "two")
    assert git_commit(source) == git(tmp_path, "rev-parse", "HEAD") != commit


def test_a_file_that_the_repository_around_it_does_not_track_has_no_commit(tmp_path):
    git(tmp_path, "init", "-q")
    (tmp_path / "tracked").write_text("1\n")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "one")
    installed = tmp_path / "venv" / "module.py"
    installed.parent.mkdir()
    installed.write_text("1\n")
    assert git_commit(installed) == "unknown"


def test_without_git_the_commit_is_unknown(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert git_commit() == "unknown"


def test_versions_and_provenance_are_fields_of_a_record():
    versions = package_versions()
    assert {"python", "torch", "numpy", "gymnasium"} <= versions.keys()
    assert versions["numpy"] == np.__version__
    made = record(**provenance())
    assert made.versions == versions
    assert made.command.startswith("python ")


# Comparison


def test_the_interval_of_a_paired_difference(tmp_path):
    rng = np.random.default_rng(0)
    n = 400
    hard = rng.normal(24, 3, n)
    columns = measurements(n, psnr=hard + 0.3 + rng.normal(0, 0.5, n))
    save_images(tmp_path / "a.csv", columns)
    other = measurements(n, psnr=hard)
    shuffled = rng.permutation(n)
    save_images(tmp_path / "b.csv", {name: np.asarray(values)[shuffled] for name, values in other.items()})

    found = paired_difference(tmp_path / "a.csv", tmp_path / "b.csv")
    difference = load_images(tmp_path / "a.csv")["psnr"] - np.round(hard, 6)
    assert found.mean == pytest.approx(difference.mean(), abs=1e-9)
    # For a mean of 400 the bootstrap is close to the normal interval; the 3 dB both share do not widen it.
    half = 1.96 * difference.std(ddof=1) / np.sqrt(n)
    assert found.low == pytest.approx(difference.mean() - half, abs=0.1 * half)
    assert found.high == pytest.approx(difference.mean() + half, abs=0.1 * half)
    assert found.n == n
    assert paired_difference(tmp_path / "a.csv", tmp_path / "b.csv") == found
    swapped = paired_difference(tmp_path / "b.csv", tmp_path / "a.csv")
    assert swapped.mean == pytest.approx(-found.mean)


def test_a_part_is_compared_with_the_same_images_of_the_whole(tmp_path):
    psnr = np.linspace(20.0, 29.0, 10)
    save_images(tmp_path / "whole.csv", measurements(10, psnr=psnr))
    save_images(tmp_path / "part.csv", measurements(4, psnr=psnr[:4] + 0.5))
    found = paired_difference(tmp_path / "part.csv", tmp_path / "whole.csv", within=True)
    assert (found.n, found.mean) == (4, pytest.approx(0.5))
    with pytest.raises(RecordError, match="6 are in only one of them"):
        paired_difference(tmp_path / "part.csv", tmp_path / "whole.csv")
    with pytest.raises(RecordError, match="6 are in only one of them"):
        paired_difference(tmp_path / "whole.csv", tmp_path / "part.csv", within=True)


def test_a_comparison_of_what_cannot_be_compared_is_refused(tmp_path):
    save_images(tmp_path / "a.csv", measurements())
    save_images(tmp_path / "other.csv", measurements(id=["Face_0000", "Face_0001", "Face_0002", "Stranger"]))
    save_images(tmp_path / "perfect.csv", measurements(psnr=[math.inf, 1, 2, 3]))
    save_images(tmp_path / "twice.csv", measurements(id=["a", "a", "b", "c"]))
    save_images(tmp_path / "one.csv", measurements(1))
    for first, second, column, message in [
        ("a", "other", "psnr", "2 are in only one of them, for instance Face_0003"),
        ("a", "perfect", "psnr", r"perfect\.csv: .* finite"),
        ("a", "a", "lpips", "no measurements 'lpips'"),
        ("a", "a", "id", "no measurements 'id'"),
        ("twice", "twice", "psnr", "two images of one id"),
        ("one", "one", "psnr", "2 or more"),
    ]:
        with pytest.raises(RecordError, match=message):
            paired_difference(tmp_path / f"{first}.csv", tmp_path / f"{second}.csv", column)


# Tables


def cells(table, column):
    return [row[table.headings.index(column)] for row in table.rows]


def test_the_table_of_two_records():
    table = make_table([attention(), record()], paper=True)
    assert table.markdown().splitlines() == [
        "| method | PSNR | gain | PSNR-Y | SSIM | FSIM | n | s/face | training | paper |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- | ---: |",
        "| Bicubic | 24.28 | +0.00 | 25.90 | 0.7262 | 0.8050 | 3,708 | 0.00040 | none | 21.92 (+0.00) |",
        "| Attention-FH (argmax) | 26.10 | +1.82 | 25.90 | 0.7262 | 0.8050 | 3,708 | 0.00040 "
        "| 9,525 faces, 20 epochs | 26.17 (+4.25) |",
    ]
    assert table.latex().splitlines()[:4] == [
        r"\begin{tabular}{lrrrrrrrlr}",
        r"\toprule",
        r"method & PSNR & gain & PSNR-Y & SSIM & FSIM & n & s/face & training & paper \\",
        r"\midrule",
    ]


def test_the_gain_is_over_the_bicubic_record_of_the_same_pictures():
    table = make_table(
        [
            record(psnr=24.0),
            record(psnr=22.0, protocol="torch7"),
            record(psnr=30.0, scale=4),
            record(psnr=10.0, split="val"),
            attention(psnr=26.0),
            attention(psnr=26.0, protocol="torch7"),
            attention(psnr=26.0, split="val", n=100),
        ],
        method="attention_fh",
    )
    assert cells(table, "gain") == ["+2.00", "+4.00", "-"]
    assert cells(table, "protocol") == ["aligned", "torch7", "aligned"]
    assert cells(table, "split") == ["test", "test", "val"]
    assert "scale" not in table.headings


def test_seeds_are_one_row_with_their_spread():
    table = make_table([attention(seed=seed, psnr=psnr) for seed, psnr in enumerate((25.0, 26.0, 27.0))])
    assert cells(table, "PSNR") == ["26.00 ± 1.00"]
    assert cells(table, "training") == ["9,525 faces, 20 epochs"]
    assert r"26.00 $\pm$ 1.00" in table.latex()


def test_rows_of_one_method_are_told_apart():
    table = make_table([attention(), attention(mode="sampled"), attention(preset="paper"), record()])
    assert cells(table, "method") == [
        "Bicubic",
        "Attention-FH (argmax, default)",
        "Attention-FH (argmax, paper)",
        "Attention-FH (sampled, default)",
    ]


def test_filters_take_patterns_and_columns_are_chosen():
    made = [record(), attention(), record(method="attention_fh_t5"), record(method="gln"), record(scale=4)]
    table = make_table(
        made, columns=["method", "coverage", "seeds"], method=["attention_fh*", "gln"], scale="8"
    )
    assert table.headings == ["method", "coverage", "seeds"]
    assert table.rows == [
        ["GLN", "-", "0"],
        ["Attention-FH (argmax)", "0.97", "0"],
        ["Attention-FH, T = 5", "-", "0"],
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"columns": ["method", "lpips"]}, "no column lpips"),
        ({"colour": "red"}, "no filter colour"),
        ({"protocol": ["torch7", "matlab"]}, "no record protocol=torch7,matlab"),
    ],
)
def test_a_table_of_what_is_not_there_is_refused(options, message):
    with pytest.raises(RecordError, match=message):
        make_table([record()], **options)


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0.081, "0.081"), (1.23, "1.2"), (123.0, "123"), (0.000012, "0.000012"), (0.0, "0")],
)
def test_seconds_have_two_digits_and_no_exponent(seconds, shown):
    assert cells(make_table([record(seconds_per_image=seconds)]), "s/face") == [shown]


@steady
@given(budget=texts)
def test_no_text_breaks_a_markdown_table(budget):
    head, rule, line = make_table([record(budget=budget)]).markdown().split("\n")
    unescaped = line.replace("\\\\", "").replace("\\|", "")
    assert unescaped.count("|") == head.count("|") == rule.count("|")


def test_text_is_escaped_for_latex():
    latex = make_table([record(budget=r"50% of a_b & {c} #1 \d ~ ^ $")], columns=["budget"]).latex()
    assert r"50\% of a\_b \& \{c\} \#1 \textbackslash{}d \textasciitilde{} \textasciicircum{} \$ \\" in latex


def test_every_usual_method_has_a_label():
    assert set(METHODS) == set(LABELS)


# The paper's numbers


def test_the_paper_says_what_it_says():
    assert paper_row("attention_fh", "lfw-deepfunneled", 8) == (26.17, 0.7604, 0.8630)
    assert paper_row("bicubic", "bioid", 4) == (25.18, None, None)
    assert paper_row("attention_fh_t35", "lfw", 8) == (26.31, None, None)
    assert paper_row("attention_fh_t35", "bioid", 8) is None
    assert paper_row("raster_scan", "lfw", 8) is None
    assert paper_row("bicubic", "synthetic", 8) is None
    assert paper_row("bicubic", "lfw", 2) is None
    assert SECONDS["attention_fh"] == 0.081


# Tables in Markdown files

PAGE = """# Results

<!-- table: results/r.json protocol=aligned columns=method,psnr -->
old
<!-- /table -->

The marker's syntax:

```
<!-- table: results/none.json -->
```

Between `<!-- table: ... -->` and `<!-- /table -->`.
"""


@pytest.fixture
def page(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    save_records("results/r.json", [record(), attention(), record(protocol="torch7", psnr=21.9)])
    path = tmp_path / "README.md"
    path.write_text(PAGE)
    return path


def test_a_page_is_rendered_between_its_markers(page):
    assert render_file(page, check=True) == [3]
    assert page.read_text() == PAGE
    assert render_file(page) == [3]
    table = make_table(load_records("results/r.json"), protocol="aligned", columns=["method", "psnr"])
    assert page.read_text() == PAGE.replace("old\n", f"\n{table.markdown()}\n\n")
    assert render_file(page) == []
    update_records("results/r.json", [attention(psnr=27.0)])
    assert render_file(page, check=True) == [3]


def test_the_command_renders_and_checks(page, capsys):
    assert main(["render", "README.md", "--check"]) == 1
    out = capsys.readouterr().out
    assert "README.md:3: out of date" in out
    assert "python -m agents.records render README.md" in out
    assert main(["render", "README.md"]) == 0
    assert main(["render", "README.md", "--check"]) == 0
    assert main(["table", "results/r.json", "scale=8", "protocol=torch7", "--latex"]) == 0
    assert r"Bicubic & 21.90 & +0.00" in capsys.readouterr().out
    assert main(["table", "results/r.json", "scale=4"]) == 2
    assert "error: results/r.json: no record scale=4" in capsys.readouterr().err
    assert main(["render", "none.md"]) == 2


def test_the_command_compares(tmp_path, capsys):
    save_images(tmp_path / "a.csv", measurements(ssim=[0.5, 0.6, 0.7, 0.8]))
    save_images(tmp_path / "b.csv", measurements(ssim=[0.4, 0.5, 0.6, 0.7]))
    assert main(["compare", str(tmp_path / "a.csv"), str(tmp_path / "b.csv"), "--column", "ssim"]) == 0
    assert capsys.readouterr().out == "+0.1000 [+0.1000, +0.1000] (95%, n = 4)\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("\n<!-- table: results/r.json -->\n", "p, line 2: this table is never closed"),
        ("<!-- /table -->\n", "p, line 1: a table is closed here"),
        ("<!-- table: results/r.json -->\n" * 2 + "<!-- /table -->\n", "p, line 2: the table of line 1"),
        ("<!-- table: results/r.json scale=4 -->\n<!-- /table -->\n", "p, line 1: results/r.json: no record"),
        ("<!-- table: results/r.json size=4 -->\n<!-- /table -->\n", "p, line 1: .*no filter size"),
        ("<!-- table: results/r.json paper=1 -->\n<!-- /table -->\n", "p, line 1: paper=1 is neither"),
        ("<!-- table: results/r.json scale=4 scale=8 -->\n<!-- /table -->\n", "p, line 1: scale .* twice"),
        ("<!-- table: scale=4 -->\n<!-- /table -->\n", "p, line 1: no file of records"),
        ('<!-- table: "r.json -->\n<!-- /table -->\n', "p, line 1: No closing quotation"),
    ],
)
def test_a_marker_that_cannot_be_followed_is_refused_by_its_line(page, text, message):
    with pytest.raises(ValueError, match=message):
        render_text(text, name="p")


def test_a_marker_that_names_a_missing_file_is_refused_by_its_line(page):
    with pytest.raises(FileNotFoundError, match=r"p, line 1: No records at results/none\.json"):
        render_text("<!-- table: results/none.json -->\n<!-- /table -->\n", name="p")


def test_the_tables_of_our_own_pages_are_what_the_records_render_to():
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    pages += sorted((ROOT / "facehall_env" / "pretrained").rglob("README.md"))
    stale = {
        str(page.relative_to(ROOT)): lines for page in pages if (lines := render_file(page, ROOT, check=True))
    }
    assert not stale, f"run: python -m agents.records render {' '.join(stale)}"


def test_our_own_records_can_be_read():
    for path in sorted((ROOT / "results").glob("*.json")):
        made = load_records(path)
        assert made == sorted(made, key=lambda each: each.order), path.name


def test_differences_are_rendered_from_a_list(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, psnr in (("a", [20.0, 21.0, 22.0]), ("b", [19.0, 20.5, 21.0])):
        columns = dict.fromkeys(("psnr", "psnr_y", "ssim", "fsim"), psnr)
        save_images(Path(f"{name}.csv"), {"index": [0, 1, 2], "id": ["x", "y", "z"], **columns})
    Path("list.yaml").write_text("- {what: A over B, first: a.csv, second: b.csv}\n")
    page = Path("page.md")
    page.write_text("# Page\n\n<!-- differences: list.yaml -->\n<!-- /differences -->\n")
    assert main(["differences", "page.md", "--check"]) == 1
    assert main(["differences", "page.md"]) == 0
    assert main(["differences", "page.md", "--check"]) == 0
    assert "| A over B | +0.83 | [+0.50, +1.00] | 3 |" in page.read_text()
    columns = {name: [20.0, 21.0] for name in ("psnr", "psnr_y", "ssim", "fsim")}
    save_images(Path("part.csv"), {"index": [0, 1], "id": ["x", "y"], **columns})
    Path("list.yaml").write_text("- {what: part, first: part.csv, second: b.csv, within: true}\n")
    assert main(["differences", "page.md"]) == 0
    assert "| part | +0.75 | [+0.50, +1.00] | 2 |" in page.read_text()
    Path("list.yaml").write_text("- {what: A over B, first: a.csv}\n")
    assert main(["differences", "page.md"]) == 2
    assert "an entry must have first, second, what" in capsys.readouterr().err
