"""Which folder is which class, and that nothing in a folder is left out without a word."""

import os

import numpy as np
import pytest
from PIL import Image

from sansdata.datasets.images import load_images
from sansdata.errors import DataError
from sansdata.tasks import ImageTask


def task(classes, names=()):
    return ImageTask(shape=(3, 4, 4), classes=classes, mean=(0, 0, 0), std=(1, 1, 1), class_names=names)


def folders(root, names, images=1):
    """A folder for each name, whose images are of a grey that is its place among the names."""
    for place, name in enumerate(names):
        (root / name).mkdir(parents=True)
        for number in range(images):
            Image.new("RGB", (4, 4), (place, place, place)).save(root / name / f"{number:02}.png")
    return root


def classes_by_place(data):
    """Place of the folder's name as it was given -> class."""
    return {int(image[0, 0, 0]): int(label) for image, label in zip(data.images, data.labels)}


@pytest.mark.parametrize(
    "names",
    [
        [str(number) for number in range(100)],
        [f"{number:02}" for number in range(100)],
        [f"{number:04}" if number % 2 else str(number) for number in range(100)],
        [str(number) for number in range(1, 101)],
        [str(number) for number in range(-50, 50)],
    ],
    ids=["plain", "padded", "partly padded", "from one", "negative"],
)
def test_folders_that_are_numbers_are_in_the_order_of_their_numbers(tmp_path, names):
    data = load_images(folders(tmp_path, names), task(100))
    assert classes_by_place(data) == {place: place for place in range(100)}
    begins_at_zero = int(names[0]) == 0
    assert any("in the order of their numbers" in note for note in data.notes) is not begins_at_zero


def test_a_few_numbered_folders_of_many_classes_are_those_classes(tmp_path):
    data = load_images(folders(tmp_path, ["2", "10", "99"]), task(100))
    assert data.labels.tolist() == [10, 2, 99]  # files in the order of the folders' names as text
    assert any("no images of 97 class(es)" in note for note in data.notes)


def test_numbers_without_a_task_are_in_the_order_of_their_numbers(tmp_path):
    data = load_images(folders(tmp_path, ["0", "1", "2", "10"]))
    assert data.class_names == ("0", "1", "2", "10")


def test_numbers_stand_for_named_classes_and_that_is_said(tmp_path):
    names = tuple(f"class of {letter}" for letter in "abcdefghijkl")
    data = load_images(folders(tmp_path, [str(number) for number in range(12)]), task(12, names))
    assert classes_by_place(data) == {place: place for place in range(12)}
    assert any("taken as the numbers of the task's classes" in note for note in data.notes)
    assert data.class_names == names


def test_padded_numbers_are_the_classes_named_by_these_numbers(tmp_path):
    data = load_images(folders(tmp_path, ["07", "3"]), task(10, tuple("9876543210")))
    assert classes_by_place(data) == {0: 2, 1: 6}


def test_two_spellings_of_one_number_are_refused(tmp_path):
    with pytest.raises(DataError, match="'01' and '1' are the same number"):
        load_images(folders(tmp_path, ["0", "1", "01"]), task(3))


@pytest.mark.parametrize("names", [["class1", "class2", "class10"], ["2", "10", "background"]])
def test_an_order_that_could_be_another_is_said(tmp_path, names):
    """As text 10 comes before 2: training tools sort so, people may not."""
    data = load_images(folders(tmp_path, names), task(3))
    assert any("order of their names as text" in note and "class_names" in note for note in data.notes)


def test_words_have_no_other_order(tmp_path):
    assert load_images(folders(tmp_path, ["n01", "n02", "n10"]), task(3)).notes == ()


# -- what is not read


def broken_link(path):
    path.symlink_to("nowhere.png")


NOT_READ = {
    "cat/a.jp2": (lambda p: p.write_bytes(b"x"), "images of kind .jp2 are not read"),
    "cat/a.AVIF": (lambda p: p.write_bytes(b"x"), "images of kind .avif are not read"),
    "cat/deep/a.png": (lambda p: p.write_bytes(b"x"), "cat/deep/a.png: lies deeper than its class's folder"),
    "a.png": (lambda p: p.write_bytes(b"x"), "a.png: lies beside the class folders"),
    "a.heic": (lambda p: p.write_bytes(b"x"), "a.heic: lies beside the class folders"),
    "cat/gone.png": (broken_link, "cat/gone.png: no file, nor a link to one"),
    "cat/pipe.png": (os.mkfifo, "cat/pipe.png: no file, nor a link to one"),
}
OTHER = {
    "cat/more.zip": ".zip 1",
    "cat.tar": ".tar 1",
    "cat/.hidden.png": "hidden 1",
    "cat/notes.txt": ".txt 1",
    "cat/without": "without suffix 1",
}


@pytest.mark.parametrize("name", NOT_READ)
def test_an_image_that_is_not_read_is_counted_and_named_like_a_broken_one(tmp_path, name):
    make, words = NOT_READ[name]
    root = folders(tmp_path, ["cat", "dog"], images=10)
    (root / name).parent.mkdir(exist_ok=True)
    make(root / name)
    data = load_images(root, task(2))
    assert len(data) == 20
    assert [note for note in data.notes if words in note and note.startswith("1 of 21 images skipped")], data.notes


def test_many_images_that_are_not_read_are_an_error(tmp_path):
    root = folders(tmp_path, ["cat", "dog"], images=10)
    for number in range(5):
        (root / "cat" / f"{number}.jp2").write_bytes(b"x")
    with pytest.raises(DataError, match=r"5 of 25 images cannot be read, more than 10%: cat/0\.jp2: images of kind"):
        load_images(root, task(2))


def test_nothing_but_images_that_are_not_read(tmp_path):
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.jxl").write_bytes(b"x")
    with pytest.raises(DataError, match=r"no image files .*2 image\(s\) are not read, the first is cat/a\.jxl"):
        load_images(tmp_path, task(2))


@pytest.mark.parametrize("name", OTHER)
def test_other_files_are_counted_and_the_first_is_named(tmp_path, name):
    root = folders(tmp_path, ["cat", "dog"])
    (root / name).write_bytes(b"x")
    (note,) = load_images(root, task(2)).notes
    assert note == f"1 other file(s) are not read ({OTHER[name]}), the first is {name}"


def test_a_set_of_one_image_over_and_over_gives_no_figure(tmp_path):
    """All ink was lost before: whatever is answered, accuracy would be that of one class."""
    data = load_images(folders(tmp_path, ["cat", "dog"]), task(2))
    data.require_fit(task(2))
    same = data.subset(np.array([0, 0, 0]), "the first, three times")
    with pytest.raises(DataError, match="all 3 images are the same: nothing can be measured"):
        same.require_fit(task(2))
