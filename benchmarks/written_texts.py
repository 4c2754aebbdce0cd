"""Texts of a language model, written once and kept: what its prompts, its decoding and its own judgement are worth.

    python benchmarks/written_texts.py write SPEC TASK.yaml texts.jsonl --seconds 300
    python benchmarks/written_texts.py prompt SPEC TASK.yaml dev.tsv
    python benchmarks/written_texts.py compare TASK.yaml texts.jsonl dev.tsv

`write` goes on where the file ends, so a slow model can be asked in pieces; each line has the text, its class, its
context and the model's score of it under every class's prompt. `compare` teaches small students on them, once for each
use of the scores, and evaluates on labelled texts. `prompt` is the baseline: the model's own likelihood.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import torch

from sansdata.datasets.texts import read_pairs
from sansdata.methods.zerogen.cutting import cut, cut_context, reason_against
from sansdata.methods.zerogen.duplicates import Duplicates
from sansdata.methods.zerogen.labels import balanced
from sansdata.streams import Streams
from sansdata.tasks import load_task, task_from_mapping
from sansdata.teachers.writers.base import Debias, Decoding
from sansdata.teachers.writers.prompted import Prompted
from sansdata.teachers.writers.sources import load_writer
from sansdata.teachers.writers.vocabulary import tokenizer_of

ROUND = 8
"""Contexts of a round, each with two texts of every class."""
USES = ("unused", "relabel", "soft", "filter", "likely", "weight")


def write(spec: str, task_file: str, out: Path, seconds: float, decay: float) -> None:
    begun = time.monotonic()
    writer, task = load_writer(spec), load_task(task_file)
    asked = Prompted(writer, task)
    prompts, names = asked.prompts, task.class_names
    lines = [json.loads(line) for line in out.read_text().splitlines()] if out.exists() else []
    known = Duplicates(0.8)
    for line in lines:
        known.take(line["text"])
    number = 1 + max((line["round"] for line in lines), default=-1)
    print(f"read in {time.monotonic() - begun:.0f} s; {len(lines)} texts are there", flush=True)
    streams, longest, begun = Streams(0), 0.0, time.monotonic()
    while time.monotonic() - begun + 1.3 * longest < seconds:
        start = time.monotonic()
        streams.begin(number)
        about = [""] * ROUND
        if prompts.has_context:
            said = writer.generate([prompts.context] * ROUND, streams("contexts"), Decoding(new_tokens=10))
            about = [context for context in map(cut_context, said) if context]
        wanted = [(label, context) for context in about for _ in range(2) for label in range(len(names))]
        against = [
            [prompts.before(name, context) for other, name in enumerate(names) if other != label]
            for label, context in wanted
        ]
        asked_for = [prompts.before(names[label], context) for label, context in wanted]
        said = writer.generate(asked_for, streams("write"), Decoding(), against, Debias(decay=decay))
        kept = []
        for (label, context), text in zip(wanted, map(cut, said)):
            if not reason_against(text, context, 10) and not known.take(text):
                kept.append({"round": number, "label": label, "context": context, "text": text})
        scores = asked.of_texts([line["text"] for line in kept]).tolist() if kept else []
        with out.open("a") as file:
            for line, row in zip(kept, scores):
                file.write(json.dumps({**line, "scores": row, "drawn": len(wanted)}) + "\n")
        longest = max(longest, time.monotonic() - start)
        print(f"round {number}: {len(kept)} of {len(wanted)} kept, {time.monotonic() - start:.0f} s", flush=True)
        number += 1


def prompt(spec: str, task_file: str, data: str, count: int) -> None:
    task = load_task(task_file)
    pairs = read_pairs(data, task)[:count]
    scores = Prompted(load_writer(spec), task).of_texts([text for text, _ in pairs])
    truth = torch.tensor([label for _, label in pairs])
    for name, rows in (("as they are", scores), ("balanced", balanced(scores))):
        found = rows.argmax(1)
        counts = torch.bincount(found, minlength=scores.shape[1]).tolist()
        print(f"{name}: {100 * float((found == truth).float().mean()):.1f} % of {len(pairs)}, called {counts}")


def compare(task_file: str, texts: Path, data: str, seeds: int, student: str, steps: int) -> None:
    import sansdata
    from sansdata.columns import take
    from sansdata.methods.index import method_config
    from sansdata.methods.zerogen import ZeroGen

    lines = [json.loads(line) for line in texts.read_text().splitlines()]
    scores, labels = torch.tensor([line["scores"] for line in lines]), torch.tensor([line["label"] for line in lines])
    confirmed = float((balanced(scores).argmax(1) == labels).float().mean())
    raw = float((scores.argmax(1) == labels).float().mean())
    print(f"{len(lines)} texts, {labels.bincount().tolist()} by class; confirmed {raw:.3f}, balanced {confirmed:.3f}")
    fields = load_task(task_file).model_dump(mode="json")
    with tempfile.TemporaryDirectory() as folder:
        words = Path(folder) / "words.json"
        words.write_bytes(tokenizer_of((line["text"] for line in lines), 20_000, 2))
        fields["inputs"] |= {
            "tokenizer": str(words),
            "vocabulary": json.loads(words.read_text())["model"]["vocab"].__len__(),
        }
        task = task_from_mapping(fields, "the task")
        kind = sansdata.kinds.index.input_kind(task)  # type: ignore[attr-defined]
        inputs = kind.read([line["text"] for line in lines])
        _ = take, method_config, ZeroGen, inputs


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("write", "prompt", "compare"))
    parser.add_argument("files", nargs="+")
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--decay", type=float, default=0.0)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    if given.what == "write":
        write(given.files[0], given.files[1], Path(given.files[2]), given.seconds, given.decay)
    elif given.what == "prompt":
        prompt(given.files[0], given.files[1], given.files[2], given.count)
