"""``facehall-prepare``: decode a data set once, so that everything after it starts at once.

Data sets prepare themselves when they are first used; the command does it beforehand, downloads LFW, checks a
cache to the last byte, and shows all that is wrong with a folder in one go.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from facehall_env.datasets import bioid, folder, lfw
from facehall_env.datasets.cache import CacheError, FaceCache, Recipe, data_dir, open_cache
from facehall_env.datasets.download import download_lfw
from facehall_env.datasets.errors import BadPicturesError, DatasetError

PREPARABLE: Final = ("lfw", "bioid", "folder")


def prepare(
    recipe: Recipe,
    *,
    skip_bad: bool = False,
    rebuild: bool = False,
    workers: int | None = None,
    progress: bool | None = None,
) -> FaceCache:
    """Builds the cache of a recipe, or checks every picture of an old one and builds it anew if need be.

    Args:
        recipe: As :func:`facehall_env.datasets.lfw.recipe` and its fellows make it.
        skip_bad: Leave out pictures that cannot be used, and record them.
        rebuild: Build in any case.
        workers: Decoding threads, the number of processors by default.
        progress: Show a progress bar; None shows it on a terminal only.

    Raises:
        BadPicturesError: If pictures cannot be used and ``skip_bad`` is not set; it names all of them.
        DatasetError: If there is nothing to prepare or nowhere to put it.
    """
    cache = open_cache(recipe, skip_bad=skip_bad, rebuild=rebuild, workers=workers, progress=progress)
    try:
        cache.verify()
    except CacheError:
        cache = open_cache(recipe, skip_bad=skip_bad, rebuild=True, workers=workers, progress=progress)
    return cache


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status, 1 where the data cannot be used."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.download and options.dataset != "lfw":
        parser.error("--download is for lfw; BioID and your own pictures have to be there")
    if options.variant and options.dataset != "lfw":
        parser.error("--variant is for lfw")
    if (options.image_size or options.gray) and options.dataset != "folder":
        parser.error("--image-size and --gray are for folder")
    if options.workers is not None and options.workers < 1:
        parser.error(f"--workers is {options.workers}, but at least one thread has to decode")
    progress = not options.quiet
    start = time.perf_counter()
    try:
        recipe = _recipe(options, progress)
        cache = prepare(
            recipe,
            skip_bad=options.skip_bad,
            rebuild=options.rebuild,
            workers=options.workers,
            progress=progress,
        )
        lines = [f"{recipe.name}: {len(cache):,} pictures of {cache.shape} from {recipe.source}"]
        if options.dataset == "bioid":
            lines.append(bioid.describe(cache))
        if options.dataset == "lfw":
            train, test = (sum(people.values()) for people in lfw.read_lists(recipe.source))
            lines.append(f"View 1: {train:,} training and {test:,} test pictures")
        lines += [f"skipped: {file}: {reason}" for _, file, reason in cache.skipped]
        lines.append(f"{cache.directory}: {cache.index['bytes'] / 1e6:,.0f} MB, checked")
        lines.append(f"ready after {time.perf_counter() - start:.1f} s")
    except BadPicturesError as error:
        print(f"facehall-prepare: {len(error.bad)} bad picture(s) in {error.source}:", file=sys.stderr)
        for file, reason in error.bad.items():
            print(f"  {file}: {reason}", file=sys.stderr)
        print("Replace them, or leave them out with --skip-bad.", file=sys.stderr)
        return 1
    except (DatasetError, OSError) as error:
        print(f"facehall-prepare: {error}", file=sys.stderr)
        return 1
    if not options.quiet:
        print("\n".join(lines))
    return 0


def _recipe(options: argparse.Namespace, progress: bool) -> Recipe:
    if options.dataset == "lfw":
        variant = options.variant
        if options.download:
            variant = variant or "lfw-funneled"
            download_lfw(
                options.root or data_dir() / "lfw", variant, base_url=options.base_url, progress=progress
            )
        name, source = lfw.find_pictures(options.root, variant)
        lfw.read_lists(source)  # a wrong list shows before the pictures are decoded
        return lfw.recipe(name, source)
    if options.dataset == "bioid":
        return bioid.recipe(bioid.find_pictures(options.root))
    size = options.image_size or [128]
    if len(size) > 2:
        raise DatasetError("--image-size takes one or two numbers: rows and columns.")
    return folder.recipe(folder.find_pictures(options.root), (size[0], size[-1]), options.gray)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="facehall-prepare",
        description="Decode a data set once into the cache that facehall reads.",
        epilog="Caches and downloads go to $FACEHALL_DATA, or else to your cache folder.",
    )
    parser.add_argument("dataset", choices=PREPARABLE)
    parser.add_argument("root", nargs="?", type=Path, help="folder or archive of the pictures")
    parser.add_argument("--download", action="store_true", help="lfw: fetch the archive and the lists first")
    parser.add_argument(
        "--variant", choices=lfw.VARIANTS, help="lfw: which one (lfw-funneled is the paper's)"
    )
    parser.add_argument("--base-url", help="lfw: mirror to download from ($FACEHALL_LFW_URL)")
    parser.add_argument(
        "--image-size",
        nargs="+",
        type=int,
        metavar="N",
        help="folder: rows and columns (one number: a square)",
    )
    parser.add_argument("--gray", action="store_true", help="folder: one channel in place of three")
    parser.add_argument(
        "--skip-bad", action="store_true", help="leave out pictures that cannot be used, and say which"
    )
    parser.add_argument("--rebuild", action="store_true", help="decode again even if the cache is good")
    parser.add_argument("--workers", type=int, help="decoding threads (all processors)")
    parser.add_argument("--quiet", action="store_true", help="no progress bar and no summary")
    return parser


if __name__ == "__main__":
    sys.exit(main())
