"""Small copies of the data sets whose archives hold image files, with the index files that name splits and classes."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from support.published.pictures import Split, encode, lines, many_quadrants, with_all, write_file, write_tar, write_zip

# The breeds of Oxford-IIIT Pet in the order of their numbers. Names of cats begin with a capital letter.
BREEDS = (
    "Abyssinian", "american_bulldog", "american_pit_bull_terrier", "basset_hound", "beagle", "Bengal", "Birman",
    "Bombay", "boxer", "British_Shorthair", "chihuahua", "Egyptian_Mau", "english_cocker_spaniel", "english_setter",
    "german_shorthaired", "great_pyrenees", "havanese", "japanese_chin", "keeshond", "leonberger", "Maine_Coon",
    "miniature_pinscher", "newfoundland", "Persian", "pomeranian", "pug", "Ragdoll", "Russian_Blue", "saint_bernard",
    "samoyed", "scottish_terrier", "shiba_inu", "Siamese", "Sphynx", "staffordshire_bull_terrier", "wheaten_terrier",
    "yorkshire_terrier",
)  # fmt: skip
PERSONS = {"Aaron_Eckhart": 1, "Zico": 3, "Ziwang_Xu": 1}  # the number of images of each
SOME_FLOWERS = {1: "pink primrose", 12: "colt's foot", 60: "pink-yellow dahlia?", 74: "rose", 102: "blackberry lily"}
DISHES = ("apple_pie", "pho", "waffles")
AIRCRAFT = {"707-320": ("Boeing 707", "Boeing"), "A380": ("A380", "Airbus"), "Falcon 2000": ("Falcon 2000", "Dassault")}
LAND_USE = ("AnnualCrop", "Forest", "HerbaceousVegetation", "Highway", "Industrial", "Pasture", "PermanentCrop",
            "Residential", "River", "SeaLake")  # fmt: skip
TEXTURES = ("banded", "polka-dotted", "zigzagged")
WORDNET = {"n01440764": "tench", "n02102040": "english springer", "n03888257": "parachute"}
ATTRIBUTES = ["5_o_Clock_Shadow", "Arched_Eyebrows", *(f"Attribute_{number}" for number in range(37)), "Young"]


def write_celeba(root: Path) -> dict[str, Split]:
    """Writes CelebA's zip of faces and its five tables: 3 faces for training, 2 for validation, 2 for testing."""
    images, codes = many_quadrants(0, 7, 218, 178), (0, 0, 1, 2, 0, 2, 1)
    names = [f"{number:06}.jpg" for number in range(1, 8)]
    folder = root / "celeba"
    write_zip(folder / "img_align_celeba.zip", {
        f"img_align_celeba/{name}": encode(image) for name, image in zip(names, images, strict=True)
    })  # fmt: skip
    pairs = [f"{name} {code}" for name, code in zip(names, codes, strict=True)]
    write_file(folder / "list_eval_partition.txt", lines(pairs))
    write_file(folder / "identity_CelebA.txt", lines([f"{name} {2880 + at}" for at, name in enumerate(names)]))
    values = [" ".join(f"{1 if (at + column) % 3 else -1:2d}" for column in range(40)) for at in range(7)]
    tables = {
        "list_attr_celeba.txt": (ATTRIBUTES, values),
        "list_bbox_celeba.txt": (["x_1", "y_1", "width", "height"], ["   95  71 226 313"] * 7),
        "list_landmarks_align_celeba.txt": (["lefteye_x", "lefteye_y"], [" 69  109"] * 7),
    }
    for table, (columns, rows) in tables.items():
        texts = ["7", " ".join(columns) + " ", *(f"{name} {row}" for name, row in zip(names, rows, strict=True))]
        write_file(folder / table, lines(texts))
    splits = {"train": [0, 1, 4], "valid": [2, 6], "test": [3, 5], "all": [*range(7)]}
    return {split: Split(images[chosen], None) for split, chosen in splits.items()}


