"""A contract for import-linter: these modules may import those of our own modules, and no others.

The contracts that import-linter brings say what is forbidden, so a new package is allowed everything until somebody
remembers it. This one says what is allowed. Packages that are not ours are left to the `forbidden` contracts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from grimp import ImportGraph
from importlinter import Contract, ContractCheck, fields, output

__all__ = ["Only", "names"]


def _is_within(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


class Only(Contract):
    """`modules` and all below them import, of the root package, nothing but `may_import` and all below those.

    Names that do not exist are allowed on both sides: the rule for a package may be there before the package is.
    """

    type_name: ClassVar[str] = "only"

    modules = fields.ListField(subfield=fields.StringField())
    may_import = fields.ListField(subfield=fields.StringField())

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:
        allowed = names(self.may_import)
        refused = [
            (importer, imported)
            for importer in sorted(self._sources(graph))
            for imported in sorted(graph.find_modules_directly_imported_by(importer))
            if self._is_ours(imported) and not any(_is_within(imported, package) for package in allowed)
        ]
        return ContractCheck(kept=not refused, metadata={"refused": refused, "lines": _lines(graph, refused)})

    def render_broken_contract(self, check: ContractCheck) -> None:
        for (importer, imported), line in zip(check.metadata["refused"], check.metadata["lines"], strict=True):
            output.print_error(f"{importer} may not import {imported} (line {line})", bold=False)
        output.new_line()

    def _sources(self, graph: ImportGraph) -> set[str]:
        packages = names(self.modules)
        return {module for module in graph.modules if any(_is_within(module, package) for package in packages)}

    def _is_ours(self, module: str) -> bool:
        return any(_is_within(module, root) for root in self.session_options["root_packages"])


def names(field: Any) -> Sequence[str]:
    """import-linter puts the parsed values where the class has the field; its types do not know that."""
    names: Sequence[str] = field
    return names


def _lines(graph: ImportGraph, refused: Sequence[tuple[str, str]]) -> list[int]:
    return [
        graph.get_import_details(importer=importer, imported=imported)[0]["line_number"]
        for importer, imported in refused
    ]
