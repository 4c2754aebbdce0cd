"""The ServerApp: rounds through Flower's grid, then the model and a line per round into `out`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from sansdata.federated.flower.nodes import count_nodes
from sansdata.federated.flower.strategy import make_strategy
from sansdata.models.saved import write_model
from sansdata_flower.task import world

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    config = context.run_config
    here = world(config, int(config["clients"]) or count_nodes(grid))
    settings, run = here.settings, here.run
    out = Path(str(config["out"]) or f"flower-{context.run_id}")
    out.mkdir(parents=True, exist_ok=True)

    def on_round(line: dict[str, Any]) -> None:
        if run.server.has_global_model:
            line |= run.measure(here.tests)
        with open(out / "metrics.jsonl", "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    strategy = make_strategy(
        run.server, settings.active_clients, settings.seed, on_round, wait=float(config["wait"]),
        evaluate_every=int(config["evaluate-every"]), checkpoints=out / "checkpoints", resume=bool(config["resume"]),
    )  # fmt: skip
    rounds, timeout = settings.rounds - strategy.done, float(config["timeout"])
    strategy.start(grid, strategy.initial_arrays(), rounds, timeout=timeout)
    if run.server.has_global_model:  # else every client keeps its own, where it was given a folder
        model = run.server.context.model
        write_model(out / "student.safetensors", model, here.architecture, here.task, {"method": settings.method})
    (out / "finished").touch()