def write_lfw(root: Path) -> dict[str, Split]:
    """Writes LFW's three archives and the lists of names. The archives of aligned faces hold text files too."""
    files = [(name, number) for name, count in PERSONS.items() for number in range(1, count + 1)]
    images, folder = many_quadrants(0, len(files)), root / "lfw-py"
    for archive, inside in {
        "lfw": "lfw",
        "lfw-funneled": "lfw_funneled",
        "lfw-deepfunneled": "lfw-deepfunneled",
    }.items():
        members = {
            f"{inside}/{name}/{name}_{number:04}.jpg": encode(image)
            for (name, number), image in zip(files, images, strict=True)
        }
        if inside == "lfw_funneled":
            members[f"{inside}/pairs_01.txt"] = b"300\n"
        write_tar(folder / f"{archive}.tgz", members)
    counts = [f"{name}\t{count}" for name, count in PERSONS.items()]
    write_file(folder / "lfw-names.txt", lines(counts))
    write_file(folder / "people.txt", lines(["1", str(len(counts)), *counts]))
    write_file(folder / "peopleDevTrain.txt", lines(["2", *counts[:2]]))
    write_file(folder / "peopleDevTest.txt", lines(["1", *counts[2:]]))
    names = [name for name, _ in files]
    return with_all({"train": Split(images[:4], names[:4]), "test": Split(images[4:], names[4:])})


