"""Folders as people have them, and images as an enemy would make them."""

import io
import os
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from sansdata.datasets.fit import resize
from sansdata.datasets.images import load_images
from sansdata.decoding import images as decoding
from sansdata.errors import DataError
from sansdata.tasks import ImageTask

TASK = ImageTask(shape=(3, 8, 8), classes=2, mean=(0, 0, 0), std=(1, 1, 1), class_names=("dog", "cat"))
GREY = ImageTask(shape=(1, 8, 8), classes=2, mean=(0,), std=(1,))
PIXELS = np.random.default_rng(0).integers(0, 256, (2, 20, 8, 8, 3), dtype=np.uint8)


@pytest.fixture
def root(tmp_path):
    """cat/ and dog/ with twenty images of 8x8 each."""
    for name, pixels in zip(("cat", "dog"), PIXELS):
        (tmp_path / name).mkdir()
        for i, image in enumerate(pixels):
            Image.fromarray(image).save(tmp_path / name / f"{i:02}.png")
    return tmp_path


def test_labels_follow_the_tasks_names(root):
    data = load_images(root, TASK)
    assert data.class_names == ("dog", "cat")
    assert np.array_equal(data.images[data.labels == 1], PIXELS[0])
    assert np.array_equal(data.images[data.labels == 0], PIXELS[1])
    assert data.notes == ()


def test_without_names_the_order_is_sorted(root):
    for task in (None, TASK.model_copy(update={"class_names": ()})):
        data = load_images(root, task)
        assert data.class_names == ("cat", "dog")
        assert np.array_equal(data.images[data.labels == 0], PIXELS[0])


def test_resizing_is_that_of_arrays(root):
    task = TASK.model_copy(update={"shape": (3, 5, 12)})
    data = load_images(root, task)
    assert abs(data.images[data.labels == 1].astype(int) - resize(PIXELS[0], 5, 12)).max() <= 1
    assert data.notes == ("40 of 40 images: resized to 5x12 (bilinear)",)


def test_grey(root):
    assert load_images(root, GREY).images.shape == (40, 8, 8, 1)


def test_other_files_are_left_alone(root):
    (root / "README.txt").write_text("hello")
    (root / ".git").mkdir()
    (root / "cat" / "Thumbs.db").write_bytes(b"x")
    (root / "cat" / ".hidden.png").write_bytes(b"x")
    os.mkfifo(root / "cat" / "pipe.png")  # opening it would block for ever
    (root / "cat" / "gone.png").symlink_to(root / "nowhere.png")
    assert len(load_images(root, TASK)) == 40


def test_a_class_without_images_is_noted(root):
    for path in (root / "cat").iterdir():
        path.unlink()
    assert load_images(root, TASK).notes == ("no images of 1 class(es), the first is 'cat'",)


def test_accents_match_however_the_file_system_writes_them(tmp_path):
    for name in ("cafe\u0301", "dog"):
        (tmp_path / name).mkdir()
        Image.fromarray(PIXELS[0, 0]).save(tmp_path / name / "0.png")
    task = TASK.model_copy(update={"class_names": ("dog", "caf\u00e9")})
    assert load_images(tmp_path, task).labels.tolist() == [1, 0]


# -- odd but honest images: read, and said


def save_16_bit(path):
    Image.fromarray((np.arange(64, dtype=np.uint16) * 1000).reshape(8, 8)).save(path)


def save_rotated(path):
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    Image.fromarray(PIXELS[0, 0][::-1, ::-1]).save(path, exif=exif)


def save_animated(path):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    frames[0].save(path, save_all=True, append_images=frames[1:])


ODD = {
    "cmyk.jpg": (lambda p: Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(p, quality=95), "CMYK", (254, 0, 0)),
    "cmyk.tiff": (lambda p: Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(p), "CMYK", (255, 0, 0)),
    "alpha.png": (lambda p: Image.new("RGBA", (8, 8), (9, 8, 7, 0)).save(p), "transparency dropped", (9, 8, 7)),
    "grey_alpha.png": (lambda p: Image.new("LA", (8, 8), (9, 0)).save(p), "transparency dropped", (9, 9, 9)),
    "grey.png": (lambda p: Image.new("L", (8, 8), 77).save(p), None, (77, 77, 77)),
    "palette.png": (lambda p: Image.new("RGB", (8, 8), (1, 2, 3)).convert("P", palette=1).save(p), None, (1, 2, 3)),
    "bits.png": (lambda p: Image.new("1", (8, 8), 1).save(p), None, (255, 255, 255)),
    "animated.gif": (save_animated, "animated, its first frame", (254, 0, 0)),
    "animated.webp": (lambda p: save_animated(p), "animated, its first frame", (254, 0, 0)),
    "UPPER.BMP": (lambda p: Image.new("RGB", (8, 8), (5, 6, 7)).save(p), None, (5, 6, 7)),
    "named_wrong.jpg": (lambda p: Image.new("RGB", (8, 8), (5, 6, 7)).save(p, "PNG"), None, (5, 6, 7)),
    "one_pixel.png": (lambda p: Image.new("RGB", (1, 1), (5, 6, 7)).save(p), "resized", (5, 6, 7)),
    "strip.png": (lambda p: Image.new("RGB", (5000, 1), (5, 6, 7)).save(p), "resized", (5, 6, 7)),
    "ycc.jpg": (lambda p: Image.new("YCbCr", (8, 8), (76, 84, 255)).save(p, quality=95), None, (254, 0, 0)),
}


