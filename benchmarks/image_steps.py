"""Go through an image's install steps in a fresh virtual environment: do they resolve, and does what they make start?

    python benchmarks/image_steps.py operators/Dockerfile
    python benchmarks/image_steps.py platform/Dockerfile --set TORCH=torch==2.13.0+cpu \\
        --set TORCH_INDEX=https://download.pytorch.org/whl/cpu

No Docker is needed, and none of its isolation is had: the same pip commands, in the order of the Dockerfile, on a copy
of what it copies. Printed: seconds and size. Fails (exit 1) when a step fails, when `pip check` does, when a version is
not the one of constraints.txt, or when the image's entry point does not answer to --help.
"""

from __future__ import annotations

import argparse
import json
import shutil
import string
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from support.dockerfiles import arguments, install_steps, stages  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dockerfile", type=Path)
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a build argument")
    given = parser.parse_args()
    text = given.dockerfile.read_text()
    build = {**arguments(text), **dict(one.split("=", 1) for one in given.set)}
    with tempfile.TemporaryDirectory(prefix="image-") as folder:
        source, venv = Path(folder) / "src", Path(folder) / "venv"
        copy_context(text, source)
        began = time.monotonic()
        run([sys.executable, "-m", "venv", str(venv)], source)
        for step in install_steps(given.dockerfile):
            words = [string.Template(word).substitute(build) for word in step]
            run([str(venv / "bin/pip"), "install", "--quiet", "--disable-pip-version-check", *words], source)
        seconds = time.monotonic() - began
        run([str(venv / "bin/pip"), "check"], source)
        (entry,) = json.loads(stages(text)[-1].of("ENTRYPOINT")[0])
        run([str(venv / "bin" / entry), "--help"], source)
        compare(venv)
        size = sum(file.stat().st_size for file in venv.rglob("*") if file.is_file() and not file.is_symlink())
        print(f"{given.dockerfile}: installed in {seconds:.0f} s, {size / 2**20:.0f} MiB, {entry} answers")


def copy_context(text: str, target: Path) -> None:
    """What the Dockerfile copies from the repository."""
    target.mkdir()
    for stage in stages(text):
        for copied in stage.of("COPY"):
            for name in () if copied.startswith("--from") else copied.split()[:-1]:
                place = ROOT / name
                if place.is_dir():
                    shutil.copytree(place, target / name, ignore=shutil.ignore_patterns("__pycache__"))
                else:
                    shutil.copy(place, target / name)


def run(command: list[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)}: exit code {done.returncode}\n{done.stdout[-3000:]}{done.stderr[-3000:]}")


def compare(venv: Path) -> None:
    """Every installed version is the pinned one; a local part of it (+cpu) is another build of the same."""
    listed = subprocess.run(
        [str(venv / "bin/pip"), "list", "--format=json"], capture_output=True, text=True, check=True
    ).stdout
    pins = dict(
        line.lower().replace("_", "-").split("==")
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if "==" in line
    )
    for package in json.loads(listed):
        name = package["name"].lower().replace("_", "-").replace(".", "-")
        pinned = {key.replace(".", "-"): value for key, value in pins.items()}.get(name)
        if name not in ("modelyard", "pip", "setuptools") and pinned != package["version"].split("+")[0]:
            sys.exit(f"{package['name']} is {package['version']}, constraints.txt says {pinned}")


if __name__ == "__main__":
    main()
