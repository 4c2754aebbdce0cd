import hashlib
import sys
import types

import numpy as np
import pytest
import torch
from PIL import Image

from sansdata.datasets import known
from sansdata.datasets.fit import resize, to_channels
from sansdata.datasets.images import holdout, load_images
from sansdata.datasets.imageset import ImageSet
from sansdata.errors import DataError
from sansdata.tasks import ImageTask

CIFAR_LIKE = ImageTask(shape=(3, 16, 16), classes=10, mean=(0, 0, 0), std=(1, 1, 1))


def make_set(n=60, classes=3, shape=(6, 5, 3), seed=0):
    random = np.random.default_rng(seed)
    images = random.integers(0, 256, (n, *shape), dtype=np.uint8)
    return ImageSet(images, np.arange(n, dtype=np.int64) % classes, tuple("abcdefghij"[:classes]), "made up")


def test_digits_split_is_fixed_and_disjoint():
    train, test = load_images("digits", split="train"), load_images("digits", split="test")
    assert (len(train), len(test)) == (1347, 450)
    assert len({image.tobytes() for image in train.images} & {image.tobytes() for image in test.images}) == 0
    # published figures on digits depend on this very split: it must not move with scikit-learn or NumPy
    assert hashlib.sha256(test.images.tobytes() + test.labels.tobytes()).hexdigest()[:16] == "223f4c7e5de3a2ba"
    shares = np.bincount(test.labels) / np.bincount(np.concatenate([train.labels, test.labels]))
    assert np.all(abs(shares - 0.25) < 0.01)


def test_digits_keep_the_grey_levels_of_scikit_learn():
    images = load_images("digits").images
    assert images.max() == 255
    assert set(np.unique(images)) <= {round(level * 255 / 16) for level in range(17)}


def test_size_and_channels_follow_the_task_and_notes_say_so():
    data = load_images("digits", CIFAR_LIKE)
    assert data.images.shape == (450, 16, 16, 3)
    assert any("three channels" in note for note in data.notes)
    assert any("8x8 to 16x16" in note for note in data.notes)


@pytest.mark.parametrize("size", [(32, 32), (5, 9), (40, 7), (3, 3)])
def test_resize_agrees_with_pillow(size):
    images = make_set(4, shape=(20, 14, 3)).images
    ours = resize(images, *size).astype(int)
    for image, row in zip(images, ours):
        pillow = np.asarray(Image.fromarray(image).resize(size[::-1], Image.Resampling.BILINEAR)).astype(int)
        assert abs(row - pillow).max() <= 1


def test_luma_is_pillows():
    images = make_set(8).images
    pillow = np.stack([np.asarray(Image.fromarray(image).convert("L")) for image in images])
    assert np.array_equal(to_channels(images, 1)[..., 0], pillow)


def test_batches_are_unit_space_channels_first():
    data = make_set(10)
    batches = list(data.batches(4))
    assert [len(labels) for _, labels in batches] == [4, 4, 2]
    images = torch.cat([images for images, _ in batches])
    assert images.shape == (10, 3, 6, 5)
    assert images.dtype == torch.float32
    assert torch.equal((images * 255).round().byte().permute(0, 2, 3, 1), torch.from_numpy(data.images))


@pytest.mark.parametrize("n", [1, 7, 30, 59])
def test_holdout_is_exact_disjoint_and_by_class(n):
    data = make_set(60)
    rest, held = holdout(data, n, seed=3)
    assert (len(rest), len(held)) == (60 - n, n)
    seen = [image.tobytes() for part in (rest, held) for image in part.images]
    assert sorted(seen) == sorted(image.tobytes() for image in data.images)
    counts = np.bincount(held.labels, minlength=3)
    assert counts.max() - counts.min() <= 1


def test_holdout_depends_on_the_seed_alone():
    data = make_set(60)
    np.random.seed(1)
    first = holdout(data, 20, seed=3)[1].images
    np.random.seed(2)
    state = np.random.get_state()[1].copy()
    assert np.array_equal(first, holdout(data, 20, seed=3)[1].images)
    assert np.array_equal(state, np.random.get_state()[1])  # the caller's generator is not touched
    assert not np.array_equal(first, holdout(data, 20, seed=4)[1].images)


