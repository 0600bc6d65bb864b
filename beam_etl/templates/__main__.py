"""`python -m beam_etl.templates [--image=NAME:TAG] [--output=FOLDER]`: the files of Dataflow's flex templates.

Without --image it writes metadata, one file a template, as templates/metadata holds them. With the name of the image
that templates/Dockerfile made it writes the templates themselves, to be copied to Cloud Storage.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from beam_etl.templates.metadata import Template, metadata, templates

METADATA = "templates/metadata"


def spec(template: Template, image: str) -> dict[str, Any]:
    """A flex template, which `gcloud dataflow flex-template run` is given the place of: a ContainerSpec as JSON."""
    return {"image": image, "sdkInfo": {"language": "PYTHON"}, "metadata": metadata(template)}


def main(argv: Sequence[str] | None = None) -> None:
    """See the module."""
    parser = argparse.ArgumentParser(prog="python -m beam_etl.templates", description=__doc__)
    parser.add_argument("--image", help="write templates of this image, not metadata alone")
    parser.add_argument(
        "--output", type=Path, help=f"folder to write to (default: {METADATA}, or with --image specs)"
    )
    given = parser.parse_args(argv)
    folder: Path = given.output or Path("specs" if given.image else METADATA)
    folder.mkdir(parents=True, exist_ok=True)
    for template in templates():
        told = spec(template, given.image) if given.image else metadata(template)
        path = folder / f"{template.name}.json"
        path.write_text(json.dumps(told, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
