"""The settings of a run, without those of its method. No torch here: a wrong key answers at once."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import pydantic

from .code_named import require_code_named
from .config import Options, Strict, Text, parse_override, plain, read_yaml, set_dotted, validate
from .errors import ConfigError


class Grown(Strict):
    """Settings to which fields were added: `later` are left out of a dump where they have their default, so that the
    settings of older runs are written, hashed and compared as they were."""

    later: ClassVar[tuple[str, ...]] = ()

    @pydantic.model_serializer(mode="wrap")
    def _as_before(self, plain: pydantic.SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields = plain(self)
        unset = [name for name in self.later if getattr(self, name) == type(self).model_fields[name].get_default()]
        return {name: value for name, value in fields.items() if name not in unset}


class FeatureTerms(Grown):
    """Feature alignment, as an option of any method; weight 0 is off.

    hint: FitNets, mean squared error after a 1x1 regressor (Romero et al. 2015).
    attention: attention transfer (Zagoruyko & Komodakis 2017); ZSKT uses 250.
    affinity, fast_affinity: of pixels, FAQD (Li et al. 2023), the second by `probes` random vectors (released: 15).
    Deviation: a mean over the batch, where the released code sums (its 0.1 at batches of 100 is a weight of 10 here);
    affinity_sum is the released sum. affinity_order: 1 as released, or 2. adapter: a 1x1 convolution and ReLU on the
    student's maps, trained with it and dropped (released).
    teacher, student: module paths to align, in pairs; empty chooses the ends of the stages.
    """

    hint: float = pydantic.Field(default=0.0, ge=0)
    attention: float = pydantic.Field(default=0.0, ge=0)
    teacher: tuple[str, ...] = ()
    student: tuple[str, ...] = ()
    affinity: float = pydantic.Field(default=0.0, ge=0)
    fast_affinity: float = pydantic.Field(default=0.0, ge=0)
    probes: int = pydantic.Field(default=15, ge=1, le=4096)
    affinity_order: Literal[1, 2] = 1
    affinity_sum: bool = False
    adapter: bool = True

    later: ClassVar[tuple[str, ...]] = (
        "affinity", "fast_affinity", "probes", "affinity_order", "affinity_sum", "adapter",
    )  # fmt: skip

    @pydantic.model_validator(mode="after")
    def _pairs(self) -> FeatureTerms:
        if len(self.teacher) != len(self.student):
            raise ValueError(
                f"teacher names {len(self.teacher)} module(s) and student {len(self.student)}; they go in pairs"
            )
        return self

    @property
    def active(self) -> bool:
        return self.hint > 0 or self.attention > 0 or self.affine

    @property
    def affine(self) -> bool:
        """Whether a term of affinity is on."""
        return self.affinity > 0 or self.fast_affinity > 0


class VAESettings(Strict):
    """Generative replay (PRE-DFKD, Binici et al. 2022), for `retain.memory: vae`; defaults are the released values.

    latent, width: size of the code, and of the decoder's last hidden layer. lr: Adam, of encoder and decoder. steps:
    student steps after each acquisition at which it learns. code_lr, one_hot, entropy: of the one step that moves
    codes to images the teacher is sure of, classes even.
    """

    latent: int = pydantic.Field(default=1000, ge=1)
    width: Annotated[int, pydantic.Field(ge=1)] | Literal["auto"] = "auto"
    lr: float = pydantic.Field(default=5e-4, gt=0)
    steps: int = pydantic.Field(default=4, ge=1)
    code_lr: float = pydantic.Field(default=0.02, ge=0)
    one_hot: float = pydantic.Field(default=1.0, ge=0)
    entropy: float = pydantic.Field(default=5.0, ge=0)


class RetainSettings(Strict):
    """Learning to Retain while Acquiring (Patel et al. 2023), for `update: retain`.

    mode: 'exact' differentiates through the look-ahead; 'first-order' does not; 'replay' only adds the remembered
    samples to the batch, which is what the released code computes. rate: of the look-ahead step; None is the student's
    own learning rate then (released: 0.9, where it has no effect). at_theta: the remembered samples join the batch as
    well, as in the released objective. memory: 'ring' keeps images, 'vae' learns to make them. share: of a batch, that
    is stored, and that is replayed. slots, pushes: the ring holds `slots` shares, filled at `pushes` even moments of
    the run (released: 10, 1/8, 80).
    """

    mode: Literal["exact", "first-order", "replay"] = "exact"
    rate: float | None = pydantic.Field(default=None, ge=0)
    at_theta: bool = False
    memory: Literal["ring", "vae"] = "ring"
    share: float = pydantic.Field(default=0.125, gt=0, le=1)
    slots: int = pydantic.Field(default=10, ge=1)
    pushes: int = pydantic.Field(default=80, ge=1)
    vae: VAESettings = VAESettings()

    @pydantic.model_validator(mode="after")
    def _once(self) -> RetainSettings:
        if self.at_theta and self.mode == "replay":
            raise ValueError("at_theta belongs to the modes that look ahead; 'replay' joins the samples anyway")
        return self


class VaccineSettings(Strict):
    """Shuffling vaccine (Hong et al. 2023), for `defence: vaccine` and `abd`.

    weight: of the term, a (released: 0.1). copies, layers: copies of the teacher in which the input channels of the
    last `layers` convolutions are shuffled (released: 3 and 5). cap: where inputs cannot be moved, a suspicious sample
    counts until its loss is this many times that of the others (ours). verify: student batches watched before the
    vaccine sets in, to see whether the shuffle tells samples apart; 0 trusts the first shuffle (released: 0, or 50).
    skip: of these, how many are left out at first (released: 10). tail: share of outliers that a good shuffle shows
    (released: 0.02). trials: shuffles tried before the vaccine stays off (released: 8). renew: student steps after
    which the copies are shuffled anew, so that no image of a pool is judged by one shuffle for ever; such a shuffle is
    not verified; 0 is never (released).
    """

    weight: float = pydantic.Field(default=0.1, gt=0)
    copies: int = pydantic.Field(default=3, ge=1)
    layers: int = pydantic.Field(default=5, ge=1)
    cap: float = pydantic.Field(default=2.0, gt=0)
    verify: int = pydantic.Field(default=0, ge=0)
    skip: int = pydantic.Field(default=10, ge=0)
    tail: float = pydantic.Field(default=0.02, gt=0, lt=1)
    trials: int = pydantic.Field(default=8, ge=1)
    renew: int = pydantic.Field(default=0, ge=0)

    @pydantic.model_validator(mode="after")
    def _something_watched(self) -> VaccineSettings:
        if 0 < self.verify <= self.skip:
            raise ValueError(f"verify={self.verify} batches of which skip={self.skip} are left out: nothing is left")
        return self


class RetrospectSettings(Strict):
    """Self-retrospection (Hong et al. 2023), for `defence: retrospect` and `abd`.

    share: of the student's steps, the last ones, at least one (released: 0.005 to 0.015). lr: of a fresh Adam, falling
    to 0 (released: 5e-4 or 1e-4; of SGD for CMI). rounds, delta_lr: Adam's steps in the search for a trigger and their
    rate, in the units of normalised images (released: 10 or 20, and 0.1). search: whose answers the trigger is to
    change: the teacher's (released recipes), the student's, or a random one of the same size (the ablation). marked:
    share of a batch that carries it, at least two (released: 0.02). l2: weight of the trigger's square (released:
    0.001). search_l2: the same in the search (released: 0.001 for ZSKT, 0 for CMI and fixed images).
    fixed_point, fixed_point_lr: iterations of the hyper-gradient and their rate (released: 5 and 0.1). temperature: of
    the divergences; None is that of the run's matching loss (released). weight: of what is unlearned beside the
    matching loss, in the scale of that (released: 1; for fixed images the release divides the matching loss by classes
    and by the squared temperature and not the rest, which is a weight of classes * temperature^2, 640 there).
    """

    share: float = pydantic.Field(default=0.01, gt=0, le=1)
    lr: float = pydantic.Field(default=5e-4, gt=0)
    rounds: int = pydantic.Field(default=10, ge=0)
    delta_lr: float = pydantic.Field(default=0.1, gt=0)
    search: Literal["teacher", "student", "random"] = "teacher"
    marked: float = pydantic.Field(default=0.02, gt=0, le=1)
    l2: float = pydantic.Field(default=1e-3, ge=0)
    search_l2: float = pydantic.Field(default=0.0, ge=0)
    fixed_point: int = pydantic.Field(default=5, ge=0)
    fixed_point_lr: float = pydantic.Field(default=0.1, gt=0)
    temperature: float | None = pydantic.Field(default=None, gt=0)
    weight: float = pydantic.Field(default=1.0, gt=0)


class EstimateSettings(Strict):
    """Gradients of a teacher that is only asked (objectives.estimate). Defaults are DFME's.

    directions: of each sample; MAZE takes 10. step: how far a sample is moved along a direction, in the units of the
    inputs; 'auto' is 1e-3 (DFME, MAZE), or the least that a teacher of rounded inputs notices. along: 'sphere' and
    'orthogonal' have length 1, 'gaussian' a length of about the root of the inputs' size, 'coordinate' moves one
    number. scheme: 'antithetic' asks on both sides, twice as much. below_rounding: takes a step that rounding swallows.
    """

    directions: int = pydantic.Field(default=1, ge=1, le=100_000)
    step: Annotated[float, pydantic.Field(gt=0)] | Literal["auto"] = "auto"
    along: Literal["sphere", "gaussian", "orthogonal", "coordinate"] = "sphere"
    scheme: Literal["forward", "antithetic"] = "forward"
    below_rounding: bool = False


class GradientSettings(EstimateSettings):
    """Where the gradients of the teacher come from; also as text, 'estimate'.

    source: 'own' are those of the teacher, where it has some; 'estimate' asks for them, with the settings below.
    """

    source: Literal["own", "estimate"] = "own"

    @pydantic.model_validator(mode="before")
    @classmethod
    def _of_text(cls, value: Any) -> Any:
        return {"source": value} if isinstance(value, str) else value


Shards = Literal["none", "processes", "devices", "deepspeed"]
_BITS = re.compile(r"^\s*(?:w(\d+))?(?:a(\d+))?\s*$", re.IGNORECASE)


class BitsSettings(Strict):
    """A student at few bits while it is trained (FAQD, Li et al. 2023); also as text: 'w4', 'a8', 'w4a8'.

    weights: of convolutions and linear layers. activations: of ReLUs, whose resolution is learnt. scale: of weights at
    2 bits, the one of the least squared error, or the released one. last: also the layer that gives the answers, which
    the paper leaves in float.
    """

    weights: Literal[1, 2, 4, 8] | None = None
    activations: int | None = pydantic.Field(default=None, ge=1, le=8)
    scale: Literal["optimal", "released"] = "optimal"
    last: bool = False

    @pydantic.model_validator(mode="before")
    @classmethod
    def _of_text(cls, value: Any) -> Any:
        return parse_bits(value) if isinstance(value, str) else value

    @property
    def active(self) -> bool:
        return self.weights is not None or self.activations is not None


def parse_bits(text: str) -> dict[str, int]:
    """'w4', 'a8' or 'w4a8' as settings of BitsSettings. Raises ValueError."""
    match = _BITS.match(text)
    counts = {} if match is None else {"weights": match[1], "activations": match[2]}
    bits = {name: int(count) for name, count in counts.items() if count}
    if not bits or bits.get("weights", 1) not in (1, 2, 4, 8) or not 1 <= bits.get("activations", 1) <= 8:
        raise ValueError("expected w1, w2, w4 or w8, a1 to a8, or both, such as w4a8")
    return bits


class EngineSettings(Strict):
    """How the run is kept and shown; none of these changes the student."""

    checkpoint_seconds: float = pydantic.Field(default=120.0, gt=0)
    log_every: int = pydantic.Field(default=10, ge=1, description="student steps between lines of metrics.jsonl")
    snapshots: int = pydantic.Field(
        default=6, ge=1, le=100, description="students kept over the run, scored at the end"
    )
    sample_grids: int = pydantic.Field(default=6, ge=0, le=100, description="sample grids kept over the run")
    images: int = pydantic.Field(default=1024, ge=0, le=100_000, description="synthesised images kept at the end")
    tensorboard: bool = False


class RunSettings(Grown):
    """One run. `options` are the method's own settings, checked by the method."""

    later: ClassVar[tuple[str, ...]] = (
        "bits", "teacher_gradients", "sealed", "teacher_key", "images_of", "teacher_shards",
    )  # fmt: skip

    teacher: Text = "a module in Python"
    teacher_key: Text | None = pydantic.Field(
        default=None, description="the file of the public key by which the teacher's bundle must be signed"
    )
    helpers: tuple[Text, ...] = pydantic.Field(default=(), description="further models that help to make the inputs")
    task: Annotated[str | dict[str, Any], pydantic.BeforeValidator(plain)] = ""
    student: Text = "shrink:0.5"
    inherit: bool = pydantic.Field(default=False, description="start from the teacher's weights where they fit")
    method: Text = "auto"
    pool: Text | None = pydantic.Field(default=None, description="images that are not the teacher's data")
    images_of: Text | None = pydantic.Field(
        default=None, description="an earlier run of the same teacher and method, with whose images to begin"
    )
    preset: Text = "default"
    budget: str | None = None
    seed: int = pydantic.Field(default=0, ge=0, lt=2**63)
    device: Text = "auto"
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    threads: int = pydantic.Field(default=0, ge=0, le=1024, description="0 leaves torch's own choice")
    strict: bool = False
    sealed: bool = pydantic.Field(default=False, description="strict, without any connection, and on the record")
    options: Options = pydantic.Field(default_factory=dict)
    features: FeatureTerms = FeatureTerms()
    update: Literal["plain", "retain"] = "plain"
    retain: RetainSettings = RetainSettings()
    defence: Literal["none", "vaccine", "retrospect", "abd"] = pydantic.Field(
        default="none", description="against a poisoned teacher; abd is both of the others"
    )
    vaccine: VaccineSettings = VaccineSettings()
    retrospect: RetrospectSettings = RetrospectSettings()
    bits: BitsSettings = BitsSettings()
    teacher_gradients: GradientSettings = GradientSettings()
    teacher_shards: Shards = pydantic.Field(
        default="none", description="where a teacher that no device has room for lies: in shares, or over devices"
    )
    engine: EngineSettings = EngineSettings()

    @pydantic.field_validator("budget")
    @classmethod
    def _is_amount(cls, budget: str | None) -> str | None:
        if budget is not None:
            try:
                parse_budget(budget)
            except ConfigError as fault:
                raise ValueError(fault) from None
        return budget

    @property
    def parts(self) -> dict[str, Strict]:
        """The sections at work around a student's step, by their name in `training.parts`."""
        at_work = {
            "bits": self.bits.active, "features": self.features.active, "vaccine": self.defence in ("vaccine", "abd"),
            "retain": self.update == "retain", "retrospect": self.defence in ("retrospect", "abd"),
        }  # fmt: skip
        return {name: getattr(self, name) for name, on in at_work.items() if on}

    def why_part(self, name: str) -> str:
        """The setting that put a part to work, as the user wrote it."""
        if name in ("vaccine", "retrospect"):
            return f"defence '{self.defence}'"
        return f"retain.memory={self.retain.memory}" if name == "retain" else name