@pytest.mark.parametrize(("n", "seed"), [(0, 0), (60, 0), (-1, 0), (61, 0), (5, -1), (5, 2**32)])
def test_holdout_refuses(n, seed):
    with pytest.raises(DataError, match="must be from"):
        holdout(make_set(60), n, seed)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"images": np.zeros((3, 4, 4, 3))}, "uint8"),
        ({"images": np.zeros((3, 4, 4), np.uint8)}, "N, H, W, C"),
        ({"images": np.zeros((3, 4, 4, 2), np.uint8)}, "1 or 3 channels"),
        ({"images": np.zeros((2, 4, 4, 3), np.uint8)}, "2 images but 3 labels"),
        ({"images": np.zeros((3, 0, 4, 3), np.uint8)}, "no images"),
        ({"labels": np.zeros(3, np.int32)}, "int64"),
        ({"labels": np.array([0, 1, 2])}, r"outside 0\.\.1, the first is 2 at position 2"),
        ({"labels": np.array([0, -1, 1])}, "the first is -1 at position 1"),
    ],
)
def test_a_set_whose_parts_do_not_fit_is_refused(change, words):
    good = {"images": np.zeros((3, 4, 4, 3), np.uint8), "labels": np.zeros(3, np.int64)}
    with pytest.raises(DataError, match=words):
        ImageSet(**{**good, **change}, class_names=("a", "b"), source="made up")


@pytest.mark.parametrize(
    ("spec", "split", "words"),
    [
        ("digit", "test", "Did you mean 'digits'"),
        ("no/such/folder", "test", "neither a known set nor"),
        ("digits", "valid", "train, test"),
        ("", "test", "no images|neither|expected one sub-folder"),
        ("a\0b", "test", r"'a\?b'"),
        ("x" * 5000, "test", "cannot be opened|neither"),
        ("~nobody-by-this-name/x", "test", "cannot be opened|neither"),
    ],
)
def test_unknown_specs_are_explained(spec, split, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=words) as caught:
        load_images(spec, split=split)
    assert len(str(caught.value)) < 600


def test_a_file_that_is_no_npz_is_refused(tmp_path):
    (tmp_path / "x.csv").write_text("1,2")
    with pytest.raises(DataError, match=r"nor an \.npz file"):
        load_images(tmp_path / "x.csv")


def test_known_set_must_have_the_tasks_number_of_classes():
    with pytest.raises(DataError, match="has 10 classes, the task has 7"):
        load_images("digits", ImageTask(shape=(1, 8, 8), classes=7, mean=(0,), std=(1,)))


def test_classes_follow_the_tasks_names():
    names = tuple(str(i) for i in reversed(range(10)))
    task = ImageTask(shape=(1, 8, 8), classes=10, mean=(0,), std=(1,), class_names=names)
    data, plain = load_images("digits", task), load_images("digits")
    assert [names[label] for label in data.labels] == [str(label) for label in plain.labels]


# -- sets under SANSDATA_DATA


