"""Who may import whom, as setup.cfg says it for import-linter; and the rules themselves can fail."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Final

import grimp
import pytest
from importlinter import Contract, api
from importlinter.contracts.forbidden import ForbiddenContract

from tests.support.import_rules import Only, names

SETUP_CFG: Final = Path(__file__).parent.parent / "setup.cfg"
KINDS: Final[dict[str, type[Contract]]] = {"only": Only, "forbidden": ForbiddenContract}
FREE: Final = frozenset({"hubbub.clustering", "hubbub.app", "hubbub.process"})
"""The composition root: what nobody restricts, and nobody but the command line imports."""
CHOOSERS: Final = FREE | {"hubbub.transfer.audit", "hubbub.transfer.restored", "hubbub.transfer.stores"}
"""Who knows adapters by name: the application, and what chooses them to work on a whole history."""
CONTRACTS: Final = frozenset(
    {
        "hubbub.history.base",
        "hubbub.history.archive",
        "hubbub.history.cursors",
        "hubbub.cluster.base",
        "hubbub.cluster.bus",
    }
)
ADAPTER_PACKAGES: Final = ("hubbub.history", "hubbub.cluster")


def read_rules() -> dict[str, Contract]:
    configuration = api.read_configuration(str(SETUP_CFG))
    session = configuration["session_options"]
    return {
        options["id"]: KINDS[options["type"]](options["name"], session, options)
        for options in configuration["contracts_options"]
    }


RULES: Final = read_rules()


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    return grimp.build_graph("hubbub", include_external_packages=True, cache_dir=None)


def violations(graph: grimp.ImportGraph) -> dict[str, object]:
    """What each broken rule complains of, by the rule's name."""
    checks = {name: rule.check(deepcopy(graph), verbose=False) for name, rule in RULES.items()}
    return {name: check.metadata for name, check in checks.items() if not check.kept}


def with_import(graph: grimp.ImportGraph, importer: str, imported: str) -> grimp.ImportGraph:
    changed = deepcopy(graph)
    ours = imported.split(".")[0] == "hubbub"
    for module, squashed in ((importer, False), (imported, not ours)):
        if module not in changed.modules:
            changed.add_module(module, is_squashed=squashed)
    changed.add_import(importer=importer, imported=imported, line_number=1, line_contents="import")
    return changed


class TestRules:
    """The rules in setup.cfg hold for the service as it is."""

    @pytest.mark.parametrize("rule", sorted(RULES))
    def test_a_rule_is_kept(self, rule: str, graph: grimp.ImportGraph) -> None:
        check = RULES[rule].check(deepcopy(graph), verbose=False)
        assert check.kept, f"{RULES[rule].name}: {check.metadata}"

    def test_every_package_has_a_rule(self, graph: grimp.ImportGraph) -> None:
        ruled = {name for rule in RULES.values() if isinstance(rule, Only) for name in names(rule.modules)}
        assert graph.find_children("hubbub") - ruled - FREE == set()

    def test_only_the_application_imports_concrete_adapters(self, graph: grimp.ImportGraph) -> None:
        importers = {
            importer
            for package in ADAPTER_PACKAGES
            if package in graph.modules
            for module in graph.find_descendants(package) - CONTRACTS
            for importer in graph.find_modules_that_directly_import(module)
            if not importer.startswith(package)
        }
        assert importers <= CHOOSERS


class TestRulesCanFail:
    """An import that the design forbids breaks a rule."""

    @pytest.mark.parametrize(
        ("importer", "imported"),
        [
            ("hubbub.transport.base", "hubbub.events"),
            ("hubbub.transport.base", "hubbub.domain.identity"),
            ("hubbub.transport.base", "hubbub.history.base"),
            ("hubbub.domain.identity", "hubbub.transport.base"),
            ("hubbub.domain.identity", "hubbub.pipeline.base"),
            ("hubbub.domain.identity", "hubbub.history.writer"),
            ("hubbub.domain.identity", "hubbub.history.sqlite"),
            ("hubbub.domain.identity", "aiohttp"),
            ("hubbub.domain.identity", "socketio"),
            ("hubbub.domain.identity", "redis"),
            ("hubbub.domain.identity", "pymongo"),
            ("hubbub.history.base", "hubbub.domain.identity"),
            ("hubbub.history.base", "hubbub.history.sqlite"),
            ("hubbub.history.sqlite", "hubbub.domain.identity"),
            ("hubbub.history.sqlite", "hubbub.settings"),
            ("hubbub.cluster.memory", "hubbub.history.base"),
            ("hubbub.pipeline.base", "hubbub.domain.rooms"),
            ("hubbub.pipeline.base", "hubbub.history.base"),
            ("hubbub.namespaces.chat", "hubbub.history.sqlite"),
            ("hubbub.namespaces.chat", "hubbub.http.routes"),
            ("hubbub.http.routes", "hubbub.namespaces.chat"),
            ("hubbub.http.routes", "hubbub.app"),
            ("hubbub.cli.serve", "hubbub.history.sqlite"),
            ("hubbub.cli.serve", "hubbub.app"),
            ("hubbub.errors", "hubbub.domain.identity"),
        ],
    )
    def test_a_forbidden_import_breaks_a_rule(self, importer: str, imported: str, graph: grimp.ImportGraph) -> None:
        assert violations(with_import(graph, importer, imported)) != violations(graph)

    def test_a_database_behind_a_leaf_is_found_too(self, graph: grimp.ImportGraph) -> None:
        hidden = with_import(graph, "hubbub.telemetry", "redis")
        assert "pure" in violations(with_import(hidden, "hubbub.domain.identity", "hubbub.telemetry"))
