"""Transcripts: tokens and texts, error rates against jiwer, what is read from manifests and task files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sansdata.datasets.load import load_set
from sansdata.decoding.wav import wav_bytes
from sansdata.engine.finish import last_answers
from sansdata.errors import DataError, TaskError
from sansdata.evaluate.labelled import evaluate_model
from sansdata.figures import values
from sansdata.kinds.index import output_kind
from sansdata.kinds.outputs.transcript import IGNORED, Transcripts, error_rates
from sansdata.tasks import PairTask, TranscriptSpec, load_task

SPEC = {"kind": "transcript", "alphabet": " abcdenoxz", "length": 8}


def task(**more: Any) -> PairTask:
    found = load_task({"inputs": {"kind": "waveform", "rate": 8000, "length": 800}, "outputs": {**SPEC, **more}})
    assert isinstance(found, PairTask)
    return found


def kind() -> Transcripts:
    found = output_kind(task())
    assert isinstance(found, Transcripts)
    return found


def saying(texts: list[str]) -> torch.Tensor:
    """Logits (B, V, L) that say these texts, and anything behind them."""
    ids = kind().ids(texts)
    logits = torch.randn(len(texts), 12, 8, generator=torch.Generator().manual_seed(0))
    for row, tokens in zip(logits, ids.tolist()):
        for place, one in enumerate(tokens):
            if one != IGNORED:
                row[one, place] = 9.0
    return logits


def test_texts_come_back_and_what_is_behind_the_end_does_not_count() -> None:
    texts = ["one", "", "a cab", "zoo one"]
    logits = saying(texts)
    assert kind().texts(kind().tokens(logits)) == texts
    assert kind().ids(["one"]).tolist() == [[9, 8, 7, 0, *[IGNORED] * 4]]
    assert kind().ids(["abcdeabcdeabcde"])[0].tolist()[-1] == 0, "what is longer is cut and ended"
    changed = logits.clone()
    changed[0, :, 4:] = torch.randn(12, 4)
    assert torch.equal(kind().tokens(changed), kind().tokens(logits))
    assert kind().continued(kind().ids(["one"])).tolist() == [[1, 9, 8, 7, 0, 0, 0, 0]]
    assert [text for text, _ in kind().captions(logits.numpy(), str)] == ["one", "(nothing)", "a cab", "zoo one"]


def test_error_rates_are_those_of_jiwer() -> None:
    jiwer = pytest.importorskip("jiwer")
    wanted = ["one zoo", "a cab", "bad", "one one one"]
    said = ["one zoo", "a cab cab", "", "one zoo one one"]
    found = values(error_rates(wanted, said))
    assert found["wer"] == pytest.approx(jiwer.wer(wanted, said))
    assert found["cer"] == pytest.approx(jiwer.cer(wanted, said))
    assert found["exact"] == 0.25
    assert found["median_wer"] == pytest.approx(np.median([jiwer.wer(a, b) for a, b in zip(wanted, said)]))


def test_a_model_is_measured_beside_its_teacher_on_a_manifest(tmp_path: Path) -> None:
    texts = ["one", "zoo", "bad cab"]
    for place, text in enumerate(texts):
        (tmp_path / f"{place}.wav").write_bytes(wav_bytes(np.full(400, 100 * place + 9, np.int16), 8000))
        (tmp_path / "list.tsv").open("a").write(f"{place}.wav\t{text.upper()}\n")
    data = load_set(tmp_path / "list.tsv", task())
    answers, worse = saying(texts), saying(["one", "one", "cab"])
    score = evaluate_model(lambda _: worse, data, task(), lambda _: answers)  # type: ignore[arg-type]
    assert (score.teacher_wer, score.wer) == (0, 0.5)
    assert score.agreement == pytest.approx(1 / 3)
    with pytest.raises(DataError, match="manifest"):
        load_set(tmp_path, task())


def test_the_loss_is_taken_over_the_teachers_text_alone() -> None:
    from sansdata.contracts import Outputs
    from sansdata.objectives.logits import kl
    from sansdata.training.transfer import TransferSettings

    student, teacher = torch.randn(2, 12, 8), saying(["one", "zoo one"])
    how = TransferSettings(temperature=2.0)
    loss = kind().match(Outputs(student), Outputs(teacher), how)
    by_place = kl(student, teacher, 2.0)
    assert loss.tolist() == pytest.approx([float(by_place[0, :4].mean()), float(by_place[1].mean())], rel=1e-5)


def test_answers_of_a_large_vocabulary_are_kept_by_their_likeliest_tokens() -> None:
    outputs = Transcripts(TranscriptSpec(tokenizer="words", prompt=(0,), end=999, vocabulary=1000, length=4))
    answers = torch.randn(3, 1000, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 4
    packed = outputs.pack(answers)
    again = outputs.unpack(packed).double()
    assert packed.numel() * 12 < answers.numel()
    assert outputs.tokens(again).equal(outputs.tokens(answers))
    assert again.logsumexp(1).abs().max() < 1e-5  # they are log-probabilities: nothing of the mass is lost
    chances = answers.log_softmax(1)
    likely = chances >= chances.topk(32, 1).values[:, -1:]
    torch.testing.assert_close(again[likely], chances[likely], rtol=1e-5, atol=1e-5)
    assert outputs.from_array(packed.numpy(), 3).equal(outputs.unpack(packed))  # type: ignore[union-attr]
    assert kind().pack(saying(["one"])).shape == (1, 12, 8)  # of a small one all of it


@pytest.mark.parametrize(
    ("place", "value"), [((0, 0, 0), 1000.0), ((0, 5, 1), -1.0), ((1, 31, 3), np.nan), ((2, 0, 0), np.inf)]
)
def test_kept_answers_that_name_no_token_are_none(place: tuple[int, int, int], value: float) -> None:
    outputs = Transcripts(TranscriptSpec(tokenizer="words", prompt=(0,), end=999, vocabulary=1000, length=4))
    packed = outputs.pack(torch.zeros(3, 1000, 4)).numpy().copy()
    assert outputs.from_array(packed, 3) is not None
    packed[place] = value
    assert outputs.from_array(packed, 3) is None
    assert outputs.from_array(packed[:, :-1], 3) is None
    assert outputs.from_array(np.array(1.0), 1) is None


@pytest.mark.parametrize("logits", [np.float32(1), np.zeros((200, 12, 8), np.float32), np.zeros(3, np.int64)])
def test_what_stands_in_the_place_of_the_last_answers_is_measured_first(tmp_path: Path, logits: np.ndarray) -> None:
    """A resumed run reads samples that anybody may have written."""
    np.savez(tmp_path / "step-000000009.npz", logits=logits)
    answers = last_answers(tmp_path, kind())
    assert answers is None or answers.shape == (64, 12, 8)
    assert (answers is None) == (logits.shape != (200, 12, 8))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"alphabet": "aa"}, "each letter once"), ({"alphabet": ""}, "alphabet or by a tokenizer"),
        ({"prompt": []}, "prompt is 1 to 8"), ({"prompt": [99]}, "prompt is"), ({"end": 12}, "no id"),
        ({"length": 0}, "length"), ({"vocabulary": 5}, "two more"), ({"tokenizer": "none.json"}, "one of the two"),
    ],
)  # fmt: skip
def test_a_side_that_is_none_is_refused(fields: dict[str, Any], words: str) -> None:
    base = {**SPEC, "vocabulary": 12} if "alphabet" in fields else SPEC
    with pytest.raises(TaskError, match=words):
        load_task({"inputs": {"kind": "waveform", "length": 800}, "outputs": {**base, **fields}})


def test_a_tokenizer_of_whisper_says_how_a_transcript_begins_and_ends(tmp_path: Path) -> None:
    names = ["<|endoftext|>", "<|startoftranscript|>", "<|en|>", "<|translate|>", "<|transcribe|>", "<|notimestamps|>"]
    for first, prompt in ((50, [51, 55]), (49, [51, 52, 54, 55])):
        ids = [first, 51, 52, 53, 54, 55]
        added = [{"id": one, "content": name} for one, name in zip(ids, names)]
        (tmp_path / "tokenizer.json").write_text(json.dumps({"model": {"vocab": {"a": 0}}, "added_tokens": added}))
        spec = TranscriptSpec(tokenizer=str(tmp_path / "tokenizer.json"), length=4)  # type: ignore[call-arg]
        assert (list(spec.prompt), spec.end, spec.vocabulary) == (prompt, first, 56 + 1501)


def test_what_is_said_behind_the_length_counts_as_unheard_and_what_cannot_be_written_is_noted(tmp_path: Path) -> None:
    """Word error rates were 0 against references that were cut like the answers."""
    for name, samples in (("a", 400), ("b", 900)):
        (tmp_path / f"{name}.wav").write_bytes(wav_bytes(np.full(samples, 100, np.int16), 8000))
    (tmp_path / "m.tsv").write_text("a.wav\tone one one one one\nb.wav\tone 911\n")
    data = load_set(tmp_path / "m.tsv", task())
    assert data.notes == (
        "1 of 2 sounds were cut to 0.1 s", "3 letters of the texts are not in the alphabet and were left out of them",
    )  # fmt: skip
    heard = saying(["one one", "one"]).numpy()
    assert values(kind().evaluate(heard, data.labels))["wer"] == 3 / 6
    with pytest.raises(TaskError, match="lower case"):
        task(alphabet=" ABC")
