"""`sansdata evaluate`: figures on real data, of the model's own task or of another."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from .. import __version__
from ..config import parse_override
from ..errors import ConfigError
from ..files import read_json, reason, user_path, write_json
from ..tasks import load_task
from . import words

Background = Literal["white", "black"]
RECORD = {"sansdata": __version__, "record": "evaluation"}
"""What a file of --json begins with."""


def evaluate(
    model: Annotated[str, typer.Argument(metavar="DIR_OR_SPEC", help="a run directory, or a SPEC with --task")],
    data: words.OptionalData = None,
    transfer: Annotated[
        list[str] | None,
        typer.Option("--transfer", metavar="DATA", help="another task's set: what are the features worth there?"),
    ] = None,
    attack: Annotated[
        list[str] | None,
        typer.Option("--attack", metavar="NAME", help="put a trigger on --data: how often does it work?"),
    ] = None,
    target: Annotated[int, typer.Option(metavar="N", help="the class that the attack is after")] = 0,
    few_shot: Annotated[
        list[str] | None,
        typer.Option("--few-shot", metavar="key=value", help="of a few-shot model: tasks, shots, classes=[...]"),
    ] = None,
    task: words.OptionalTask = None,
    teacher: words.OptionalTeacher = None,
    judge: Annotated[
        str | None,
        typer.Option("--judge", metavar="SPEC", help="of a generator: a classifier whose features it is seen in"),
    ] = None,
    judge_task: Annotated[
        str | None, typer.Option("--judge-task", metavar="TASK", help="the judge's own task, in which --data is read")
    ] = None,
    background: Annotated[
        Background | None, typer.Option("--background", help="what transparent pictures of a folder are seen on")
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="also write all figures here")
    ] = None,
    device: words.Device = "auto",
) -> None:
    """Accuracy, per class, calibration, with --teacher agreement; --transfer probes other tasks, --attack backdoors."""
    if (judge is None) != (judge_task is None) or (judge and data is None):
        raise ConfigError("a judge needs its own task and real images: give --judge, --judge-task and --data")
    if data is None and not transfer:
        raise ConfigError("nothing to evaluate on: give --data (the model's own task), --transfer (another), or both")
    if attack and data is None:
        raise ConfigError("--attack puts a trigger on images of the model's own task: give them with --data")
    if background and data is None:
        raise ConfigError("--background is of the images of --data: give them")
    if json_file is not None:
        from ..api.outputs import require_free

        json_file = user_path(json_file, "--json")
        require_free(json_file, ours=_is_record, flag="--json")
    tasks: dict[str, Any] | None = None
    for text in few_shot or ():
        key, value = parse_override(text)
        tasks = {**(tasks or {}), key: value}
    job = load_task(task).model_dump(mode="json") if task else None
    from ..api.evaluate import attack_success, transferability
    from ..api.evaluate import evaluate as measure
    from ..api.judge import judge as judged

    figures: dict[str, Any] = {}
    if judge is not None:
        figures = judged(model, str(data), judge, judge_task, job, device=device, teacher=teacher).to_dict()
        _say_own(figures)
    elif data is not None:
        figures = measure(
            model, data, task=job, teacher=teacher, device=device, background=background, few_shot=tasks
        ).to_dict()
        _say_own(figures)
    attacks = {}
    for name in dict.fromkeys(attack or ()):
        attacks[name] = attack_success(model, str(data), name, target, job, device, background).to_dict()
        _say_attack(attacks[name])
    others = {}
    for name in dict.fromkeys(transfer or ()):
        others[name] = transferability(model, name, task=job, teacher=teacher, device=device).to_dict()
        _say_other(others[name])
    if json_file is not None:
        named = {"transfer": others, "attacks": attacks}
        try:
            write_json(json_file, RECORD | figures | {section: value for section, value in named.items() if value})
        except OSError as fault:
            raise ConfigError(
                f"--json {json_file} cannot be written ({reason(fault)}); the figures stand above"
            ) from None


def _is_record(file: Path) -> bool:
    """Whether `file` was written by --json before."""
    try:
        record = read_json(file)
    except (OSError, ValueError):
        return False
    return isinstance(record, dict) and record.get("record") == RECORD["record"]


def _say_own(figures: dict[str, Any]) -> None:
    """Of classes what matters most; of another kind of output every figure."""
    if "fairness_and_utility" in figures:
        _say_rules(figures)
        _say_notes(figures)
        return
    if "accuracy" not in figures:
        print(f"on        {figures['count']:,} samples of {figures['source']}")
        for one in figures["figures"]:
            if "value" in one:
                print(f"{one['name']:<9} {one['value']:.4g}{_between(one)}   {one.get('meaning', '')}".rstrip())
        _say_notes(figures)
        return
    low, high = figures["accuracy_interval"]
    print(
        f"accuracy  {words.percent(figures['accuracy'])}  (95 % interval {words.percent(low)} to {words.percent(high)})"
    )
    print(f"on        {figures['count']:,} samples of {figures['source']}")
    if low <= figures["majority_share"]:
        accuracy = next(one for one in figures["figures"] if one["name"] == "accuracy")
        constant = f": {accuracy['meaning']}" if "meaning" in accuracy else ""
        print(f"caution   not shown to be better than always naming the most frequent class{constant}")
    if figures.get("teacher_accuracy") is not None:
        print(f"teacher   {words.percent(figures['teacher_accuracy'])}")
        print(f"agreement {words.percent(figures['agreement'])}")
    print(f"balanced  {words.percent(figures['balanced_accuracy'])}  (guessing has "
          f"{words.percent(1 / len(figures['per_class']))}; always the most frequent class: accuracy "
          f"{words.percent(figures['majority_share'])})")  # fmt: skip
    if "auroc" in figures:
        print(f"AUROC     {figures['auroc']:.4f}   AUPRC {figures['auprc']:.4f}" + _of_teacher(figures))
    print(f"ECE       {figures['ece']:z.4f}   NLL {figures['nll']:z.4f}   Brier {figures['brier']:z.4f}")
    print("per class " + json.dumps([None if v is None else round(100 * v, 1) for v in figures["per_class"]]))
    _say_notes(figures)


SHOWN = {
    "downstream_auroc": "AUROC", "downstream_balanced_accuracy": "balanced", "downstream_positive_rate": "positive",
    "downstream_dpr": "DPR", "downstream_eor": "EOR", "s_auc": "s-AUC", "density": "density", "coverage": "coverage",
    "nearer_to_training": "nearer",
}  # fmt: skip
"""Figure of made rows -> the head of its column."""


def _say_rules(figures: dict[str, Any]) -> None:
    """Made rows, a line for each rule of the sensitive attribute and for what stands beside them."""
    print(f"on        {figures['count']:,} samples of {figures['source']}")
    by_rule: dict[str, dict[str, float]] = {}
    for one in figures["figures"]:
        name, _, rule = one["name"].partition(" (")
        if name in SHOWN and "value" in one:
            by_rule.setdefault(rule.rstrip(")") or "neutral", {})[name] = one["value"]
    print(f"{'rule':22}" + "".join(f"{head:>9}" for head in SHOWN.values()))
    for rule, values in by_rule.items():
        print(f"{rule:22}" + "".join(f"{values[n]:9.3f}" if n in values else f"{'-':>9}" for n in SHOWN))
    print(
        "meaning   a classifier trained on the rows, tested on real ones: DPR and EOR 1 are fair, positive is who is "
        f"given the good class (of the real rows {words.percent(figures['base_rate'])} have it); s-AUC .5: the rows "
        "do not tell the group; nearer .5: they copy nobody"
    )


def _between(figure: dict[str, Any]) -> str:
    ends = figure.get("interval")
    return f" (95 % interval {ends[0]:.4g} to {ends[1]:.4g})" if ends else ""


def _of_teacher(figures: dict[str, Any]) -> str:
    if "teacher_auroc" not in figures:
        return ""
    return f"   (the teacher's: {figures['teacher_auroc']:.4f}, {figures['teacher_auprc']:.4f})"


def _say_attack(figures: dict[str, Any]) -> None:
    print(
        f"attack    {figures['attack']}: {words.percent(figures['rate'])} of {figures['count']:,} images of other "
        f"classes answered as class {figures['target']}, {words.percent(figures['base_rate'])} without the trigger"
    )


def _say_other(figures: dict[str, Any]) -> None:
    print(f"transfer  to {figures['data']}: {figures['train']:,} to learn from, {figures['test']:,} to test on")
    print(f"{'':10}{'linear probe':>14}{'fine-tuned':>14}   ({figures['measure']} of the probe)")
    for name in ("model", "floor", "ceiling"):
        if (score := figures[name]) is not None:
            print(f"{name:10}{words.percent(score['probe']):>14}{words.percent(score['fine_tune']):>14}")
    if figures["normalised"] is not None:
        print(f"probe     {words.percent(figures['normalised'])} of the way from floor to ceiling")
    _say_notes(figures)


def _say_notes(figures: dict[str, Any]) -> None:
    for note in figures["notes"]:
        print(f"note      {note}")
