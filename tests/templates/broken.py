"""An image that lacks a package: a tree of links to another one's."""

import os
from dataclasses import replace
from pathlib import Path

from tests.templates.image import Image


def without(package: str, image: Image, folder: Path) -> Image:
    """The image, but for a package that its lock should have named.

    Args:
      package: the name that is imported.
      image: the whole one.
      folder: for the tree.
    """
    own = image.python.parents[1]
    (packages,) = (own / "lib").glob("python3.*/site-packages")
    environment = folder / own.relative_to(image.root)
    target = environment / packages.relative_to(own)
    target.mkdir(parents=True)
    for path in packages.iterdir():
        if path.name.partition(".")[0] != package:
            (target / path.name).symlink_to(path)
    (environment / "bin").mkdir()
    (environment / "bin" / "python").symlink_to(os.path.realpath(image.python))
    (environment / "pyvenv.cfg").write_text((own / "pyvenv.cfg").read_text())
    launched = folder / image.launched.relative_to(image.root)
    launched.parent.mkdir()
    launched.symlink_to(image.launched)
    led = {name: value.replace(str(image.root), str(folder)) for name, value in image.environment.items()}
    return replace(image, root=folder, environment=led)