def write_oxford_pets(root: Path) -> dict[str, Split]:
    """Writes Oxford-IIIT Pet's archives of images and annotations, an image of each breed in each split.

    As in the published archive, an image named .jpg is a GIF, and there are other files beside the images.
    """
    images, annotations, written = {}, {}, {}
    comments = ["#Image CLASS-ID SPECIES BREED ID", "#ID: 1:37 Class ids", "#SPECIES: 1:Cat 2:Dog",
                "#BREED ID: 1-25:Cat 1:12:Dog", "#All images with 1st letter as captial are cat images",
                "#images with small first letter are dog images"]  # fmt: skip
    all_rows = []
    for first, (split, index) in enumerate({"trainval": 100, "test": 201}.items()):
        pictures, rows = many_quadrants(100 * first, len(BREEDS)), []
        counts = {"cat": 0, "dog": 0}
        for number, (breed, picture) in enumerate(zip(BREEDS, pictures, strict=True), 1):
            species = "cat" if breed[0].isupper() else "dog"
            counts[species] += 1
            kind = "GIF" if (breed, split) == ("Egyptian_Mau", "test") else "JPEG"
            images[f"images/{breed}_{index}.jpg"] = encode(picture, kind)
            annotations[f"annotations/trimaps/{breed}_{index}.png"] = encode(picture // 86 + 1, "PNG")
            rows.append(f"{breed}_{index} {number} {1 if species == 'cat' else 2} {counts[species]}")
        annotations[f"annotations/{split}.txt"] = lines(rows)
        written[split.removesuffix("val")] = Split(pictures, [breed.replace("_", " ").lower() for breed in BREEDS])
        all_rows += rows
    annotations["annotations/list.txt"] = lines([*comments, *all_rows])
    annotations["annotations/README"] = b"OXFORD-IIIT PET Dataset\n"
    images["images/Abyssinian_100.mat"] = b"MATLAB 5.0 MAT-file"
    write_tar(root / "oxford-iiit-pet/images.tar.gz", images)
    write_tar(root / "oxford-iiit-pet/annotations.tar.gz", annotations)
    species = Split(written["train"].images, ["cat" if breed[0].isupper() else "dog" for breed in BREEDS])
    return {**with_all(written), "species/train": species}


def write_lsun(root: Path, categories: Sequence[str] = ("bedroom", "church_outdoor")) -> dict[str, Split]:
    """Writes LSUN's zip of an lmdb for each category and split. Keys are hashes, values are WebP files."""
    import lmdb

    written = {}
    for first, (split, count) in enumerate({"train": 4, "val": 2}.items()):
        parts: list[tuple[np.ndarray, str]] = []
        for category in categories:
            images = many_quadrants(100 * first + len(parts), count)
            keys = [hashlib.sha1(image.tobytes()).hexdigest() for image in images]
            with tempfile.TemporaryDirectory() as folder:
                with (
                    lmdb.open(folder, map_size=1 << 20, sync=False) as database,
                    database.begin(write=True) as transaction,
                ):
                    for key, image in zip(keys, images, strict=True):
                        transaction.put(key.encode(), encode(image, "WEBP"))
                files = {path.name: path.read_bytes() for path in Path(folder).iterdir()}
            name = f"{category}_{split}_lmdb"
            write_zip(root / f"{name}.zip", {f"{name}/{file}": content for file, content in files.items()})
            parts += [(images[index], category) for index in np.argsort(keys)]
        name = "test" if split == "val" else split
        written[name] = Split(np.stack([image for image, _ in parts]), [category for _, category in parts])
    return written


def write_flowers102(root: Path) -> dict[str, Split]:
    """Writes Oxford Flowers' archive of images, the labels of all images, and the numbers of each split's images."""
    from scipy.io import savemat  # takes long to import

    splits = {"train": [3, 1, 8], "val": [2, 7], "test": [4, 5, 6, 9, 10]}
    images = many_quadrants(0, 10)
    labels = np.resize(list(SOME_FLOWERS), 10)
    folder = root / "flowers-102"
    files = {f"jpg/image_{number:05}.jpg": encode(image) for number, image in enumerate(images, 1)}
    write_tar(folder / "102flowers.tgz", files)
    savemat(folder / "imagelabels.mat", {"labels": labels.astype(np.uint8)[None]}, do_compression=True)
    numbers = {"trnid": "train", "valid": "val", "tstid": "test"}
    ids = {key: np.array(splits[split], np.uint16)[None] for key, split in numbers.items()}
    savemat(folder / "setid.mat", ids, do_compression=True)
    return with_all(
        {
            split: Split(images[np.array(ids) - 1], [SOME_FLOWERS[labels[number - 1]] for number in ids])
            for split, ids in splits.items()
        }
    )


def write_food101(root: Path) -> dict[str, Split]:
    """Writes Food-101's archive: a folder for each dish, and the splits as text and as JSON."""
    files, written = {}, {}
    for first, (split, count) in enumerate({"train": 3, "test": 2}.items()):
        images = many_quadrants(100 * first, count * len(DISHES))
        index = {dish: [f"{dish}/{10000 * first + 7 * at}" for at in range(count)] for dish in DISHES}
        paths = [path for part in index.values() for path in part]
        files |= {f"food-101/images/{path}.jpg": encode(image) for path, image in zip(paths, images, strict=True)}
        files[f"food-101/meta/{split}.json"] = json.dumps(index).encode()
        files[f"food-101/meta/{split}.txt"] = lines(paths)
        written[split] = Split(images, [path.split("/")[0] for path in paths])
    files["food-101/meta/classes.txt"] = lines(DISHES)
    files["food-101/meta/labels.txt"] = lines([dish.replace("_", " ").capitalize() for dish in DISHES])
    files["food-101/README.txt"] = files["food-101/license_agreement.txt"] = b"Food-101\n"
    write_tar(root / "food-101.tar.gz", files)
    return with_all(written)


def write_fgvc_aircraft(root: Path) -> dict[str, Split]:
    """Writes FGVC-Aircraft's archive, with the classes of each image by variant, family and manufacturer.

    The lowest 20 rows of each image file name its photographer; here they are black, and must not be loaded.
    """
    data, written = "fgvc-aircraft-2013b/data", {}
    levels = {
        "variant": {variant: variant for variant in AIRCRAFT},
        "family": {variant: family for variant, (family, _) in AIRCRAFT.items()},
        "manufacturer": {variant: maker for variant, (_, maker) in AIRCRAFT.items()},
    }
    images, numbers = many_quadrants(0, 12), [f"{number:07}" for number in range(34309, 34321)]
    variants = np.resize(list(AIRCRAFT), 12).tolist()
    captioned = np.pad(images, ((0, 0), (0, 0), (0, 20), (0, 0)))
    files = {f"{data}/images/{number}.jpg": encode(image) for number, image in zip(numbers, captioned, strict=True)}
    files[f"{data}/images_box.txt"] = lines([f"{number} 1 1 32 12" for number in numbers])
    for level, plural in {"variant": "variants", "family": "families", "manufacturer": "manufacturers"}.items():
        files[f"{data}/{plural}.txt"] = lines(sorted(set(levels[level].values())))
    splits = {"train": slice(0, 4), "val": slice(4, 7), "trainval": slice(0, 7), "test": slice(7, 12)}
    for split, part in splits.items():
        files[f"{data}/images_{split}.txt"] = lines(numbers[part])
        for level, names in levels.items():
            rows = [f"{number} {names[variant]}" for number, variant in zip(numbers[part], variants[part], strict=True)]
            files[f"{data}/images_{level}_{split}.txt"] = lines(rows)
    for level, names in levels.items():
        for split, part in {"train": slice(0, 7), "test": slice(7, 12), "all": slice(0, 12)}.items():
            written[f"{level}/{split}"] = Split(images[part], [names[variant] for variant in variants[part]])
    files["fgvc-aircraft-2013b/README.md"] = b"FGVC-Aircraft\n"
    write_tar(root / "fgvc-aircraft-2013b.tar.gz", files)
    return written


def write_eurosat(root: Path) -> dict[str, Split]:
    """Writes EuroSAT's zip, a folder for each of ten classes. It has no splits."""
    names = [name for name in LAND_USE for _ in range(2)]
    images = many_quadrants(0, len(names), 64, 64)
    paths = [f"2750/{name}/{name}_{at % 2 + 1}.jpg" for at, name in enumerate(names)]
    write_zip(root / "eurosat/EuroSAT.zip", dict(zip(paths, map(encode, images), strict=True)))
    return {"train": Split(images, names)}


def write_dtd(root: Path) -> dict[str, Split]:
    """Writes the Describable Textures' archive: a folder for each texture, and ten divisions into three splits.

    Returns the splits with the number of the division, as `1/train`.
    """
    files, written = {}, {}
    names = [name for name in TEXTURES for _ in range(2)]
    parts = []
    for first in range(3):
        paths = [f"{name}/{name}_{10 * first + at % 2:04}.jpg" for at, name in enumerate(names)]
        images = many_quadrants(100 * first, len(names))
        files |= {f"dtd/images/{path}": encode(image) for path, image in zip(paths, images, strict=True)}
        parts.append((paths, Split(images, names)))
    for division in range(1, 11):
        splits = {}
        for at, split in enumerate(("train", "val", "test")):
            paths, splits[split] = parts[(at + division) % 3]
            files[f"dtd/labels/{split}{division}.txt"] = lines(paths)
        written |= {f"{division}/{split}": part for split, part in with_all(splits).items()}
    files["dtd/labels/labels_joint_anno.txt"] = lines(["banded/banded_0000.jpg banded "])
    files["dtd/imdb/imdb.mat"] = b"MATLAB 5.0 MAT-file"
    write_tar(root / "dtd/dtd-r1.0.1.tar.gz", files)
    return {key: split for key, split in written.items() if key[:2] in ("1/", "2/")}


def write_imagenette(root: Path) -> dict[str, Split]:
    """Writes Imagenette's three archives, whose folders are named by WordNet."""
    for size in ("", "-320", "-160"):
        folder, written = f"imagenette2{size}", {}
        files = {f"{folder}/noisy_imagenette.csv": b"path,noisy_labels_0\n"}
        for first, (split, prefix) in enumerate({"train": "ILSVRC2012_val_0000", "val": "n01440764_"}.items()):
            names = [name for name in WORDNET for _ in range(2)]
            images = many_quadrants(100 * first, len(names))
            for at, (name, image) in enumerate(zip(names, images, strict=True)):
                files[f"{folder}/{split}/{name}/{prefix}{at:04}.JPEG"] = encode(image)
            written["test" if split == "val" else split] = Split(images, [WORDNET[name] for name in names])
        write_tar(root / f"{folder}.tgz", files)
    return with_all(written)