SPECS = ("teacher", "student", "helpers")
"""The settings that name a network, and may name code."""


def resolve_settings(file: str | Path | None, values: Mapping[str, Any], overrides: Sequence[str] = ()) -> RunSettings:
    """Settings from a YAML file, then the command's flags, then key=value overrides.

    A key whose first part is no field of RunSettings is one of the method's own settings, and so is `pool`. Raises
    ConfigError, also where the file names code that neither flags nor overrides name.
    """
    tree = read_yaml(file) if file else {}
    of_file = {name: tree.pop(name) for name in SPECS if name in tree}
    where = str(file) if file else "settings"
    tree.update({name: value for name, value in values.items() if value is not None})
    if isinstance(tree.get("bits"), str):
        with contextlib.suppress(ValueError):  # which the validation of all settings answers
            tree["bits"] = parse_bits(tree["bits"])
    for text in overrides:
        key, value = parse_override(text)
        if key == "pool" and isinstance(value, str):
            raise ConfigError(
                f"pool={value}: as key=value, 'pool' is how many samples a method keeps; to name the images that it "
                f"chooses from, write --pool {value}"
            )
        top = key != "pool" and key.split(".")[0] in RunSettings.model_fields
        set_dotted(tree, key if top else f"options.{key}", value)
    settings = validate(RunSettings, {**of_file, **tree}, where)
    require_code_named(of_file, tree, SPECS, where)
    return settings


