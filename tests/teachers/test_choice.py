"""Which of the weights in a file are the network, and what is said of it."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sansdata.errors import TeacherError
from sansdata.models.build import architecture_of, build
from sansdata.tasks import load_task
from sansdata.teachers.choice import choose
from sansdata.teachers.specs import load_teacher
from sansdata.teachers.weights import states_in

TASK = load_task("cifar10")


def state(seed: int, name: str = "resnet8") -> dict[str, Tensor]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return dict(build(architecture_of(name, TASK)).state_dict())


RAW, EMA, OTHER = state(0), state(1), state(2)
SMALL = {"0.weight": torch.zeros(4, 3), "0.bias": torch.zeros(4)}
PARAMETERS = [name for name, _ in build(architecture_of("resnet8", TASK)).named_parameters()]


def under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {prefix + name: value for name, value in tensors.items()}


def chosen(contents: Any, key: str = "") -> tuple[dict[str, Tensor], str]:
    module = build(architecture_of("resnet8", TASK))
    choice = choose(states_in(contents), module, key, "resnet8", "w.pt")
    return choice.tensors, " ".join(choice.notes)


def is_(tensors: dict[str, Tensor], expected: dict[str, Tensor]) -> bool:
    return all(torch.equal(tensors[name], value) for name, value in expected.items() if "num_batches" not in name)


AVERAGED = {
    "timm": {"state_dict": RAW, "state_dict_ema": EMA, "epoch": 3, "arch": "resnet8"},
    "ema_state_dict alone": {"ema_state_dict": EMA, "epoch": 1},
    "model_ema": {"model": RAW, "model_ema": EMA},
    "swapped names": {"ema": RAW | EMA, "model": RAW},
    "mmcv": {"state_dict": under("module.", RAW) | under("ema_module.", EMA)},
    "lightning module": {"state_dict": under("model.", RAW) | under("ema_model.module.", EMA)},
    "lightning callback": {
        "state_dict": under("model.", RAW),
        "callbacks": {"EMACallback{'decay': 0.99}": {"ema_state_dict": under("model.", EMA)}},
        "hyper_parameters": {"lr": 0.1},
    },
    "averaged model": {"model": RAW, "averaged_model": under("module.", EMA) | {"n_averaged": torch.tensor(4)}},
    "shadow": {"model": RAW, "ema": {"decay": 0.999, "shadow": EMA}},
}


@pytest.mark.parametrize("name", AVERAGED)
def test_a_moving_average_comes_first(name):
    tensors, notes = chosen(AVERAGED[name])
    assert is_(tensors, EMA)
    assert "a moving average" in notes
    assert is_(chosen(AVERAGED[name], "ema")[0], EMA)


def test_the_raw_weights_are_had_by_their_key():
    tensors, notes = chosen(AVERAGED["timm"], "state_dict")
    assert is_(tensors, RAW)
    assert "moving average" not in notes
    assert "resnet8@w.pt#state_dict takes that" in chosen(AVERAGED["timm"])[1]
    assert is_(chosen({"a": {"model": RAW}, "b": {"model": EMA}}, "b.model")[0], EMA)
    assert is_(chosen(RAW | under("ema.", EMA), ".")[0], RAW)


def test_an_average_of_parameters_alone_takes_the_statistics_beside_it():
    shadow = {name: EMA[name] for name in PARAMETERS}
    for held in (shadow, [EMA[name] for name in PARAMETERS]):
        tensors, notes = chosen({"model": RAW, "ema": {"shadow_params": held}})
        assert is_(tensors, shadow)
        assert is_(tensors, {name: value for name, value in RAW.items() if "running" in name})
        assert "no buffers" in notes
    assert chosen({"ema": {"shadow_params": [torch.zeros(3)] * 4}, "model": RAW})[0].keys() == RAW.keys()


AMBIGUOUS = {
    "student and teacher": {"student": RAW, "teacher": EMA},
    "in one dict": {"state_dict": under("student.", RAW) | under("teacher.net.", EMA)},
    "best and last": {"state_dict": RAW, "best_state_dict": EMA},
    "two averages": {"model": RAW, "ema_0.999": EMA, "ema_0.9999": OTHER},
    "list": {"models": [RAW, EMA]},
}


@pytest.mark.parametrize("name", AMBIGUOUS)
def test_where_several_fit_the_keys_are_listed(name):
    with pytest.raises(TeacherError, match=r"sets of weights that fit 'resnet8'\. Name one") as fault:
        chosen(AMBIGUOUS[name])
    lines = str(fault.value).splitlines()[1:]
    assert len(lines) >= 2
    for line in lines:  # each key that is listed is one that can be written
        key, _, count = line.strip().removeprefix("#").rpartition(": ")
        assert is_(chosen(AMBIGUOUS[name], key)[0], {}) is True
        assert count == "37 of 37 tensors fit"


def test_ends_of_keys_and_prefixes_can_be_written():
    assert is_(chosen(AMBIGUOUS["student and teacher"], "teacher")[0], EMA)
    assert is_(chosen(AMBIGUOUS["in one dict"], "student")[0], RAW)
    assert is_(chosen(AMBIGUOUS["in one dict"], "state_dict.teacher")[0], EMA)
    assert is_(chosen(AMBIGUOUS["list"], "models.1")[0], EMA)


def test_what_holds_the_same_values_is_no_choice():
    tensors, _ = chosen({"state_dict": RAW, "best_state_dict": dict(RAW)})
    assert is_(tensors, RAW)


def test_networks_of_another_kind_are_no_candidates():
    tensors, notes = chosen({"netG": SMALL, "netD": RAW, "optimizer": {"state": {0: {"step": torch.tensor(1.0)}}}})
    assert is_(tensors, RAW)
    assert "'netD'" in notes
    tensors, notes = chosen({"state_dict": under("model.", RAW) | {"criterion.weight": torch.ones(10)}})
    assert is_(tensors, RAW)
    assert "without 'model.' before their names" in notes


@pytest.mark.parametrize(
    "prefix", ["module.", "model.", "backbone.", "net.", "_orig_mod.", "encoder.", "module.model.", "a.b.c."]
)
def test_a_common_prefix_is_taken_off_and_said(prefix):
    tensors, notes = chosen({"state_dict": under(prefix, RAW)})
    assert is_(tensors, RAW)
    assert f"without '{prefix}' before their names" in notes


def test_a_plain_file_has_nothing_to_say():
    assert chosen(RAW)[1] == ""
    counted = RAW | {"total_ops": torch.zeros(1), "layer1.total_params": torch.zeros(1)}  # left by a profiler
    assert chosen(counted)[0].keys() == RAW.keys()


def test_wrong_keys_and_files_that_do_not_fit(tmp_path: Path):
    torch.save({"student": RAW, "teacher": EMA}, tmp_path / "two.pt")
    torch.save(under("model.", RAW) | under("ema.", EMA), tmp_path / "prefixed.pt")
    with pytest.raises(TeacherError, match=r"no weights under 'best'(?s:.)*#student: 37 of 37(?s:.)*#teacher"):
        load_teacher(f"resnet8@{tmp_path}/two.pt#best", TASK)
    torch.save({"state_dict": under("model.backbone.", state(0, "lenet5"))}, tmp_path / "lenet.pt")
    with pytest.raises(TeacherError, match=r"missing(?s:.)*without 'model.backbone.' before(?s:.)*lenet5@"):
        load_teacher(f"resnet8@{tmp_path}/lenet.pt", TASK)
    with pytest.raises(TeacherError, match="lenet5@") as refused:  # none of its sets fits, so none is offered
        load_teacher(f"resnet8@{tmp_path}/lenet.pt#weights", TASK)
    assert "0 of 37" not in str(refused.value)
    with pytest.raises(TeacherError, match=r"do not fit 'resnet20'\.\s+missing: layer1\.1\.(?s:.)*the zoo's 'resnet8'"):
        load_teacher(f"resnet20@{tmp_path}/prefixed.pt", TASK)
    with pytest.raises(TeacherError, match="#student: 37 of 37"):
        load_teacher(f"resnet8@{tmp_path}/two.pt", TASK)


def test_the_key_belongs_to_the_spec(tmp_path: Path):
    torch.save(AVERAGED["timm"], tmp_path / "c#1.pt")
    average = load_teacher(f"resnet8@{tmp_path}/c#1.pt", TASK)
    raw = load_teacher(f"resnet8@{tmp_path}/c#1.pt#state_dict", TASK)
    assert is_(dict(average.module.state_dict()), EMA)
    assert is_(dict(raw.module.state_dict()), RAW)
    assert "moving average" in average.notes[0]
    with pytest.raises(TeacherError, match="ARCH@"):
        load_teacher(f"{tmp_path}/c#1.pt#state_dict", TASK)


# -- the names of other people's code, for networks that do the same


class KuangliuBlock(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Sequential()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        return (self.bn2(self.conv2(self.bn1(self.conv1(x)).relu())) + self.shortcut(x)).relu()


class KuangliuResNet(nn.Module):
    """As the field's own repositories write a CIFAR ResNet: its shortcuts and its head have other names."""

    def __init__(self, blocks: list[int]) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64)
        widths, inputs = [64, 128, 256, 512], 64
        for place, (width, count) in enumerate(zip(widths, blocks), 1):
            strides = [1 if place == 1 else 2] + [1] * (count - 1)
            stage = [KuangliuBlock(width if at else inputs, width, stride) for at, stride in enumerate(strides)]
            setattr(self, f"layer{place}", nn.Sequential(*stage))
            inputs = width
        self.linear = nn.Linear(512, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.bn1(self.conv1(x)).relu()
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.linear(nn.functional.avg_pool2d(x, 4).flatten(1))


class WideBlock(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.bn1, self.conv1 = nn.BatchNorm2d(inputs), nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn2, self.conv2 = nn.BatchNorm2d(outputs), nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.equal = inputs == outputs
        self.convShortcut: Any = None if self.equal else nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        active = self.bn1(x).relu()
        out = self.conv2(self.bn2(self.conv1(active)).relu())
        return (x if self.equal else self.convShortcut(active)) + out


class WideStage(nn.Module):
    def __init__(self, count: int, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        first = WideBlock(inputs, outputs, stride)
        self.layer = nn.Sequential(first, *(WideBlock(outputs, outputs, 1) for _ in range(count - 1)))

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)


class WideNet(nn.Module):
    def __init__(self, depth: int, widen: int) -> None:
        super().__init__()
        count, widths = (depth - 4) // 6, [16, 16 * widen, 32 * widen, 64 * widen]
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.block1 = WideStage(count, widths[0], widths[1], 1)
        self.block2 = WideStage(count, widths[1], widths[2], 2)
        self.block3 = WideStage(count, widths[2], widths[3], 2)
        self.bn1, self.fc = nn.BatchNorm2d(widths[3]), nn.Linear(widths[3], 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.block3(self.block2(self.block1(self.conv1(x))))
        return self.fc(nn.functional.avg_pool2d(self.bn1(x).relu(), 8).flatten(1))


def weiaicunzai(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The zoo's names in that repository's words."""
    rows = [("layer4.", "conv5_x."), ("layer3.", "conv4_x."), ("layer2.", "conv3_x."), ("layer1.", "conv2_x.")]
    inner = {".conv1.": ".residual_function.0.", ".bn1.": ".residual_function.1.", ".downsample.": ".shortcut."}
    inner |= {".conv2.": ".residual_function.3.", ".bn2.": ".residual_function.4."}
    out: dict[str, Tensor] = {}
    for name, value in tensors.items():
        new = name
        for ours, theirs in [*inner.items(), *rows]:
            new = new.replace(ours, theirs)
        if name.startswith(("conv1.", "bn1.")):
            new = {"conv1": "conv1.0", "bn1": "conv1.1"}[name.split(".")[0]] + "." + name.split(".")[1]
        out[new] = value
    return out


@pytest.mark.parametrize(("name", "make"), [
    ("resnet18", lambda: KuangliuResNet([2, 2, 2, 2])), ("resnet34", lambda: KuangliuResNet([3, 4, 6, 3])),
    ("wrn-40-2", lambda: WideNet(40, 2)), ("wrn-16-1", lambda: WideNet(16, 1)),
])  # fmt: skip
def test_the_fields_own_files_give_the_fields_own_answers(tmp_path: Path, name: str, make: Any):
    """Saved as Fast-Datafree and CMI save their teachers."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        theirs = make().eval()
        for part in theirs.modules():
            if isinstance(part, nn.BatchNorm2d):
                nn.init.uniform_(part.running_mean, -0.1, 0.1)
                nn.init.uniform_(part.weight, 0.5, 1.5)
        images = torch.rand(2, 3, 32, 32)
    torch.save({"state_dict": theirs.state_dict(), "best_acc1": 95.7, "arch": name}, tmp_path / "w.pth")
    teacher = load_teacher(f"{name}@{tmp_path}/w.pth", TASK)
    with torch.no_grad():
        expected = theirs(teacher.network.preprocessor(images))
        assert torch.allclose(teacher(images).logits, expected, atol=1e-4)
    assert "which are those of" in " ".join(teacher.notes)


@pytest.mark.parametrize("wrapper", ["module", "_orig_mod", "_fsdp_wrapped_module"])
def test_parts_that_are_wrapped(wrapper: str):
    """As the ImageNet example of PyTorch saves the features of a VGG, or a compiled part."""
    wrapped = {
        name.replace("layer1.", f"layer1.{wrapper}.").replace("layer2.0.", f"layer2.0.{wrapper}."): value
        for name, value in RAW.items()
    }
    tensors, notes = chosen(wrapped)
    assert is_(tensors, RAW)
    assert "inside DataParallel" in notes


def test_repdistillers_names():
    tensors = state(0, "resnet8x4")
    theirs = {name.replace("linear.", "fc."): value for name, value in tensors.items()}
    choice = choose({"model": theirs}, build(architecture_of("resnet8x4", TASK)), "", "resnet8x4", "w.pt")
    assert is_(choice.tensors, tensors)
    assert "RepDistiller" in " ".join(choice.notes)


def test_long_keys_are_cut_in_messages():
    with pytest.raises(TeacherError) as fault:
        chosen({"a" * 400: RAW, "b" * 400: EMA})
    assert len(str(fault.value)) < 500


def test_many_small_dicts_are_no_bomb():
    contents: dict[str, Any] = {str(number): {"w": torch.zeros(1)} for number in range(5_000)}
    tensors, _ = chosen(contents | {"model": RAW})
    assert is_(tensors, RAW)


def test_names_that_are_made_to_take_long():
    """Deep ones, and very many of different beginnings, for a network with few parameters."""
    small = nn.Linear(1, 1)
    names = [f"{number}.{number % 7}.{'a.' * 50}weight" for number in range(5_000)]
    state = dict.fromkeys([*names, "a." * 100_000 + "b"], torch.zeros(1)) | under("net.", dict(small.state_dict()))
    choice = choose({"": state}, small, "", "small", "w.pt")
    assert choice.tensors.keys() == {"weight", "bias"}


def test_weiaicunzais_names():
    tensors = state(0, "resnet18")
    choice = choose({"": weiaicunzai(tensors)}, build(architecture_of("resnet18", TASK)), "", "resnet18", "w.pt")
    assert is_(choice.tensors, tensors)
    assert "weiaicunzai" in " ".join(choice.notes)


@pytest.mark.usefixtures("vision")
def test_the_old_names_of_densenet():
    import torchvision  # pyright: ignore[reportMissingImports]

    with torch.device("meta"):
        module = torchvision.models.densenet121(num_classes=10)
    old = OrderedDict()
    for name, value in module.state_dict().items():
        for word in ("norm", "conv"):
            for number in ("1", "2"):
                if "denselayer" in name:
                    name = name.replace(f".{word}{number}.", f".{word}.{number}.")
        old[name] = value
    choice = choose({"": old}, module, "", "torchvision:densenet121", "w.pt")
    assert choice.tensors.keys() == module.state_dict().keys()
