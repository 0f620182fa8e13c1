"""Read a source tree with `ast`: which modules there are and what each imports."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Import:
    line: int
    target: str  # dotted, absolute; may end in a name that is no module


@dataclass(frozen=True)
class Module:
    name: str
    path: Path
    tree: ast.Module

    def imports(self) -> Iterator[Import]:
        """All of them, those inside of functions and conditions too."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    yield Import(node.lineno, alias.name)
            elif isinstance(node, ast.ImportFrom):
                base = self._absolute(node)
                for alias in node.names:
                    yield Import(node.lineno, f"{base}.{alias.name}" if base else alias.name)

    def _absolute(self, node: ast.ImportFrom) -> str:
        if not node.level:
            return node.module or ""
        package = self.name.split(".")
        # One dot means the package itself, which is the name only in an __init__.py.
        drop = node.level - (self.path.name == "__init__.py")
        parts = package[: len(package) - drop] if drop else package
        return ".".join([*parts, node.module] if node.module else parts)


def modules(source_root: Path, *packages: str) -> list[Module]:
    """The modules of the packages below a source root; a package not written yet has none."""
    found = []
    for package in packages:
        for path in sorted((source_root / package).rglob("*.py")):
            parts = list(path.relative_to(source_root).with_suffix("").parts)
            if parts[-1] == "__init__":
                parts.pop()
            found.append(Module(".".join(parts), path, ast.parse(path.read_text("utf-8"))))
    return found


def plugin_packages(root: Path) -> list[str]:
    """Every folder of plugins/ is meant to be one; caches and the like are not."""
    folder = root / "plugins"
    if not folder.is_dir():
        return []
    names = {entry.name for entry in folder.iterdir() if entry.is_dir()} - {"__pycache__"}
    return sorted(name for name in names if name.isidentifier())


def all_modules(root: Path) -> list[Module]:
    engine = modules(root, "streamd")
    return engine + modules(root / "plugins", *plugin_packages(root))
