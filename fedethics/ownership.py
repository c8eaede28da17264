"""Who else could change a file that a decision rests on: the rule of sshd's StrictModes.

A file is safe when it is a regular file of this account or root that nobody else may write, and
when the same holds for every folder on the way to it from the root: an account that may write in
one of those can put another file in its place. Three cases of their own:

- a folder with the sticky bit (/tmp) may be writable by all: there nobody can remove or rename what
  belongs to somebody else, and what lies in it on the way must belong to this account or root;
- a folder on the way may be writable by the private group of an ordinary account: a group of its
  own name with nobody else in it, as many systems give to each account;
- a symbolic link on the way is followed, and what it leads through is held to the same rule; in the
  place of the file itself no link is taken.

A secret file may not be read by anybody else either. On systems without owners of files (Windows)
nothing can be said, and a site does not run there. Source: sshd_config(5), StrictModes; OpenSSH,
auth_secure_path().
"""

from __future__ import annotations

import errno
import os
import shlex
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = 0
_MOST_LINKS = 40
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
_OTHERS_ANY = stat.S_IRWXG | stat.S_IRWXO


@dataclass(frozen=True, slots=True)
class Fault:
    """One reason why somebody else could change a file, or read a secret one.

    Attributes:
        path: the file, folder or link that must be mended.
        found: what is wrong with it, without its path.
        fix: the command that mends it.
    """

    path: Path
    found: str
    fix: str

    def __str__(self) -> str:
        """Return it as one sentence with what to do."""
        return f"{self.path} {self.found}. Run: {self.fix}"


def faults(path: Path, *, secret: bool = False) -> tuple[Fault, ...]:
    """Return why `path` is not safe from other accounts; nothing where it is.

    Args:
        path: a file; one that is not there has no fault, but the folders on the way to it may.
        secret: whether others may not read it either.
    """
    return of_all([(path, secret)])


def of_all(files: Iterable[tuple[Path, bool]]) -> tuple[Fault, ...]:
    """Return the faults of several files, each (path, secret), and of what they share once.

    Each folder on the way is looked at once for all files in it: a site asks this of some thirty
    files of its home before it answers a message.
    """
    if not knows_owners():
        return ()
    found: dict[tuple[Path, str], Fault] = {}
    walked: dict[Path, _Way] = {}
    for path, secret in files:
        whole = Path(os.path.join(os.getcwd(), path))
        way = walked.get(whole.parent)
        if way is None:
            way = walked[whole.parent] = _way(whole.parent)
        for fault in (*way.faults, *_of_last(way.end, whole.name, secret)):
            found.setdefault((fault.path, fault.found), fault)
    return tuple(found.values())


def require_safe(
    path: Path,
    error: Callable[[str], Exception],
    *,
    what: str,
    could: str,
    secret: bool = False,
) -> None:
    """Refuse `path` where somebody else could change it, or read it if it is secret.

    Args:
        path: a file.
        error: makes the exception from the whole message.
        what: what the file is, for the message.
        could: what others could do then, for the message.
        secret: whether others may not read it either.
    """
    found = faults(path, secret=secret)
    if found:
        listed = "\n".join(f"  - {fault}" for fault in found)
        raise error(
            f"{what} {path} is not safe: others than its owner could {could}. Nothing was done:"
            f"\n{listed}"
        )


def cannot_read(path: Path, error: OSError) -> str:
    """Return why `path` could not be read, and as whom to run where this account may not."""
    why = f"{path} cannot be read: {error.strerror}"
    if error.errno not in (errno.EACCES, errno.EPERM):
        return why
    owner = _owner_on_the_way(path)
    if owner is None or owner == _me():
        return why
    return f"{why}. It belongs to {_named(owner)}; run this as that account: {_as(owner)}"


def knows_owners() -> bool:
    """Say whether files have owners on this system."""
    return hasattr(os, "geteuid")


@dataclass(frozen=True, slots=True)
class _Way:
    """What was seen from the root to a folder.

    Attributes:
        faults: of each folder and link on it.
        owner: user id of the last of these.
        end: the folder that it leads to, without links; None where it ends before.
    """

    faults: tuple[Fault, ...]
    owner: int
    end: Path | None


