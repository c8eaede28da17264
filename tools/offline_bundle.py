"""Make and check a bundle for a machine without network: wheels, base model, list of data sets.

    python tools/offline_bundle.py BUNDLE --wheels WHEELS --model MODEL [--data FILE ...]
    python tools/offline_bundle.py BUNDLE --check [--data FILE ...]

WHEELS is a folder that holds fedethics and everything it needs, made on a connected machine of the
same kind with `pip wheel --wheel-dir WHEELS -c constraints.txt .`. The bundle holds copies of the
wheels and of the model, `requirements.txt` with each wheel's version and hash, and `manifest.json`
with the SHA-256 of every file. Data sets are listed by name, size and SHA-256 and never copied:
they get to each machine on their own way.

`--check` needs nothing but Python and this file. It refuses whatever is missing, changed or not in
the manifest: files, folders, links, files with several names, pipes, devices, and two names that
are one on systems that ignore case. It prints the manifest's own SHA-256, to be compared with the
sender over another channel: whoever can change the bundle can change its manifest too. Then
`pip install --no-index --find-links BUNDLE/wheels --require-hashes -r BUNDLE/requirements.txt`
has pip hold each wheel to its hash once more, as it installs it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import stat
import sys
import unicodedata
from collections.abc import Iterable
from pathlib import Path

MANIFEST = "manifest.json"
REQUIREMENTS = "requirements.txt"
FORMAT = 2
_MANIFEST_LIMIT = 4 * 1024 * 1024
_MOST_FILES = 10_000
_WHEEL = re.compile(
    r"([A-Za-z0-9_.]+)-([A-Za-z0-9_.!+]+)(-[0-9][A-Za-z0-9_.]*)?(-[A-Za-z0-9_.]+){3}\.whl"
)
_PART = re.compile(r"[A-Za-z0-9_+!=,@()\[\] -][A-Za-z0-9_.+!=,@()\[\] -]*")
# What the executor was written for; a bundle with another one would be refused at the site.
NEEDED = (("fedethics-",), ("flwr-1.41.", "flwr-1.42."))


class BundleError(Exception):
    """The bundle cannot be made, or is not what its manifest says."""


def sha256(path: Path, *, links: bool = True) -> str:
    """Return the SHA-256 of a plain file as 64 hex digits; nothing else is opened."""
    _require_plain(path, links=links)
    # A pipe that was put there since it was looked at is not waited for.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise BundleError(f"{path}: not a plain file")
        return hashlib.file_digest(file, "sha256").hexdigest()


def make(bundle: Path, *, wheels: Path, model: Path, data: Iterable[Path] = ()) -> str:
    """Write a new bundle and return the SHA-256 of its manifest.

    Raises:
        BundleError: the folder exists, a part is missing, or the wheels lack fedethics or flwr.
    """
    if os.path.lexists(bundle):
        raise BundleError(f"{bundle} exists already; nothing was overwritten")
    found, listed = sorted(wheels.glob("*.whl")), list(data)
    _require_parts(wheels, found, model, listed)
    (bundle / "wheels").mkdir(parents=True)
    for wheel in found:
        shutil.copyfile(wheel, bundle / "wheels" / wheel.name)
    shutil.copytree(model, bundle / "model", symlinks=False)
    pinned = "".join(_requirement(wheel) for wheel in sorted((bundle / "wheels").iterdir()))
    (bundle / REQUIREMENTS).write_text(pinned, encoding="utf-8")
    manifest = {
        "format": FORMAT,
        "files": {name: _entry(bundle / name) for name in _names(bundle)},
        "data": {path.name: _data_entry(path) for path in listed},
    }
    text = json.dumps(manifest, indent=2, sort_keys=True) + "\n"
    (bundle / MANIFEST).write_text(text, encoding="utf-8")
    return sha256(bundle / MANIFEST)


def _require_parts(wheels: Path, found: list[Path], model: Path, listed: Iterable[Path]) -> None:
    for needed in NEEDED:
        if not any(wheel.name.startswith(needed) for wheel in found):
            names = " or ".join(f"{one}*" for one in needed)
            raise BundleError(f"{wheels} has no wheel {names}; nothing was written")
    if not (model / "config.json").is_file() and not list(model.glob("*.gguf")):
        raise BundleError(f"{model} holds no base model; nothing was written")
    unnamed = [wheel.name for wheel in found if not _WHEEL.fullmatch(wheel.name)]
    if unnamed:
        raise BundleError(f"{wheels} holds {unnamed[0]!r}, no name of a wheel; nothing was written")
    # A link would copy what lies elsewhere on this machine into the bundle.
    for part in (*found, model, *model.rglob("*")):
        if not part.is_dir() or part.is_symlink():
            _require_plain(part, links=False)
    for path in listed:
        if not path.is_file():
            raise BundleError(f"{path} is no file; nothing was written")


def check(bundle: Path, *, data: Iterable[Path] = ()) -> str:
    """Verify a bundle, and each data file given, and return the SHA-256 of its manifest.

    Raises:
        BundleError: naming every file that is missing, changed, or in no list.
    """
    manifest = _manifest(bundle)
    files = manifest["files"]
    present = set(_names(bundle)) - {MANIFEST}
    wrong = [f"{name}: missing" for name in sorted(set(files) - present)]
    wrong += [f"{_shown(name)}: not in the manifest" for name in sorted(present - set(files))]
    wrong += [
        f"{name}: changed"
        for name in sorted(present & set(files))
        if _entry(bundle / name) != files[name]
    ]
    if not wrong:
        wrong += _unpinned(bundle, files)
    listed = manifest["data"]
    for path in data:
        if path.name not in listed:
            wrong.append(f"{path.name}: not in the list of data sets")
        elif _data_entry(path) != listed[path.name]:
            wrong.append(f"{path.name}: not the data set that was listed")
    if wrong:
        raise BundleError("\n".join(wrong))
    return sha256(bundle / MANIFEST)


def _manifest(bundle: Path) -> dict[str, dict[str, dict[str, object]]]:
    """Return the manifest, every part of it checked: it may come from anybody."""
    path = bundle / MANIFEST
    try:
        _require_plain(path)
        if path.stat().st_size > _MANIFEST_LIMIT:
            raise BundleError(f"{path} has more than {_MANIFEST_LIMIT:,} bytes")
        found = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_once)
    except (OSError, ValueError, RecursionError) as error:
        raise BundleError(f"{path} cannot be read: {error}") from error
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise BundleError(f"{path} is not of format {FORMAT}")
    if set(found) != {"format", "files", "data"}:
        raise BundleError(f"{path} has other parts than format, files and data")
    for part in ("files", "data"):
        listed = found[part]
        if not isinstance(listed, dict) or not all(map(_is_entry, listed.values())):
            raise BundleError(f"{path}: {part} is no list of sizes and hashes")
        for name in listed:
            _require_inside(name)
        _require_distinct(listed)
    return found


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    if len(dict(pairs)) != len(pairs):
        raise ValueError("a name is listed twice")
    return dict(pairs)


def _is_entry(entry: object) -> bool:
    return (
        isinstance(entry, dict)
        and set(entry) == {"bytes", "sha256"}
        and type(entry["bytes"]) is int
        and isinstance(entry["sha256"], str)
        and re.fullmatch("[0-9a-f]{64}", entry["sha256"]) is not None
    )


def _require_inside(name: str) -> None:
    """Refuse a name that leads out of the bundle, on any system, or that is none."""
    if not all(_PART.fullmatch(part) for part in name.split("/")) or len(name) > 400:
        raise BundleError(f"{_shown(name)}: no name of a file in a bundle")


def _require_distinct(names: Iterable[str]) -> None:
    """Refuse two names that are one file where case or the form of a letter does not count."""
    seen: dict[str, str] = {}
    for name in names:
        other = seen.setdefault(unicodedata.normalize("NFKC", name).casefold(), name)
        if other != name:
            raise BundleError(f"{_shown(name)} and {_shown(other)}: one name on some systems")


def _names(bundle: Path) -> list[str]:
    """Return every file under the bundle by its relative path: plain files, and nothing else.

    Raises:
        BundleError: a link, a pipe, a device, an empty folder, or more files than any bundle has.
    """
    names: list[str] = []
    for folder, folders, files in os.walk(bundle, onerror=_unlistable):
        here = Path(folder)
        if not folders and not files:
            raise BundleError(f"{_shown(folder)}: an empty folder")
        for name in (*folders, *files):
            path = here / name
            if path.is_symlink():
                raise BundleError(f"{_shown(str(path))}: a link, which may point anywhere")
            if name in files:
                _require_plain(path)
                names.append(path.relative_to(bundle).as_posix())
        if len(names) > _MOST_FILES:
            raise BundleError(f"{bundle} holds more than {_MOST_FILES} files")
    _require_distinct(names)
    return sorted(names)


def _unlistable(error: OSError) -> None:
    raise BundleError(f"{error.filename} cannot be listed: {error.strerror}")


def _require_plain(path: Path, *, links: bool = True) -> None:
    """Refuse what is no plain file, and one that can be changed by another name of it."""
    try:
        found = path.lstat()
    except OSError as error:
        raise BundleError(f"{_shown(str(path))} cannot be read: {error.strerror}") from error
    if stat.S_ISLNK(found.st_mode):
        raise BundleError(f"{_shown(str(path))}: a link, which may point anywhere")
    if not stat.S_ISREG(found.st_mode):
        raise BundleError(f"{_shown(str(path))}: not a plain file")
    if links and found.st_nlink > 1:
        raise BundleError(f"{_shown(str(path))}: has {found.st_nlink} names (hard links)")


def _requirement(wheel: Path) -> str:
    named = _WHEEL.fullmatch(wheel.name)
    if named is None:
        raise BundleError(f"{_shown(wheel.name)}: no name of a wheel")
    return f"{named[1].replace('_', '-')}=={named[2]} --hash=sha256:{sha256(wheel)}\n"


def _unpinned(bundle: Path, files: Iterable[str]) -> list[str]:
    """Return what is wrong with the list that pip reads: each wheel, and nothing else."""
    wheels = [bundle / name for name in sorted(files) if name.startswith("wheels/")]
    pinned = "".join(map(_requirement, wheels))
    if (bundle / REQUIREMENTS).read_text(encoding="utf-8") != pinned:
        return [f"{REQUIREMENTS}: does not name just these wheels with their hashes"]
    return []


def _shown(name: str) -> str:
    return name if name.isascii() and name.isprintable() else ascii(name)


def _data_entry(path: Path) -> dict[str, object]:
    """Return size and hash of a data set, whose path a person gave."""
    found = path.resolve()
    return {"bytes": found.stat().st_size, "sha256": sha256(found, links=False)}


def _entry(path: Path) -> dict[str, object]:
    digest = sha256(path)
    return {"bytes": path.stat().st_size, "sha256": digest}


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