@pytest.mark.parametrize("name", ODD)
def test_odd_images_are_read_and_said(tmp_path, name):
    save, words, colour = ODD[name]
    (tmp_path / "cat").mkdir()
    save(tmp_path / "cat" / name)
    data = load_images(tmp_path, TASK)
    assert abs(data.images[0].astype(int) - colour).max() <= 12  # lossy formats
    said = " ".join(data.notes)
    assert (words in said) if words else "images:" not in said


def test_16_bit_keeps_the_upper_half(tmp_path):
    (tmp_path / "cat").mkdir()
    save_16_bit(tmp_path / "cat" / "a.png")
    data = load_images(tmp_path, TASK)
    assert data.images[0, ..., 0].reshape(-1).tolist() == [i * 1000 >> 8 for i in range(64)]
    assert "16 bits" in data.notes[0]


def test_photographs_are_turned_upright(tmp_path):
    (tmp_path / "cat").mkdir()
    save_rotated(tmp_path / "cat" / "a.png")
    assert np.array_equal(load_images(tmp_path, TASK).images[0], PIXELS[0, 0])


# -- transparency


def ink(root, images=10, mode="RGBA"):
    """Pictures that are drawn by their transparency alone: every pixel black, alpha the strokes (N, 8, 8)."""
    strokes = np.random.default_rng(1).integers(0, 256, (images, 8, 8), dtype=np.uint8)
    (root / "cat").mkdir()
    for number, alpha in enumerate(strokes):
        picture = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
        picture.putalpha(Image.fromarray(alpha))
        picture.convert(mode).save(root / "cat" / f"{number:02}.png")
    return strokes


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_ink_in_the_transparency_is_no_black_picture(tmp_path, mode):
    ink(tmp_path, mode=mode)
    with pytest.raises(DataError, match=r"10 of 10 .* drawn by its transparency alone.*--background white, or black"):
        load_images(tmp_path, TASK)


@pytest.mark.parametrize("task", [TASK, GREY])
def test_ink_is_seen_on_a_background(tmp_path, task):
    strokes = ink(tmp_path)
    white = load_images(tmp_path, TASK, background="white")
    assert np.abs(white.images[..., 0].astype(int) - (255 - strokes)).max() <= 1
    assert white.notes[0] == "10 of 10 images: transparent, composed on white"
    with pytest.raises(DataError, match="all 10 images are the same"):  # black ink on black
        load_images(tmp_path, TASK, background="black").require_fit(TASK)


def test_a_few_such_images_among_others_are_skipped_and_counted(root):
    Image.fromarray(PIXELS[0, 0]).convert("RGBA").save(root / "cat" / "opaque.png")
    picture = Image.new("RGBA", (8, 8))
    picture.putalpha(Image.fromarray(PIXELS[0, 0, ..., 0]))
    picture.save(root / "cat" / "ink.png")
    notes = load_images(root, TASK).notes
    assert "1 of 42 images skipped, the first is cat/ink.png: drawn by its transparency alone" in " ".join(notes)
    assert "1 of 42 images: transparency dropped" in notes


@pytest.mark.parametrize("spec", ["digits", "set.npz"])
def test_a_background_is_of_image_files(tmp_path, spec):
    np.savez(tmp_path / "set.npz", x=PIXELS[0], y=np.zeros(20, np.int64))
    with pytest.raises(DataError, match="a background is for image files"):
        load_images(spec if spec == "digits" else tmp_path / spec, background="white")


# -- images that are refused: one bad among forty is skipped and counted, many are an error


def png(width, height, body=b"", depth=8, colour=2):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(body)) + chunk(b"IEND", b"")


def jpeg_bytes():
    buffer = io.BytesIO()
    Image.fromarray(PIXELS[0, 0]).save(buffer, "JPEG")
    return buffer.getvalue()


def truncated_png():
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()[:3000]


