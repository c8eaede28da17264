"""Make and check a bundle for a machine without network: wheels, base model, list of data sets.

    python tools/offline_bundle.py BUNDLE --wheels WHEELS --model MODEL [--data FILE ...]
    python tools/offline_bundle.py BUNDLE --check [--data FILE ...]

WHEELS is a folder that holds fedethics and everything it needs, made on a connected machine of the
same kind with `pip wheel --wheel-dir WHEELS -c constraints.txt .`. The bundle holds copies of the
wheels and of the model, and `manifest.json` with the SHA-256 of every file. Data sets are listed by
name, size and SHA-256 and never copied: they get to each machine on their own way.

`--check` needs nothing but Python and this file. It refuses a file that is missing, changed or not
in the manifest, and prints the manifest's own SHA-256, to be compared with the sender over another
channel: whoever can change the bundle can change its manifest too.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path

MANIFEST = "manifest.json"
FORMAT = 1
# What the executor was written for; a bundle with another one would be refused at the site.
NEEDED = ("fedethics-", "flwr-1.41.")


class BundleError(Exception):
    """The bundle cannot be made, or is not what its manifest says."""


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file as 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def make(bundle: Path, *, wheels: Path, model: Path, data: Iterable[Path] = ()) -> str:
    """Write a new bundle and return the SHA-256 of its manifest.

    Raises:
        BundleError: the folder exists, a part is missing, or the wheels lack fedethics or flwr.
    """
    if bundle.exists():
        raise BundleError(f"{bundle} exists already; nothing was overwritten")
    found = sorted(wheels.glob("*.whl"))
    for needed in NEEDED:
        if not any(wheel.name.startswith(needed) for wheel in found):
            raise BundleError(f"{wheels} has no wheel {needed}*; nothing was written")
    if not (model / "config.json").is_file() and not list(model.glob("*.gguf")):
        raise BundleError(f"{model} holds no base model; nothing was written")
    listed = list(data)
    for path in listed:
        if not path.is_file():
            raise BundleError(f"{path} is no file; nothing was written")
    (bundle / "wheels").mkdir(parents=True)
    for wheel in found:
        shutil.copyfile(wheel, bundle / "wheels" / wheel.name)
    shutil.copytree(model, bundle / "model", symlinks=False)
    manifest = {
        "format": FORMAT,
        "files": {name: _entry(bundle / name) for name in _names(bundle)},
        "data": {path.name: _entry(path) for path in listed},
    }
    text = json.dumps(manifest, indent=2, sort_keys=True) + "\n"
    (bundle / MANIFEST).write_text(text, encoding="utf-8")
    return sha256(bundle / MANIFEST)


def check(bundle: Path, *, data: Iterable[Path] = ()) -> str:
    """Verify a bundle, and each data file given, and return the SHA-256 of its manifest.

    Raises:
        BundleError: naming every file that is missing, changed, or in no list.
    """
    manifest = _manifest(bundle)
    files: dict[str, dict[str, object]] = manifest["files"]
    present = set(_names(bundle)) - {MANIFEST}
    wrong = [f"{name}: missing" for name in sorted(set(files) - present)]
    wrong += [f"{name}: not in the manifest" for name in sorted(present - set(files))]
    wrong += [
        f"{name}: changed"
        for name in sorted(present & set(files))
        if _entry(bundle / name) != files[name]
    ]
    listed: dict[str, dict[str, object]] = manifest["data"]
    for path in data:
        if path.name not in listed:
            wrong.append(f"{path.name}: not in the list of data sets")
        elif _entry(path) != listed[path.name]:
            wrong.append(f"{path.name}: not the data set that was listed")
    if wrong:
        raise BundleError("\n".join(wrong))
    return sha256(bundle / MANIFEST)


def _manifest(bundle: Path) -> dict[str, dict[str, dict[str, object]]]:
    try:
        found = json.loads((bundle / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BundleError(f"{bundle / MANIFEST} cannot be read: {error}") from error
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise BundleError(f"{bundle / MANIFEST} is not of format {FORMAT}")
    return found


def _names(bundle: Path) -> list[str]:
    """Return every file under the bundle by its relative path; a link is refused."""
    names = []
    for path in sorted(bundle.rglob("*")):
        if path.is_symlink():
            raise BundleError(f"{path.relative_to(bundle)}: a link, which may point anywhere")
        if path.is_file():
            names.append(path.relative_to(bundle).as_posix())
    return names


def _entry(path: Path) -> dict[str, object]:
    return {"bytes": path.stat().st_size, "sha256": sha256(path)}


def main() -> int:
    """Run the command line; return its exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--wheels", type=Path)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--data", type=Path, nargs="*", default=[])
    options = parser.parse_args()
    if not options.check and not (options.wheels and options.model):
        parser.error("give --wheels and --model to make a bundle, or --check to verify one")
    try:
        if options.check:
            digest = check(options.bundle, data=options.data)
        else:
            digest = make(
                options.bundle, wheels=options.wheels, model=options.model, data=options.data
            )
    except (BundleError, OSError) as error:
        print(f"offline bundle: {error}", file=sys.stderr)
        return 6
    print(f"{'verified' if options.check else 'made'} {options.bundle}; manifest sha256 {digest}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
