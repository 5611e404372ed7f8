"""Deterministic newc cpio archives: the boot archive and webd's content.

Sorted names, no times, no owners: the same files give the same bytes.
"""

import os
import xml.etree.ElementTree as ElementTree

import linux
import newc as cpio

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


class DefinitionError(Exception):
    """What a person has to mend in a definitions folder or on the command line."""


ALIGNED_BYTES = 65536  # files of so many bytes begin on a page, so that a VMM may be given their pages


def newc(files):
    """The archive, as bytes, of `files`: a dict of name to contents."""
    out = cpio.pack([(name, linux.FILE, files[name]) for name in sorted(files)], ALIGNED_BYTES)
    return out + b"\0" * (-len(out) % 512)


def read_tree(folder):
    """All files below `folder`, by their path relative to it; dot files are left out."""
    files = {}
    for where, folders, names in os.walk(folder):
        folders[:] = sorted(f for f in folders if not f.startswith("."))
        for name in names:
            if not name.startswith("."):
                path = os.path.join(where, name)
                with open(path, "rb") as handle:
                    files[os.path.relpath(path, folder)] = handle.read()
    return files


def named_files(definition):
    """The boot files that a definition names. One that is not well-formed names none: mgmt says
    what is wrong with it, and the other guests start."""
    try:
        root = ElementTree.fromstring(definition)
    except ElementTree.ParseError:
        return []
    names = [element.text for tag in ("kernel", "initrd") for element in root.iter(tag)]
    if (root.findtext("./os/type") or "").strip() == "hvm":
        names.append("vmm.bin")
    volumes = [element.get("volume", "") for element in root.iter("source")]
    names += [volume[len("archive:"):] for volume in volumes if volume.startswith("archive:")]
    return [name.strip() for name in names if name and name.strip()]


def examples(build):
    """The example guests that were built, by file name."""
    found = {}
    for where, _, names in os.walk(os.path.join(build, "guestlib", "examples")):
        for name in names:
            if name.endswith(".bin"):
                found[name] = os.path.join(where, name)
    return found


def shipped(build, wanted):
    """The files of these names that are there without being brought: built programs, Linux."""
    programs = {**examples(build), "vmm.bin": os.path.join(build, "mgmt", "vmm", "vmm.bin")}
    files = {}
    for name in programs.keys() & wanted:
        with open(programs[name], "rb") as program:
            files[name] = program.read()
    return {**files, **linux.shipped(ROOT, wanted)}


def check_guests(folder):
    """The definitions in `folder`, or a DefinitionError that says what is wrong with it."""
    if not os.path.isdir(folder):
        raise DefinitionError(f"{folder}: no such folder; --guests wants a folder of *.xml definitions")
    names = sorted(name for name in os.listdir(folder) if name.endswith(".xml"))
    if not names:
        raise DefinitionError(f"{folder}: no *.xml definition in it")
    return names


def boot_files(build, guests, extra=None):
    """What goes into the boot archive: mgmt, the files in `guests`, and what its definitions name and
    `guests` does not bring itself. `extra` overrides and adds."""
    files = {**(read_tree(guests) if guests else {}), **(extra or {})}
    wanted = set()
    for name in check_guests(guests) if guests else ():
        wanted.update(named_files(files[name]))
    files = {**shipped(build, wanted - files.keys()), **files}
    with open(os.path.join(build, "mgmt", "mgmt.bin"), "rb") as handle:
        files.setdefault("mgmt.bin", handle.read())
    return files


def boot_archive(build, guests, extra=None):
    return newc(boot_files(build, guests, extra))
