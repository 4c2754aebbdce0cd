import copy
import json
import sys
import threading

import pytest
import torch
from torch import nn

from sansdata.deploy import export as exporting
from sansdata.deploy.bundle import Deployable
from sansdata.deploy.export import export
from sansdata.deploy.parity import compare
from sansdata.errors import ConfigError, MissingLibraryError, SansdataError, StudentError
from sansdata.tasks import ImageTask

TASK = ImageTask(shape=(3, 12, 10), classes=4, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4), class_names=tuple("wxyz"))
FORMATS = ["onnx", "pt2"]
LIBRARIES = {"onnx": ("onnx", "onnxscript", "onnxruntime"), "pt2": ()}


class Net(nn.Module):
    """Convolutions, statistics and a residual addition; a tuple as answer, as many networks give."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.second = nn.Conv2d(8, 8, 3, padding=1)
        self.drop = nn.Dropout(0.5)
        self.head = nn.Linear(8, 4)

    def forward(self, x):
        x = torch.relu(self.norm(self.first(x)))
        x = torch.nn.functional.max_pool2d(x + self.second(x), 2)
        return self.head(self.drop(x.mean((2, 3)))), x


class Misbehaves(nn.Module):
    def __init__(self, how):
        super().__init__()
        self.how, self.net = how, nn.Sequential(nn.Flatten(), nn.Linear(360, 4))

    def forward(self, x):
        if self.how == "fixed batch":
            return self.net(x.reshape(2, 3, 12, 10))
        if self.how == "branches":
            return self.net(x) if x.sum() > 0 else -self.net(x)
        if self.how == "random":
            return self.net(x) + torch.rand_like(x[:, 0, 0, :4])
        if self.how == "raises":
            raise RuntimeError("my own fault\nand a second line")
        return None


@pytest.fixture
def net():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = Net()
        net.norm.running_mean.uniform_(-1, 1)
        net.norm.running_var.uniform_(0.5, 2)
        return net


def need(to):
    for library in LIBRARIES[to]:
        pytest.importorskip(library)


def run(path, to, images):
    return {"onnx": exporting.load_onnx, "pt2": exporting.load_pt2}[to](path)(images)


# -- the bundle


def test_deployable_normalises_and_is_a_private_copy(net):
    net.train()
    images = torch.rand(3, 3, 12, 10)
    model = Deployable(net, TASK)
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (TASK.mean, TASK.std))
    expected = copy.deepcopy(net).eval()((images - mean) / std)[0]
    assert torch.allclose(model(images), expected, atol=1e-6)
    assert net.training
    assert not model.training
    assert all(not p.requires_grad for p in model.parameters())
    assert all(p.requires_grad for p in net.parameters())
    with torch.no_grad():
        net.head.weight.zero_()
    assert torch.allclose(model(images), expected, atol=1e-6)


def test_deployable_refuses_what_cannot_be_copied(net):
    net.lock = threading.Lock()
    with pytest.raises(StudentError, match="cannot be copied"):
        Deployable(net, TASK)


# -- export


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("to", FORMATS)
def test_the_file_computes_what_the_module_computes(net, to, layout, tmp_path):
    need(to)
    net.to(memory_format=layout)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    report = export(net, TASK, tmp_path / f"net.{to}", to)
    assert report.passed
    assert 2 not in report.batch_sizes  # the traced one proves nothing
    assert report.max_abs_difference <= report.allowed_difference < 2 * exporting.TOLERANCE[to]
    assert report.argmax_agreement == 1
    assert report.size == (tmp_path / f"net.{to}").stat().st_size
    assert (report.opset is not None) == (to == "onnx")
    images = torch.rand(7, 3, 12, 10)
    reference = Deployable(net, TASK)(images)
    assert torch.allclose(run(tmp_path / f"net.{to}", to, images), reference, atol=exporting.TOLERANCE[to])
    assert json.loads(json.dumps(report.to_dict()))["format"] == to
    assert net.training  # and nothing else of the caller's module has changed either
    assert net.first.weight.is_contiguous(memory_format=layout)
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())
    assert [path.name for path in tmp_path.iterdir()] == [f"net.{to}"]


@pytest.mark.parametrize("to", FORMATS)
def test_weights_trained_in_bf16_and_a_ready_bundle(net, to, tmp_path):
    need(to)
    with torch.autocast("cpu", torch.bfloat16):
        net(torch.rand(4, 3, 12, 10))[0].square().sum().backward()
    torch.optim.SGD(net.parameters(), 0.01).step()
    assert export(Deployable(net, TASK), TASK, tmp_path / "net", to).passed
    assert export(net.bfloat16(), TASK, tmp_path / "net", to).passed


def test_onnx_says_what_it_is(net, tmp_path):
    need("onnx")
    import onnx

    report = export(net, TASK, tmp_path / "net.onnx")
    model = onnx.load(tmp_path / "net.onnx")
    onnx.checker.check_model(model)
    about = {entry.key: entry.value for entry in model.metadata_props}
    assert json.loads(about["class_names"]) == list("wxyz")
    assert ImageTask.model_validate_json(about["sansdata.task"]) == TASK
    assert model.opset_import[0].version == report.opset
    (images,), (logits,) = model.graph.input, model.graph.output
    assert (images.name, logits.name) == ("images", "logits")
    assert images.type.tensor_type.shape.dim[0].dim_param == "batch"


def test_pt2_says_what_it_is(net, tmp_path):
    export(net, TASK, tmp_path / "net.pt2", "pt2")
    extra = {"task.json": ""}
    torch.export.load(tmp_path / "net.pt2", extra_files=extra)
    about = json.loads(extra["task.json"])
    assert ImageTask.model_validate_json(about["sansdata.task"]) == TASK


@pytest.mark.parametrize("to", FORMATS)
def test_nothing_is_printed_and_no_randomness_is_drawn(net, to, tmp_path, capfd, recwarn):
    need(to)
    state = torch.random.get_rng_state()
    export(net, TASK, tmp_path / "net", to)
    assert torch.equal(state, torch.random.get_rng_state())
    assert capfd.readouterr() == ("", "")
    assert not [str(warning.message) for warning in recwarn]


# -- what goes wrong


@pytest.mark.parametrize("to", FORMATS)
def test_a_file_that_disagrees_is_not_written(net, to, tmp_path, monkeypatch):
    need(to)
    (tmp_path / "net").write_bytes(b"the older file")
    name = f"load_{to}"
    honest = getattr(exporting, name)
    monkeypatch.setattr(exporting, name, lambda path, names: lambda images: honest(path, names)(images) + 1e-3)
    with pytest.raises(SansdataError, match=r"disagrees with the module: answers differ by 0\.001"):
        export(net, TASK, tmp_path / "net", to)
    assert (tmp_path / "net").read_bytes() == b"the older file"
    assert [path.name for path in tmp_path.iterdir()] == ["net"]


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("fixed batch", "cannot be traced for any batch size"),
        ("branches", "cannot be traced for any batch size"),
        ("raises", r"cannot be traced.*my own fault"),
        ("none", "cannot be traced"),
    ],
)
def test_modules_that_cannot_be_traced(how, words, tmp_path):
    with pytest.raises(StudentError, match=words) as caught:
        export(Misbehaves(how), TASK, tmp_path / "net.pt2", "pt2")
    assert len(str(caught.value)) < 700
    assert not list(tmp_path.iterdir())


def test_randomness_in_the_forward_pass_is_noticed(tmp_path):
    with pytest.raises(SansdataError, match="depend on the batch or on randomness"):
        export(Misbehaves("random"), TASK, tmp_path / "net.pt2", "pt2")


@pytest.mark.parametrize("library", LIBRARIES["onnx"])
def test_without_a_library_the_extra_is_named(net, library, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(MissingLibraryError, match=f"{library}.*pip install onnx onnxscript onnxruntime"):
        export(net, TASK, tmp_path / "net.onnx", "onnx")


def test_unknown_format_and_paths_that_cannot_be_written(net, tmp_path):
    with pytest.raises(ConfigError, match="Did you mean 'onnx'"):
        export(net, TASK, tmp_path / "net", "onxx")
    with pytest.raises(ConfigError, match="does not exist"):
        export(net, TASK, tmp_path / "no" / "net.pt2", "pt2")
    (tmp_path / "folder").mkdir()
    with pytest.raises(ConfigError, match="cannot be written"):
        export(net, TASK, tmp_path / "folder", "pt2")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


# -- parity


def linear(images):
    return images.flatten(1)[:, :4]


@pytest.mark.parametrize(
    ("exported", "passed"),
    [
        (linear, True),
        (lambda images: linear(images) + 0.9e-4, True),
        (lambda images: linear(images) + 1.2e-4, False),
        (lambda images: linear(images) * torch.nan, False),
        (lambda images: linear(images)[:1], False),
        (lambda images: linear(images).flip(1), False),
        (lambda images: torch.where(torch.tensor(len(images) == 3), torch.nan, linear(images)), False),
    ],
)
def test_parity(exported, passed):
    assert compare(linear, exported, TASK, 1e-4).passed is passed


def test_parity_allows_what_float32_cannot_hold():
    result = compare(lambda x: linear(x) * 1e6, lambda x: linear(x) * 1e6 + 0.5, TASK, 1e-4)
    assert result.max_abs_difference > 0.4
    assert result.passed


def test_parity_images_are_the_same_each_time():
    seen = []
    for _ in range(2):
        batches = []
        compare(lambda images, batches=batches: batches.append(images) or linear(images), linear, TASK, 1e-4)
        seen.append(torch.cat(batches))
    assert torch.equal(*seen)
    assert 0 <= seen[0].min() < seen[0].max() <= 1


@pytest.mark.parametrize("to", ["onnx", "pt2"])
def test_a_network_whose_first_pass_is_the_tracing(to, tmp_path):
    """Nothing that is made while it is traced may be kept for the passes after."""
    task = ImageTask(shape=(1, 8, 8), classes=3, mean=(0.1234 + 0.1 * (to == "pt2"),), std=(0.4321,))
    module = nn.Sequential(nn.Flatten(), nn.Linear(64, 3)).eval()
    assert export(module, task, tmp_path / f"fresh.{to}", to).passed