HOSTILE = {
    "empty.png": (b"", "not an image"),
    "text.png": (b"hello, I am a picture", "not an image"),
    "zeros.jpg": (bytes(1000), "not an image"),
    "magic_only.png": (b"\x89PNG\r\n\x1a\n", ""),
    "magic_only.gif": (b"GIF89a", ""),
    "magic_only.webp": (b"RIFF\xff\xff\xff\x7fWEBPVP8L", ""),
    "magic_only.tif": (b"II*\x00\xff\xff\xff\xff", ""),
    "truncated.png": (truncated_png(), ""),
    "truncated.jpg": (jpeg_bytes()[:400], ""),
    "huge.png": (png(50_000, 50_000), "50000x50000|exceeds limit|decompression bomb"),
    "large.png": (png(9_000, 9_000), "9000x9000 pixels; at most 64,000,000"),
    "two_billion.png": (png(2**31 - 1, 2**31 - 1), ""),
    "zero_wide.png": (png(0, 8), ""),
    "no_pixels.png": (png(8, 8, b""), ""),
    "bad_filter.png": (png(8, 8, bytes([9]) * 200), ""),
    "bad_depth.png": (png(8, 8, bytes(200), depth=77), ""),
    "huge.ppm": (b"P6 50000 50000 255\n", "50000x50000|exceeds limit|decompression bomb"),
    "negative.ppm": (b"P6 -8 8 255\n" + bytes(192), ""),
    "short.ppm": (b"P6 8 8 255\n" + bytes(10), ""),
    "script.png": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n(x) run\n", "not an image"),
    "vector.png": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not an image"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_one_bad_image_is_skipped_and_named(root, name):
    content, words = HOSTILE[name]
    (root / "cat" / name).write_bytes(content)
    data = load_images(root, TASK)
    assert len(data) == 40
    (note,) = data.notes
    assert f"1 of 41 images skipped, the first is cat/{name}: " in note
    assert not words or any(word in note for word in words.split("|"))
    assert len(note) < 300


def test_float_and_32_bit_pixels_are_skipped(root):
    Image.fromarray(np.zeros((8, 8), np.float32)).save(root / "cat" / "f.tif")
    Image.fromarray(np.full((8, 8), 70_000, np.int32)).save(root / "cat" / "i.tif")
    (note,) = load_images(root, TASK).notes
    assert "2 of 42 images skipped, the first is cat/f.tif: float pixels" in note


def test_a_file_too_large_is_not_opened(root, monkeypatch):
    monkeypatch.setattr(decoding, "MAX_IMAGE_BYTES", 2**20)
    with open(root / "cat" / "zz.png", "wb") as file:
        file.truncate(2**20 + 1)
    assert "larger than 1 MiB" in load_images(root, TASK).notes[0]


def test_many_bad_images_are_an_error(root):
    for i in range(5):
        (root / "cat" / f"bad{i}.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"5 of 45 images cannot be read, more than 10%: cat/bad0\.png: not an"):
        load_images(root, TASK)


def test_only_bad_images(tmp_path):
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat" / "a.png").write_bytes(b"")
    with pytest.raises(DataError, match="1 of 1"):
        load_images(tmp_path, TASK)


# -- folders that do not fit


def test_no_subfolders(tmp_path):
    Image.fromarray(PIXELS[0, 0]).save(tmp_path / "a.png")
    with pytest.raises(DataError, match="expected one sub-folder per class, found none"):
        load_images(tmp_path, TASK)


def test_empty_subfolders(tmp_path):
    (tmp_path / "cat").mkdir()
    with pytest.raises(DataError, match="no image files"):
        load_images(tmp_path, TASK)


def test_unknown_class_folder_names_the_nearest(root):
    (root / "cat").rename(root / "cats")
    with pytest.raises(DataError, match=r"'cats' is no class of the task\. Did you mean 'cat'"):
        load_images(root, TASK)


def test_one_level_too_high_is_noticed(root):
    top = root / "top"
    (top / "test").mkdir(parents=True)
    for name in ("cat", "dog"):
        (root / name).rename(top / "test" / name)
    for task in (TASK, None):
        with pytest.raises(DataError, match=r"did you mean .*test"):
            load_images(top, task)


def test_number_of_folders_must_fit_a_task_without_names(root):
    task = TASK.model_copy(update={"class_names": (), "classes": 3})
    with pytest.raises(DataError, match="2 sub-folders, but the task has 3 classes"):
        load_images(root, task)


def test_without_a_task_sizes_must_agree(root):
    Image.new("RGB", (9, 8)).save(root / "dog" / "99.png")
    with pytest.raises(DataError, match="8x9, the images before it 8x8; give a task"):
        load_images(root)


def test_more_than_memory_is_refused_before_it_is_taken(root, monkeypatch):
    monkeypatch.setattr("sansdata.datasets.fit.MAX_SET_BYTES", 1000)
    with pytest.raises(DataError, match="Give fewer images"):
        load_images(root, TASK)


def test_names_that_differ_only_in_how_accents_are_stored(tmp_path):
    for name in ("cafe\u0301", "caf\u00e9"):
        (tmp_path / name).mkdir()
    with pytest.raises(DataError, match="same name but for how accents"):
        load_images(tmp_path)