def _way(folder: Path) -> _Way:
    """Look at each folder and link from the root to `folder`, an absolute path."""
    left = list(reversed(folder.parts[1:]))
    here, links = Path("/"), 0
    status = here.lstat()
    found, owner = [_of_folder(here, status)], status.st_uid
    end: Path | None = None
    while left:
        part = left.pop()
        if part == "..":
            here = here.parent
            continue
        there = here / part
        try:
            status = there.lstat()
        except OSError:  # not there, or not to be entered: whoever opens it says so
            break
        if stat.S_ISLNK(status.st_mode):
            links += 1
            if links > _MOST_LINKS:
                break
            named = Path(os.readlink(there))
            here = Path("/") if named.is_absolute() else here
            left.extend(reversed([each for each in named.parts if each != "/"]))
        else:
            here = there
        found.append(_of_folder(there, status))
        owner = status.st_uid
    else:
        end = here
    return _Way(tuple(fault for fault in found if fault is not None), owner, end)


def _of_last(folder: Path | None, name: str, secret: bool) -> Iterator[Fault]:
    """Yield the fault of what has `name` in a folder, as far as it is seen."""
    if folder is None or name in ("", ".."):
        return
    path = folder / name
    try:
        status = path.lstat()
    except OSError:  # as above
        return
    fault = _of_file(path, status, secret)
    if fault is not None:
        yield fault


def _of_file(path: Path, status: os.stat_result, secret: bool) -> Fault | None:
    mode, quoted = stat.S_IMODE(status.st_mode), shlex.quote(str(path))
    if stat.S_ISDIR(status.st_mode):
        return _of_folder(path, status)
    if stat.S_ISLNK(status.st_mode):
        named = shlex.quote(str(path.parent / os.readlink(path)))
        return Fault(
            path,
            "is a symbolic link, whose target can change",
            f"cp --remove-destination {named} {quoted}",
        )
    if not stat.S_ISREG(status.st_mode):
        return Fault(path, "is not a regular file", f"ls -l {quoted}")
    if status.st_uid not in (_me(), ROOT):
        return _foreign(path, status.st_uid)
    if secret and mode & _OTHERS_ANY:
        return Fault(path, f"has mode {mode:04o}, so others may read it", f"chmod 600 {quoted}")
    if mode & _OTHERS_WRITE:
        return Fault(path, f"has mode {mode:04o}, so others may write it", f"chmod go-w {quoted}")
    return None


def _of_folder(path: Path, status: os.stat_result) -> Fault | None:
    if status.st_uid not in (_me(), ROOT):
        return _foreign(path, status.st_uid)
    mode = stat.S_IMODE(status.st_mode)
    if stat.S_ISLNK(status.st_mode) or mode & stat.S_ISVTX or not mode & _OTHERS_WRITE:
        return None
    if not mode & stat.S_IWOTH and _is_private_group(status.st_gid, status.st_uid):
        return None
    return Fault(
        path,
        f"has mode {mode:04o}, so others may put another file in its place",
        f"chmod go-w {shlex.quote(str(path))}",
    )


def _foreign(path: Path, owner: int) -> Fault:
    quoted = shlex.quote(str(path))
    if _me() == ROOT:
        return Fault(
            path,
            f"belongs to {_named(owner)}, and this runs as root",
            f"{_as(owner)}, or: chown root {quoted}",
        )
    return Fault(
        path,
        f"belongs to {_named(owner)}, who is neither this account nor root",
        f"sudo chown {_name(_me()) or _me()} {quoted}",
    )


def _is_private_group(group: int, owner: int) -> bool:
    """Say whether a group is an ordinary account's own, with nobody else in it."""
    if ROOT in (group, owner):
        return False
    try:
        import grp
        import pwd

        entry, account = grp.getgrgid(group), pwd.getpwuid(owner)
        others = [one.pw_name for one in pwd.getpwall() if one.pw_gid == group]
    except (ImportError, KeyError):
        return False
    return entry.gr_name == account.pw_name and {*entry.gr_mem, *others} <= {account.pw_name}


def _owner_on_the_way(path: Path) -> int | None:
    """Return the owner of the last thing on the way to `path` that can be looked at."""
    if not knows_owners():
        return None
    whole = Path(os.path.join(os.getcwd(), path))
    way = _way(whole.parent)
    if way.end is None:
        return way.owner
    try:
        return (way.end / whole.name).lstat().st_uid
    except OSError:
        return way.owner


def _me() -> int:
    return os.geteuid()


def _as(owner: int) -> str:
    """Return how to run a command as `owner`."""
    name = _name(owner)
    return f"sudo -u {shlex.quote(name)} COMMAND" if name else f"sudo -u '#{owner}' COMMAND"


def _named(owner: int) -> str:
    name = _name(owner)
    return f"{name} (uid {owner})" if name else f"uid {owner}"


def _name(owner: int) -> str:
    try:
        import pwd

        return pwd.getpwuid(owner).pw_name
    except (ImportError, KeyError):
        return ""
