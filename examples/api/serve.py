"""Your own model behind an API: uvicorn serve:app, with TEACHER, TASK and the rest in the environment (README.md)."""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np
import torch
from fastapi import FastAPI, Request, Response
from fastapi.responses import StreamingResponse
from service import Reply, Service

from sansdata.tasks import load_task
from sansdata.teachers.specs import load_teacher

task = load_task(os.environ["TASK"])
teacher = load_teacher(os.environ["TEACHER"], task)


def predict(images: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return teacher(torch.from_numpy(images)).logits.softmax(1).numpy()


service = Service(
    predict, shows=os.environ.get("SHOWS", "probabilities"), top=int(os.environ.get("TOP", 3)),
    decimals=int(os.environ["DECIMALS"]) if "DECIMALS" in os.environ else None, names=task.class_names,
    version=os.environ.get("VERSION", "1"), key=os.environ.get("KEY", ""),
)  # fmt: skip
app = FastAPI()


@app.post("/v1/predict")
async def answer(request: Request) -> Response:
    """FastAPI closes no connection at will, so that 'reset' is a 500 here."""
    reply = service.reply(await request.body(), request.headers.get("Authorization", ""))
    if reply.endless:
        return StreamingResponse(_for_ever(reply), status_code=reply.status)
    return Response(reply.body, 500 if reply.drop else reply.status, reply.headers, "application/json")


@app.post("/faults")
async def faults(request: Request) -> dict:
    """Switches faults on for the requests to come: a JSON list of their names, as service.py has them."""
    service.faults = [str(name) for name in await request.json()]
    return {"faults": service.faults}


@app.get("/spent")
async def spent() -> dict:
    """What the service counted, to compare with what the client did."""
    return {"requests": service.requests, "samples": service.samples}


def _for_ever(reply: Reply) -> Iterator[bytes]:
    while True:
        yield reply.body
