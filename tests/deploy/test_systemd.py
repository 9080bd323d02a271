"""The units of systemd."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

from tests.support.deployed import DEPLOY, unit

HOME = DEPLOY / "systemd"
ANALYZE = shutil.which("systemd-analyze")


class TestTheTemplate:
    def test_the_target_has_all_nodes(self) -> None:
        template = unit("hubbub@.service")
        assert template["Install"]["WantedBy"] == ["hubbub.target"]
        assert template["Unit"]["PartOf"] == ["hubbub.target"]
        assert unit("hubbub.target")["Install"]["WantedBy"] == ["multi-user.target"]

    def test_it_is_told_to_end_as_a_deploy_has_it(self) -> None:
        service = unit("hubbub@.service")["Service"]
        assert service["ExecStart"] == ["/opt/hubbub/bin/hubbub serve"]
        assert service["KillSignal"] == ["SIGTERM"]
        # Whom an administrator drained stays away, who died comes back.
        assert service["Restart"] == ["on-failure"]
        assert int(service["LimitNOFILE"][0]) >= 65536

    def test_secrets_are_in_files_and_not_in_the_unit(self) -> None:
        service = unit("hubbub@.service")["Service"]
        assert service["EnvironmentFile"] == ["/etc/hubbub/hubbub.env", "-/etc/hubbub/%i.env"]
        assert not re.search(r"SECRET|://", " ".join(service["Environment"]))

    def test_it_may_do_little(self) -> None:
        service = unit("hubbub@.service")["Service"]
        for key in ("DynamicUser", "NoNewPrivileges", "ProtectHome", "PrivateTmp", "PrivateDevices"):
            assert service[key] == ["yes"]
        assert service["ProtectSystem"] == ["strict"]
        assert service["CapabilityBoundingSet"] == [""]


if ANALYZE is not None:  # Machines for tests need no systemd; where it is absent, so are these. It need not run.

    class TestSystemdItself:
        def analysed(self, tmp_path: Path, *arguments: str) -> str:
            """What is wrong, in its words."""
            assert ANALYZE is not None
            for path in HOME.iterdir():
                text = path.read_text(encoding="utf-8").replace(
                    "/opt/hubbub/bin/hubbub serve", shutil.which("true") or ""
                )
                (tmp_path / path.name).write_text(text, encoding="utf-8")
            done = subprocess.run([ANALYZE, *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=60)
            return done.stderr if done.returncode == 0 else done.stdout + (done.stderr or "failed")

        def test_it_takes_the_units(self, tmp_path: Path) -> None:
            assert self.analysed(tmp_path, "verify", "./hubbub@.service", "./hubbub.target") == ""

        def test_it_finds_them_hardened(self, tmp_path: Path) -> None:
            """Of 10, tenfold: below 2 is what few services reach."""
            assert self.analysed(tmp_path, "security", "--offline=yes", "--threshold=20", "./hubbub@.service") == ""
