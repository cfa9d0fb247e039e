"""What rules say of their fix where a finding has no plan for one."""

import pytest

from lora_lint.checks.base import Report
from lora_lint.checks.registry import load_checks
from lora_lint.fix.apply import with_fixes
from lora_lint.location import Location
from lora_lint.report.model import RunReport
from lora_lint.report.text import finding_lines, plain


@pytest.mark.parametrize(("code", "told"), [("LL113", True), ("LL116", False), ("LL906", False)])
def test_a_rule_with_a_fix_says_why_a_finding_has_none(code: str, told: bool) -> None:
    registry = load_checks()
    finding = registry.render(code, Report(Location("train.py", 1, 1, 1, 2), "something is wrong"))
    [shown] = with_fixes([finding], {}, None, registry.unplanned())
    lines = list(finding_lines(shown, RunReport(), plain))
    assert any("not possible here, it is not certain which code is to change" in line for line in lines) is told
