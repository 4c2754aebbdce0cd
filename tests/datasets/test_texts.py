"""Labelled texts from files and folders."""

from __future__ import annotations

from pathlib import Path

import pytest

from sansdata.datasets.load import load_set
from sansdata.datasets.texts import load_texts, read_pairs
from sansdata.errors import DataError, TaskError
from sansdata.synthesis.given_texts import given_lines
from sansdata.tasks import Task, load_task

tokenizers = pytest.importorskip("tokenizers")
WORDS = ["good", "bad", "film", "dull"]


@pytest.fixture
def task(tmp_path: Path) -> Task:
    made = tokenizers.Tokenizer(
        tokenizers.models.WordLevel(
            {"[PAD]": 0, "[UNK]": 1, **{w: i + 2 for i, w in enumerate(WORDS)}}, unk_token="[UNK]"
        )
    )
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    made.save(str(tmp_path / "tokenizer.json"))
    return load_task({
        "kind": "text-classification", "tokenizer": str(tmp_path / "tokenizer.json"), "length": 3, "classes": 2,
        "class_names": ["no", "yes"],
    })  # fmt: skip


FORMS = {
    "plain.tsv": "good film\tyes\nbad\t0\n",
    "named.tsv": "label\ttext\nyes\tgood film\nno\tbad\n",
    "plain.csv": 'good film,1\n"bad",no\n',
    "lines.jsonl": '{"text": "good film", "label": 1}\n\n{"sentence": "bad", "label": "no"}\n',
}


@pytest.mark.parametrize("name", FORMS)
def test_the_forms_of_a_file(task: Task, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(FORMS[name])
    data = load_texts(tmp_path / name, task)
    assert data.labels.tolist() == [1, 0]
    assert data.packed["tokens"].tolist() == [[2, 4, 0], [3, 0, 0]]  # type: ignore[call-overload]
    assert data.packed["mask"].sum(1).tolist() == [2, 1]  # type: ignore[call-overload]


@pytest.mark.parametrize("sign", ["\x85", "\u2028", "\u2029", "\x0b", "\x0c", "\x1e"])
@pytest.mark.parametrize("name", ["t.tsv", "t.csv", "t.jsonl"])
def test_a_line_ends_where_a_file_ends_it_and_not_at_a_sign_within_a_text(
    task: Task, tmp_path: Path, name: str, sign: str
) -> None:
    texts = [f"good {sign} film", "bad"]
    rows = {".tsv": "{}\t{}", ".csv": "{},{}", ".jsonl": '{{"text": "{}", "label": {}}}'}[Path(name).suffix]
    if name == "t.jsonl" and sign < " ":
        pytest.skip("no JSON")
    for end in ("\n", "\r\n", "\r"):
        (tmp_path / name).write_text(end.join(map(rows.format, texts, (1, 0))) + end, encoding="utf-8", newline="")
        assert [text for text, _ in read_pairs(tmp_path / name, task)] == texts


def test_lines_that_a_method_is_given_are_read_by_one_reader(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text("one\u2028two\r\n\n ?! \none\u2028two\nthree\n", encoding="utf-8", newline="")
    assert given_lines(tmp_path / "t.txt", 5) == ["one\u2028t", "one\u2028t", "three"]
    assert given_lines(tmp_path / "t.txt", 9, distinct=True) == ["one\u2028two", "three"]
    (tmp_path / "link.txt").symlink_to(tmp_path / "t.txt")
    (tmp_path / "empty.txt").write_text("\n")
    for name in ("link.txt", "empty.txt", "none.txt"):
        with pytest.raises(DataError, match=name):
            given_lines(tmp_path / name, 9)


def test_a_folder_for_each_class(task: Task, tmp_path: Path) -> None:
    for name, text in (("no", "bad"), ("yes", "good film")):
        (tmp_path / "texts" / name).mkdir(parents=True)
        (tmp_path / "texts" / name / "one.txt").write_text(text)
    data = load_texts(tmp_path / "texts", task)
    assert data.labels.tolist() == [0, 1]


def test_long_texts_are_cut_and_counted_and_empty_ones_are_padding(task: Task, tmp_path: Path) -> None:
    (tmp_path / "t.tsv").write_text("good good bad dull\tyes\n \tno\n")
    data = load_texts(tmp_path / "t.tsv", task)
    assert data.notes == ("1 of 2 texts fill the whole length or were cut to it",)
    assert data.packed["mask"].sum(1).tolist() == [3, 1]  # type: ignore[call-overload]


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("t.tsv", "", "no texts; give at least one"),
        ("t.tsv", "good film\n", "row 1 has 1 field"),
        ("t.tsv", "good\tmaybe\n", "the class 'maybe'"),
        ("t.tsv", "good\t7\n", r"outside 0\.\.1"),
        ("t.tsv", "text\tother\ngood\tyes\n", "no column label or class"),
        ("t.jsonl", "{", "line 1 is no JSON; each line must be"),
        ("t.jsonl", "[1]", "line 1 needs 'text'"),
        ("t.jsonl", '{"text": 3, "label": 1}', "line 1 needs 'text'"),
        ("t.txt", "good", "neither a known set"),
        ("t.tsv", f"good\t{'9' * 20}\n", "the class '9999"),
        ("t.csv", f"good,{'9' * 5000}\n", "the class '9999"),
    ],
)
def test_what_is_wrong_is_named(task: Task, tmp_path: Path, name: str, text: str, words: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=words):
        load_texts(tmp_path / name, task)


def test_a_task_without_a_tokenizer_cannot_read(tmp_path: Path) -> None:
    blind = load_task({"kind": "text-classification", "vocabulary": 9, "length": 3, "classes": 2})
    (tmp_path / "t.tsv").write_text("good\t1\n")
    with pytest.raises(TaskError, match="names no tokenizer"):
        load_texts(tmp_path / "t.tsv", blind)


def test_sst2(task: Task, real_data: Path) -> None:
    assert len(load_set("sst2", task)) == 1821


def test_what_is_not_read_in_a_folder_is_counted(task: Task, tmp_path: Path) -> None:
    root = tmp_path / "set"
    for name in ("no", "yes"):
        (root / name).mkdir(parents=True)
        (root / name / "a.txt").write_text(f"good {name}")
    (root / "yes" / "b.md").write_text("left out")
    (root / "c.txt").write_text("beside")
    assert load_texts(root, task).notes == ("2 other file(s) are not read (.txt 1, .md 1), the first is c.txt",)


def test_one_text_over_and_over_gives_no_figure(task: Task, tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("good film\tyes\ngood film\tno\n")
    with pytest.raises(DataError, match="all 2 texts are the same"):
        load_texts(tmp_path / "a.tsv", task).require_fit(task)