_UNITS = {"s": "seconds", "sec": "seconds", "m": "seconds", "min": "seconds", "h": "seconds", "steps": "steps",
          "samples": "samples", "queries": "queries"}  # fmt: skip
_SECONDS = {"s": 1, "sec": 1, "m": 60, "min": 60, "h": 3600}
_BUDGET = re.compile(r"^\s*(\d+(?:\.\d+)?(?:e\+?\d+)?)\s*([a-z]+)\s*$", re.IGNORECASE)


class Budget(Strict):
    """How much a run may spend: `amount` of seconds, student steps, samples made, or teacher queries."""

    unit: Literal["seconds", "steps", "samples", "queries"]
    amount: float = pydantic.Field(gt=0)

    def __str__(self) -> str:
        return f"{self.amount:g} {self.unit}"


def parse_budget(text: str) -> Budget:
    """'10m', '90s', '2000steps', '1e5queries', '5e4 samples'. Raises ConfigError."""
    match = _BUDGET.match(text)
    unit = match.group(2).lower() if match else ""
    if match is None or unit not in _UNITS:
        raise ConfigError(
            f"budget '{text}' is not an amount with a unit; write for instance 10m, 90s, 2h, 2000steps, "
            "50000samples or 1e5queries"
        )
    amount = float(match.group(1)) * _SECONDS.get(unit, 1)
    if not 0 < amount < 1e15:
        raise ConfigError(f"budget '{text}' must be above 0 and below 1e15")
    if amount < 1 and _UNITS[unit] != "seconds":
        raise ConfigError(f"budget '{text}' is less than one of {_UNITS[unit]}: nothing could be done with it")
    return Budget(unit=_UNITS[unit], amount=amount)  # type: ignore[arg-type]