def write_sheet(folder, name, tiles):
    rows = -(-len(tiles) // known.PER_ROW)
    sheet = np.zeros((rows * known.PER_ROW, 32, 32, 3), np.uint8)
    sheet[: len(tiles)] = tiles
    sheet = sheet.reshape(rows, known.PER_ROW, 32, 32, 3).swapaxes(1, 2).reshape(rows * 32, -1, 3)
    Image.fromarray(sheet).save(folder / f"{name}.webp", lossless=True)


@pytest.fixture
def sheets(tmp_path, monkeypatch):
    folder = tmp_path / "cifar100"
    folder.mkdir()
    tiles = np.random.default_rng(0).integers(0, 256, (130, 32, 32, 3), dtype=np.uint8)
    write_sheet(folder, "train_00", tiles[:60])
    write_sheet(folder, "train_01", tiles[60:])
    labels = np.arange(130, dtype=np.uint8) % 100
    np.savez(folder / "labels.npz", train_00=labels[:60], train_01=labels[60:])
    (folder / "classes.txt").write_text("\n".join(f"class{i}" for i in range(100)))
    monkeypatch.setenv("SANSDATA_DATA", str(tmp_path))
    return folder, tiles, labels


def test_sheets_are_cut_row_by_row_and_joined(sheets):
    _, tiles, labels = sheets
    data = load_images("cifar100", split="train")
    assert np.array_equal(data.images, tiles)
    assert np.array_equal(data.labels, labels)
    assert data.class_names[99] == "class99"
    assert data.notes == ("130 of the 50,000 official train images",)


def test_broken_layouts_are_explained(sheets):
    folder, _, labels = sheets
    with pytest.raises(DataError, match=r"test\.npz or sheets"):
        load_images("cifar100", split="test")
    np.savez(folder / "labels.npz", train_00=labels[:49], train_01=labels[60:])
    with pytest.raises(DataError, match="not a sheet of 49 tiles"):
        load_images("cifar100", split="train")
    np.savez(folder / "labels.npz", train_00=labels[:60])
    with pytest.raises(DataError, match="expected one array 'train_01'"):
        load_images("cifar100", split="train")
    (folder / "train_00.webp").write_bytes((folder / "train_00.webp").read_bytes()[:2000])
    with pytest.raises(DataError, match=r"train_00\.webp"):
        load_images("cifar100", split="train")
    (folder / "classes.txt").write_text("only one")
    with pytest.raises(DataError):
        load_images("cifar100", split="train")


def test_real_sets(real_data):
    mnist = load_images("mnist", "mnist-32")
    assert mnist.images.shape == (10_000, 32, 32, 1)
    assert abs(mnist.images.mean() / 255 - 0.1325) < 2e-3  # the mean of MNIST's test set
    cifar = load_images("cifar10", "cifar10")
    assert cifar.images.shape == (5000, 32, 32, 3)
    assert abs(cifar.images.mean((0, 1, 2)) / 255 - [0.4914, 0.4822, 0.4465]).max() < 0.01


# -- the library's download


def test_without_torchvision_the_way_out_is_named(monkeypatch):
    monkeypatch.delenv("SANSDATA_DATA", raising=False)
    monkeypatch.setitem(sys.modules, "torchvision", None)
    monkeypatch.setitem(sys.modules, "torchvision.datasets", None)
    with pytest.raises(DataError, match=r"SANSDATA_DATA.*fashion_mnist/train\.npz"):
        load_images("fashion-mnist")


@pytest.mark.parametrize("works", [True, False])
def test_torchvision_is_asked_where_it_is_there(works, monkeypatch, tmp_path):
    def fetch(root, train, download):
        assert str(tmp_path) in root
        if not works:
            raise OSError("no route to host")
        return types.SimpleNamespace(data=torch.zeros(4, 28, 28, dtype=torch.uint8), targets=[0, 1, 2, 9])

    datasets = types.ModuleType("torchvision.datasets")
    datasets.MNIST = fetch
    package = types.ModuleType("torchvision")
    package.datasets = datasets
    monkeypatch.setitem(sys.modules, "torchvision", package)
    monkeypatch.setitem(sys.modules, "torchvision.datasets", datasets)
    monkeypatch.setenv("SANSDATA_DATA", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    if not works:
        with pytest.raises(DataError, match="no route to host"):
            load_images("mnist")
        return
    data = load_images("mnist")
    assert data.images.shape == (4, 28, 28, 1)
    assert data.labels.tolist() == [0, 1, 2, 9]
    assert "downloaded by torchvision" in data.notes[0]


def test_a_set_of_medmnist_is_read_from_its_own_file(tmp_path, monkeypatch):
    """Labels are (N, 1) there; without a test part the validation part stands for it, and that is said."""
    folder = tmp_path / "pneumoniamnist"
    folder.mkdir()
    images = np.arange(5 * 28 * 28, dtype=np.uint8).reshape(5, 28, 28)
    parts = {"train_images": images, "train_labels": np.array([[0], [1], [1], [0], [1]])}
    np.savez(folder / "pneumoniamnist.npz", **parts, val_images=images[:2], val_labels=np.array([1, 0]))
    monkeypatch.setenv("SANSDATA_DATA", str(tmp_path))
    train, test = (load_images("pneumoniamnist", "pneumoniamnist", split) for split in ("train", "test"))
    assert train.labels.tolist() == [0, 1, 1, 0, 1]
    assert train.class_names == ("normal", "pneumonia")
    assert (train.images[..., 0] == images).all()
    assert test.labels.tolist() == [1, 0]
    assert any("validation" in note for note in test.notes)
    (folder / "pneumoniamnist.npz").unlink()
    with pytest.raises(DataError, match="MedMNIST"):
        load_images("pneumoniamnist")
    monkeypatch.delenv("SANSDATA_DATA")
    with pytest.raises(DataError, match="Set SANSDATA_DATA"):
        load_images("pneumoniamnist")
