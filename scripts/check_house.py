#!/usr/bin/env python3
"""Checks the order of the source: `scripts/check_house.py [ROOT]`; exit code 1 if anything is out of order.

- No Rust file has more than 400 lines, and no function more than 70.
- No circle among the modules of a crate, nor among its folders, as `use` lines and paths outside of tests tell. A
  parent that re-exports the items of its children does not count.
"""
import os
import re
import sys

FILE_LINES_MAX = 400
FUNCTION_LINES_MAX = 70
SKIPPED = {"target", ".git", ".venv", ".libtorch"}
FUNCTION = re.compile(r'^( *)(?:pub(?:\([a-z]+\))? )?(?:const )?(?:async )?(?:unsafe )?(?:extern "C" )?fn (\w+)')


def rust_files(root):
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if name not in SKIPPED)
        yield from (os.path.join(folder, name) for name in sorted(files) if name.endswith(".rs"))


def too_long(path):
    """Lines on what is too long in a file."""
    with open(path, encoding="utf-8") as file:
        lines = file.read().splitlines()
    if len(lines) > FILE_LINES_MAX:
        yield f"{path}: {len(lines)} lines"
    for start, line in enumerate(lines):
        found = FUNCTION.match(line)
        if not found or line.rstrip().endswith(("}", ";")):
            continue
        closing = found.group(1) + "}"
        end = next((n for n in range(start, len(lines)) if lines[n] == closing), start)
        if end - start + 1 > FUNCTION_LINES_MAX:
            yield f"{path}: fn {found.group(2)} has {end - start + 1} lines"


def split_tree(tree, prefix=""):
    """The paths of a use tree: `a::{b, c::d}` is `a::b` and `a::c::d`."""
    depth, parts, current = 0, [], ""
    for char in tree:
        depth += (char == "{") - (char == "}")
        if char == "," and depth == 0:
            parts.append(current)
            current = ""
        else:
            current += char
    for part in (part.strip() for part in parts + [current]):
        nested = re.match(r"^([^{]*)\{(.*)\}$", part, re.S)
        if nested:
            yield from split_tree(nested.group(2), prefix + nested.group(1))
        elif part:
            yield (prefix + part).split(" as ")[0].strip()


class Crate:
    """The modules of a crate, and which uses which."""

    def __init__(self, source):
        self.text = {}
        for path in rust_files(source):
            parts = os.path.relpath(path, source)[: -len(".rs")].split(os.sep)
            if "tests" in parts:
                continue
            if parts[-1] in ("mod", "lib", "main"):
                parts.pop()
            with open(path, encoding="utf-8") as file:
                text = file.read().split("#[cfg(test)]")[0]
            self.text["::".join(parts)] = re.sub(r"//.*", "", text)
        self.uses = {module: self.used_by(module) for module in self.text if module}

    def module_of(self, parts):
        """The deepest module on a path."""
        for length in range(len(parts), 0, -1):
            if "::".join(parts[:length]) in self.text:
                return "::".join(parts[:length])
        return None

    def resolve(self, module, path):
        """The module that defines what a path names, or `None` if it is another crate's."""
        here, parts = module.split("::"), [part.strip() for part in path.split("::")]
        if parts[0] == "crate":
            base, parts = [], parts[1:]
        elif parts[0] == "super":
            base = here
            while parts and parts[0] == "super":
                base, parts = base[:-1], parts[1:]
        elif parts[0] == "self":
            base, parts = here, parts[1:]
        elif "::".join(here + parts[:1]) in self.text:
            base = here
        else:
            return None
        parts = base + parts
        found = self.module_of(parts) or ""
        item = parts[len(found.split("::")) if found else 0 :][:1]
        return (item and self.reexported(found, item[0])) or found

    def reexported(self, parent, item):
        """The module from which a parent re-exports an item."""
        for tree in re.findall(r"pub(?:\(\w+\))? use\s+(.*?);", self.text.get(parent, ""), re.S):
            for path in split_tree(tree):
                parts = path.split("::")
                if parts[-1] == item:
                    parts = [part for part in parts if part not in ("crate", "self")]
                    return self.module_of((parent.split("::") if parent else []) + parts)
        return None

    def used_by(self, module):
        # Re-exports of a child's items.
        text = re.sub(r"pub(?:\(\w+\))? use\s+(?!crate|super).*?;", "", self.text[module], flags=re.S)
        paths = [path for tree in re.findall(r"\buse\s+(.*?);", text, re.S) for path in split_tree(tree)]
        paths += re.findall(r"\b((?:crate|super)(?:::\w+)+)", re.sub(r"\buse\s+.*?;", "", text, flags=re.S))
        return {self.resolve(module, path) for path in paths} - {module, None, ""}

    def folder_uses(self):
        """Which folder or file at the top of the crate uses which."""
        uses = {}
        for module, used in self.uses.items():
            top = module.split("::")[0]
            uses.setdefault(top, set()).update({other.split("::")[0] for other in used} - {top})
        return uses

    def circles(self):
        """Sets of modules, and of folders, that use each other."""
        modules = strongly_connected(self.uses)
        return modules or strongly_connected(self.folder_uses())


def strongly_connected(uses):
    """Sets of nodes that use each other, directly or through others (Tarjan's algorithm)."""
    number, low, stack, found = {}, {}, [], []

    def visit(module):
        number[module] = low[module] = len(number)
        stack.append(module)
        for other in uses[module]:
            if other not in number:
                visit(other)
            if other in stack:
                low[module] = min(low[module], low[other])
        if low[module] == number[module]:
            place = stack.index(module)
            found.append(sorted(stack[place:]))
            del stack[place:]

    for module in uses:
        if module not in number:
            visit(module)
    return [circle for circle in found if len(circle) > 1]


def main(root):
    faults = [fault for path in rust_files(root) for fault in too_long(path)]
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in folders if name not in SKIPPED]
        if "Cargo.toml" in files and os.path.isdir(os.path.join(folder, "src")):
            for circle in Crate(os.path.join(folder, "src")).circles():
                faults.append(f"{folder}: these modules use each other: {', '.join(circle)}")
    print("\n".join(faults) or "no file or function is too long, and no modules use each other in a circle")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else "."))
