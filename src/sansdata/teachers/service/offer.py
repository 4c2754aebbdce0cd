"""What an API offers and what one may spend on it: the YAML file that `--teacher api.yaml` names."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import pydantic

from ...code_named import code_of
from ...config import Strict, read_yaml, validate
from ...errors import TeacherError, UserError

Money = Annotated[Decimal, pydantic.Field(ge=0, max_digits=18, allow_inf_nan=False)]
KEY = "SANSDATA_API_KEY"
"""Beginning of the names under which the environment may hold a key for a service."""


class Price(Strict):
    """In whatever currency the service has; put quotes around it, so that no digit is lost."""

    sample: Money = Decimal(0)
    request: Money = Decimal(0)


class Limits(Strict):
    """The most that may ever be spent on this service, all runs together; None is no limit."""

    samples: int | None = pydantic.Field(default=None, ge=1)
    requests: int | None = pydantic.Field(default=None, ge=1)
    money: Money | None = None


class Rate(Strict):
    """The most that is asked in a second, and the requests that are under way at once; None is no limit."""

    requests: float | None = pydantic.Field(default=None, gt=0)
    samples: float | None = pydantic.Field(default=None, gt=0)
    at_once: int = pydantic.Field(default=4, ge=1, le=64)


class Offer(Strict):
    """A service that answers for images with classes.

    url: where it is asked. model: in its place, a spec of a network on this machine that then answers as such a service
    would. permitted: you may distil this service; it is your contract with it, and nothing is asked without.
    version: of the model, as the service names it; answers of two versions are never mixed. answers: 'logits',
    'probabilities', 'top-k' (the `top` likeliest) or 'labels'. decimals: of its probabilities. inputs: 'png', which
    holds 8 bits a pixel, or 'float32'. batch: the most images in a request. key: the environment's variable with the
    key.
    """

    wrong: ClassVar[type[UserError]] = TeacherError

    url: str | None = None
    model: str | None = None
    permitted: bool = False
    version: str = pydantic.Field(default="", max_length=200)
    answers: Literal["logits", "probabilities", "top-k", "labels"] = "probabilities"
    top: int = pydantic.Field(default=1, ge=1)
    decimals: int | None = pydantic.Field(default=None, ge=0, le=15)
    inputs: Literal["png", "float32"] = "png"
    batch: int = pydantic.Field(default=64, ge=1, le=65536)
    price: Price = Price()
    limits: Limits = Limits()
    rate: Rate = Rate()
    key: str = pydantic.Field(default=KEY, pattern=rf"^{KEY}[A-Z0-9_]*$")

    @pydantic.model_validator(mode="after")
    def _of_one_source(self) -> Offer:
        if (self.url is None) == (self.model is None):
            raise ValueError("give url: of the service, or model: of a network that stands in for one")
        if self.url is not None and not self.permitted:
            raise ValueError(
                "permitted: true is missing. Say so only if your contract with the service allows you to train a model "
                "on its answers (docs/black-box.md)"
            )
        if self.model is not None and is_offer(self.model):
            raise ValueError("model: is another service; give a network of this machine")
        if self.model is not None and code_of(self.model):
            raise ValueError("model: names code, which a settings file may not; give a file of weights or a run")
        return self

    @property
    def source(self) -> str:
        """What is asked, for reports."""
        return self.url or f"{self.model}, as a service"

    @property
    def levels(self) -> int | None:
        """Steps between black and white of its inputs; None where they are not rounded."""
        return 255 if self.inputs == "png" else None

    def costs(self, samples: int, requests: int) -> Decimal:
        return self.price.sample * samples + self.price.request * requests


def is_offer(spec: str) -> bool:
    return Path(spec).suffix.lower() in (".yaml", ".yml")


def load_offer(spec: str) -> Offer:
    """Raises TeacherError for a file that is missing, or says something else than an offer."""
    return validate(Offer, read_yaml(spec, error=TeacherError), spec, error=TeacherError)
