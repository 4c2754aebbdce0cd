"""Texts of a language model, written once and kept: what its own judgement of them is worth to a student.

    python benchmarks/written_texts.py write SPEC TASK.yaml texts.jsonl --seconds 300
    python benchmarks/written_texts.py prompt SPEC TASK.yaml dev.tsv --count 400
    python benchmarks/written_texts.py compare SPEC TASK.yaml texts.jsonl dev.tsv --steps 500

`write` goes on where the file ends, so that a slow model can be asked in pieces; each line has a text, its class, its
context and the model's score of it under every class's prompt. `prompt` is the baseline: the model's own likelihood, as
it is and with even classes. `compare` teaches a bag of embeddings on the file once for each use of the scores, and
evaluates it on labelled texts.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from sansdata.contracts import Counters
from sansdata.datasets.load import load_set
from sansdata.datasets.texts import class_of, read_pairs
from sansdata.engine.session import Session
from sansdata.evaluate.labelled import evaluate_model
from sansdata.kinds.inputs.tokens import Tokens
from sansdata.methods.index import method_config
from sansdata.methods.zerogen import ZeroGen
from sansdata.methods.zerogen.cutting import reason_against
from sansdata.methods.zerogen.drawing import Author
from sansdata.methods.zerogen.labels import balanced
from sansdata.methods.zerogen.written import Duplicates
from sansdata.models.build import architecture_of, build
from sansdata.runtime import keep_freed_memory, make_runtime
from sansdata.streams import Streams
from sansdata.tasks import PairTask, Task, load_task
from sansdata.teachers.writers.base import Debias, Decoding
from sansdata.teachers.writers.prompted import Prompted, teacher_of
from sansdata.teachers.writers.sources import load_writer
from sansdata.teachers.writers.vocabulary import tokenizer_of

CONTEXTS = 4
"""Of a round, each with two texts of every class."""
USES: dict[str, dict[str, Any]] = {
    **{use: {"scores": use} for use in ("unused", "relabel", "soft", "filter", "likely", "weight")},
    "shuffled": {"shuffled": True}, "sungen": {"reweigh": {"rounds": 20}},
}  # fmt: skip


def write(spec: str, task: Task, out: Path, seconds: float, decay: float, min_words: int) -> None:
    begun, writer = time.monotonic(), load_writer(spec)
    asked = Prompted(writer, task)
    author = Author(writer, asked.prompts, task.class_names, Counters())
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
        about = [""] * CONTEXTS
        if asked.prompts.has_context:
            about = author.contexts(CONTEXTS, streams("contexts"), Decoding(new_tokens=10))
        requests = [(label, one) for one in about for _ in range(2) for label in range(len(task.class_names))]
        texts = author.texts(requests, streams("write"), Decoding(), Debias(decay=decay))
        kept = [
            {"round": number, "label": label, "context": one, "text": text}
            for (label, one), text in zip(requests, texts)
            if not reason_against(text, one, min_words) and not known.take(text)
        ]
        scores = asked.of_texts([str(line["text"]) for line in kept]).tolist() if kept else []
        with out.open("a") as file:
            file.writelines(json.dumps({**line, "scores": row}) + "\n" for line, row in zip(kept, scores))
        longest = max(longest, time.monotonic() - start)
        print(f"round {number}: {len(kept)} of {len(requests)}, {time.monotonic() - start:.0f} s", flush=True)
        number += 1


def prompt(spec: str, task: Task, data: str, count: int) -> None:
    pairs = read_pairs(data, task)[:count]
    truth = torch.tensor([class_of(label, task.names, data, row) for row, (_, label) in enumerate(pairs)])
    scores = Prompted(load_writer(spec), task).of_texts([text for text, _ in pairs])
    for name, rows in (("as they are", scores), ("balanced", balanced(scores))):
        right, called = (rows.argmax(1) == truth).float().mean(), rows.argmax(1).bincount(minlength=scores.shape[1])
        print(f"{name}: {100 * float(right):.1f} % of {len(pairs)}, called {called.tolist()}")


def compare(spec: str, task: Task, texts: Path, data: str, steps: int, seeds: int) -> None:
    lines = [json.loads(line) for line in texts.read_text().splitlines()]
    scores, labels = torch.tensor([line["scores"] for line in lines]), torch.tensor([line["label"] for line in lines])
    for name, rows in (("as they are", scores), ("balanced", balanced(scores))):
        confirmed = float((rows.argmax(1) == labels).float().mean())
        print(f"{len(lines)} texts, {labels.bincount().tolist()}; {name} the scores confirm {100 * confirmed:.1f} %")
    writer = load_writer(spec)
    with tempfile.TemporaryDirectory() as folder:
        words = Path(folder) / "words.json"
        words.write_bytes(tokenizer_of((line["text"] for line in lines), 20_000, 2, writer.words))
        fields = task.inputs.model_dump(exclude={"vocabulary", "tokenizer"}) | {"tokenizer": str(words)}
        job = PairTask(inputs=fields, outputs=task.outputs)
        labelled: Any = load_set(data, job)
        for use, options in USES.items():
            found = [accuracy(writer, job, lines, labelled, options, steps, seed) for seed in range(seeds)]
            spread = statistics.stdev(found) if seeds > 1 else 0.0
            print(f"{use}: {statistics.mean(found):.2f} ± {spread:.2f} %", flush=True)


def accuracy(
    writer: Any, task: Task, lines: list[Any], labelled: Any, options: dict[str, Any], steps: int, seed: int
) -> float:
    """In percent, of a bag of embeddings that learned the lines and nothing else."""
    given = {"texts": len(lines), "chunk": len(lines), "more_every": steps, "transfer": {"batch": 64, "lr": 2e-3}}
    config, streams = method_config("zerogen", "default", given | options), Streams(seed)
    with streams.as_global("student"):
        student = build(architecture_of("bag", task))
    session = Session(ZeroGen, config, teacher_of(writer, task), student, task, make_runtime("cpu"), seed, steps)
    method, kind = session.method, Tokens(task.inputs)
    assert isinstance(method, ZeroGen)
    columns = [torch.tensor([line[name] for line in lines]) for name in ("label", "scores")]
    method.pool.add(kind.read([line["text"] for line in lines]), *columns)
    method.schedule["chunks"] = 1
    method.schedule.begin_steps()
    while session.context.progress.steps < steps:
        session.move()
    predict = session.context.network.around(session.student.eval())
    return 100 * evaluate_model(predict, labelled, task).accuracy


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("write", "prompt", "compare"))
    parser.add_argument("spec")
    parser.add_argument("task")
    parser.add_argument("files", nargs="+")
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--decay", type=float, default=0.0, help="of self-debiasing; 0 is off")
    parser.add_argument("--min-words", type=int, default=10)
    parser.add_argument("--count", type=int, default=400)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    keep_freed_memory("cpu")  # as the command does
    torch.set_num_threads(given.threads)
    job = load_task(given.task)
    if given.what == "write":
        write(given.spec, job, Path(given.files[0]), given.seconds, given.decay, given.min_words)
    elif given.what == "prompt":
        prompt(given.spec, job, given.files[0], given.count)
    else:
        compare(given.spec, job, Path(given.files[0]), given.files[1], given.steps, given.seeds)
