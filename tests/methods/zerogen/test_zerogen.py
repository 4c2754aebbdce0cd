"""What the method writes, and what a student makes of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import sansdata
from sansdata.engine.session import Session
from sansdata.errors import MethodError, TeacherError, UserError
from sansdata.figures import values
from sansdata.kinds.index import input_kind
from sansdata.methods.auto import choose_method
from sansdata.methods.index import method_config
from sansdata.methods.zerogen import ZeroGen
from sansdata.models.build import architecture_of, build
from sansdata.runtime import Runtime
from sansdata.tasks import PairTask, Prompts, TokensSpec
from sansdata.teachers.preflight import unmet
from sansdata.teachers.writers.base import GENERATES
from sansdata.teachers.writers.ngram import NGrams
from sansdata.teachers.writers.teacher import teacher_of
from sansdata.teachers.writers.vocabulary import tokenizer_of
from sansdata.testing.worlds import WORLDS, made_up_texts

WORLD = WORLDS["writer"]


def session_of(options: dict[str, Any], steps: int = 10, teacher: Any = None, seed: int = 0) -> Session:
    config = method_config("zerogen", "default", {"texts": 60, "chunk": 20, "min_words": 3, **options})
    teacher = teacher or WORLD.teacher()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        student = build(architecture_of("bag", teacher.task))
    return Session(ZeroGen, config, teacher, student, teacher.task, Runtime(), seed, steps)


def written(options: dict[str, Any], **more: Any) -> ZeroGen:
    session = session_of(options, **more)
    while session.method.next_move() == "acquire":
        session.move()
    assert isinstance(session.method, ZeroGen)
    return session.method


def test_as_many_texts_of_each_class_as_are_wanted_and_the_same_for_the_same_seed() -> None:
    method = written({})
    assert [method.written.of_class(label) for label in range(4)] == [15] * 4
    assert len(set(method.written.texts)) == 60
    assert all(
        f"c{label}w" in text or "c" not in text for text, label in zip(method.written.texts, method.written.labels)
    )
    assert written({}).written.state_dict() == method.written.state_dict()
    assert written({}, seed=1).written.texts != method.written.texts
    figures = values(method.findings())
    assert figures["written"] == 60
    assert figures["yield"] == 60 / method.written.drawn


@pytest.mark.parametrize("use", ["relabel", "soft", "filter", "likely", "weight"])
def test_the_writers_scores_change_the_lesson(use: str) -> None:
    plain, method = written({}), written({"scores": use})
    assert method.written.texts == plain.written.texts
    places, targets, weights = method.lesson.places, method.lesson.targets, method.lesson.weights
    assert len(places) == (60 if use not in ("filter", "likely") else 32)  # half of 15, four times
    assert targets.sum(1).tolist() == pytest.approx([1.0] * len(places))
    if use == "weight":
        assert 0 < float(weights.min()) < float(weights.max()) <= 1
    if use == "soft":
        assert float(targets.max(1).values.min()) < 0.999


def test_shuffled_labels_are_as_many_and_others() -> None:
    targets = written({"shuffled": True}).lesson.targets
    plain = written({}).lesson.targets
    assert targets.sum(0).tolist() == plain.sum(0).tolist()
    assert float((targets.argmax(1) == plain.argmax(1)).float().mean()) < 0.6


class Scripted:
    """A writer that reads prompts and says what a function makes of each."""

    source, needs_prompts, reads_contexts, scores, debiases, words = "a script", True, True, False, False, "letters"

    def __init__(self, say: Any) -> None:
        self.say, self.asked = say, 0

    def generate(self, prompts: Any, stream: torch.Generator, how: Any, steering: Any = None) -> list[str]:
        self.asked += len(prompts)
        numbers = torch.randint(10**6, (len(prompts),), generator=stream).tolist()
        return [self.say(prompt, number) for prompt, number in zip(prompts, numbers)]

    def score(self, prompts: Any, texts: Any) -> Any:
        raise TeacherError("no scores")

    def fingerprint(self) -> str:
        return "script"


def scripted(tmp_path: Path, say: Any, prompts: Prompts | None = None) -> Any:
    (tmp_path / "words.json").write_bytes(tokenizer_of(["a film is good bad it was x y z"], 50))
    prompts = prompts or Prompts(text='A {label} review of "{context}": "', context='Film: "')
    inputs = TokensSpec(vocabulary=50, length=16, tokenizer=str(tmp_path / "words.json"), prompts=prompts)
    outputs = {"kind": "classes", "classes": 2, "class_names": ["bad", "good"]}
    return teacher_of(Scripted(say), PairTask.model_validate({"inputs": inputs, "outputs": outputs}))


def review(prompt: str, number: int) -> str:
    if prompt.startswith("Film"):
        return f'film {number}" is'
    return f'it was {prompt.split()[1]} {number} x{number} y{number}" and so on'


def test_contexts_are_written_first_and_each_gets_texts_of_every_class(tmp_path: Path) -> None:
    method = written({"per_context": 1}, teacher=scripted(tmp_path, review))
    assert {text.split()[2] for text, label in zip(method.written.texts, method.written.labels) if label} == {"good"}
    about = method.written.contexts
    assert len(set(about)) == 30
    assert all(one.startswith("film ") for one in about)


def test_a_file_of_contexts_is_data_that_is_declared(tmp_path: Path) -> None:
    file = tmp_path / "films.txt"
    file.write_text("The Kid\n\nSafety Last\nThe Kid\n")
    config = method_config("zerogen", "default", {"contexts": str(file)})
    assert ZeroGen.reads(config) == {file: "contexts"}
    method = written({"contexts": str(file), "per_context": 2}, teacher=scripted(tmp_path, review))
    assert set(method.written.contexts) == {"The Kid", "Safety Last"}


def test_a_writer_that_says_nothing_of_use_ends_with_why(tmp_path: Path) -> None:
    teacher = scripted(tmp_path, lambda prompt, number: f'{number}" x')
    with pytest.raises(MethodError, match=r"none of [\d,]+ continuations .* short"):
        written({}, teacher=teacher)


def test_one_that_repeats_itself_ends_the_chunk_with_fewer(tmp_path: Path) -> None:
    teacher = scripted(
        tmp_path, lambda p, n: f'film {n}"' if p.startswith("Film") else f'it was {p.split()[1]} {n % 3}"'
    )
    method = written({}, teacher=teacher)
    assert len(method.written) == 6
    assert values(method.findings())["repeated"] > 0.9


def test_what_does_not_fit_is_said_before_step_0(tmp_path: Path) -> None:
    assert unmet(ZeroGen.requires(ZeroGen.Config()), WORLDS["tokens"].teacher()) != []
    labels_only = scripted(tmp_path, review)
    assert unmet(ZeroGen.requires(ZeroGen.Config()), labels_only) == []
    assert "scores" in unmet(ZeroGen.requires(ZeroGen.Config(scores="soft")), labels_only)[0]
    without = PairTask(inputs=WORLD.task.inputs, outputs={"kind": "classes", "classes": 4})
    with pytest.raises(TeacherError, match="class_names"):
        teacher_of(NGrams.fitted(made_up_texts(), WORLD.task.class_names), without)
    for options, message in (
        ({"debias": {"decay": 200}}, "next-token logits"), ({"contexts": str(tmp_path / "none.txt")}, "no {context}"),
    ):  # fmt: skip
        with pytest.raises(UserError, match=message):
            session_of(options)
    plain = PairTask.model_validate({**WORLD.task.model_dump(), "inputs": TokensSpec(vocabulary=60, length=12)})
    with pytest.raises(MethodError, match="sansdata vocabulary"):
        session_of({}, teacher=teacher_of(NGrams.fitted(made_up_texts(), plain.class_names), plain))
    assert choose_method(WORLD.teacher(), on_cpu=True).method == "zerogen"
    assert GENERATES in WORLD.teacher().capabilities


def test_a_small_vocabulary_does_not_make_unknown_words_a_class() -> None:
    """Rare words of one class share the unknown word; unless it stands in both, every real word that nobody wrote votes
    for that class (measured on real sentences: 63 % instead of 79 %)."""
    votes = {}
    for dropout in (0.0, 0.3):
        session = session_of({"dropout": dropout, "transfer": {"lr": 0.02}}, teacher=rare_words_in_one_class())
        while session.context.progress.steps < 10 or session.method.next_move() == "acquire":
            session.move()
        for _ in range(120):
            session.move()
        kind: Any = input_kind(session.context.task)
        texts = ["alpha beta unheard never seen", "unheard never seen before here"] * 4
        logits = session.student_forward(kind.read(texts)).logits.detach()
        votes[dropout] = float((logits[:, 0] - logits[:, 1]).mean())
    assert votes[0.0] > 1.0
    assert abs(votes[0.3]) < 0.5 * votes[0.0]


def rare_words_in_one_class() -> Any:
    """Texts of two classes over the same common words, of which one strews in words that occur once."""
    draw = torch.Generator().manual_seed(0)
    common = ["alpha", "beta", "gamma", "delta", "good", "bad"]
    pairs = []
    for number in range(200):
        words = [common[int(place)] for place in torch.randint(4, (6,), generator=draw)]
        words[int(torch.randint(6, (), generator=draw))] = "bad" if number % 2 else "good"
        if number % 2 == 0:
            words[int(torch.randint(6, (), generator=draw))] = f"rare{number}"
        pairs.append((" ".join(words), number % 2))
    task = WORLD.task
    folder = Path(task.inputs.tokenizer).parent
    (folder / "few.json").write_bytes(tokenizer_of(common, 8, words="spaces"))
    assert len(json.loads((folder / "few.json").read_text())["model"]["vocab"]) == 8
    inputs = TokensSpec(vocabulary=8, length=12, tokenizer=str(folder / "few.json"))
    outputs = {"kind": "classes", "classes": 2, "class_names": ["rare", "plain"]}
    job = PairTask.model_validate({"inputs": inputs, "outputs": outputs})
    return teacher_of(NGrams.fitted(pairs, job.class_names), job)


def test_the_command_line_of_a_writer(tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from sansdata.cli.main import app

    WORLD.save(tmp_path / "writer.safetensors")
    names = [f"class {number}" for number in range(4)]
    (tmp_path / "task.yaml").write_text(
        f"kind: text-classification\nlength: 12\nclasses: 4\nclass_names: {json.dumps(names)}\ntokenizer: words.json\n"
    )
    given = ["--teacher", str(tmp_path / "writer.safetensors"), "--task", str(tmp_path / "task.yaml")]
    done = CliRunner().invoke(app, ["vocabulary", *given, "--texts", "100"])
    assert done.exit_code == 0, done.output
    assert sansdata.load_task(tmp_path / "task.yaml").inputs.vocabulary > 20
    done = CliRunner().invoke(app, ["check", *given, "--student", "bag"])
    assert done.exit_code == 0, done.output
    assert "zerogen" in done.output


def test_phrases_of_a_domain_are_shown_to_a_writer_that_reads(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("slapstick at its best\na chase on roller skates\n")
    asked: list[str] = []

    def say(prompt: str, number: int) -> str:
        asked.append(prompt)
        return review(prompt.rpartition("\n")[2], number)

    method = written({"domain": str(tmp_path / "mine.txt"), "shots": 2}, teacher=scripted(tmp_path, say))
    assert len(method.written) == 60
    prompts = [prompt for prompt in asked if not prompt.startswith("Film")]
    assert {prompt.count("slapstick") + prompt.count("skates") for prompt in prompts} == {2}
    assert set(ZeroGen.reads(method.config).values()) == {"domain"}


def test_of_one_that_does_not_the_nearest_texts_are_kept(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("w1 w2 w3\n")
    share = {}
    for options in ({}, {"domain": str(tmp_path / "mine.txt")}):
        method = written(options)
        words = [word for text in method.written.texts for word in text.split()]
        share[bool(options)] = sum(word in ("w1", "w2", "w3") for word in words) / len(words)
        assert [method.written.of_class(label) for label in range(4)] == [15] * 4
    assert share[True] > 1.4 * share[False]


def test_texts_with_a_wrong_label_lose_weight() -> None:
    options = {
        "texts": 120,
        "chunk": 120,
        "reweigh": {"rounds": 12, "rate": 0.3, "batch": 16},
        "transfer": {"lr": 0.02},
    }
    session = session_of(options)
    session.move()
    method = session.method
    assert isinstance(method, ZeroGen)
    assert method.pool.targets is not None
    wrong = torch.arange(0, 120, 6)
    method.pool.targets[wrong] = (method.pool.targets[wrong] + 1) % 4
    while method.next_move() == "weigh":
        session.move()
    weights = method.weighing.weights(120)
    right = torch.ones(120, dtype=torch.bool)
    right[wrong] = False
    assert float(weights[right].mean()) > float(weights[wrong].mean()) + 0.2
    assert session.method.next_move() == "transfer"


def test_texts_that_helped_stand_before_the_next_prompts_and_wrong_ones_do_not(tmp_path: Path) -> None:
    asked: list[str] = []

    def say(prompt: str, number: int) -> str:
        asked.append(prompt)
        own = prompt.rpartition("\n")[2]
        text = review(own, number)
        return text.replace("good", "-").replace("bad", "good").replace("-", "bad") if number % 5 == 0 else text

    feedback = {"share": 1.0, "first": 60, "helpful": 6, "shots": 2, "held_out": 20, "batch": 8}
    options = {"texts": 160, "chunk": 60, "feedback": feedback, "transfer": {"lr": 0.05}}
    teacher = scripted(tmp_path, say)
    session = session_of(options, teacher=teacher)
    kinds, apart = [], []
    method = session.method
    assert isinstance(method, ZeroGen)
    while session.method.next_move() != "transfer":
        kinds.append(session.move()[0])
        apart.append(list(method.fed["held_out"]))
    assert kinds == ["acquire", "feed", "acquire", "feed", "acquire"]
    assert apart[1] == apart[3][:15]
    assert len(apart[3]) == 20
    bad, good = method.fed["helpful"]
    assert len(bad) == len(good) == 6
    assert all("bad" in text for text in bad)
    assert not {method.written.texts[place] for place in apart[3]} & {*bad, *good}
    assert all("good" in text for text in good)
    later = [prompt for prompt in asked if prompt.startswith('"')]
    assert later
    assert all(prompt.count('"it was') == 2 for prompt in later)
    with pytest.raises(MethodError, match="reads none"):
        session_of({"feedback": {"share": 0.5}})
