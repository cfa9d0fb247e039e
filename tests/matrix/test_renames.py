"""Every row of rules/renames.yaml against the releases on both sides of its boundary (`make matrix`)."""

from __future__ import annotations

import pytest
from packaging.version import Version

from lora_lint.apis.renames import Rename, renames
from tests.envs import wheel
from tests.matrix.sources import Release, release

pytestmark = [pytest.mark.matrix, pytest.mark.slow]

# The wheels of torch are hundreds of megabytes, and nobody fine-tunes with transformers before 4.30.
ROWS = [
    row
    for row in renames().rows()
    if row.library != "torch"
    and not (row.library == "transformers" and Version(row.gone.lstrip("<>=")) < Version("4.30"))
]
# What a signature does not show: from_pretrained of these releases hands its keywords on to the model's own constructor,
# and transformers.optimization is a module of its own.
UNSEEN = {
    ("transformers.PreTrainedModel.from_pretrained", "load_in_4bit"),
    ("transformers.PreTrainedModel.from_pretrained", "load_in_8bit"),
    ("transformers.PreTrainedModel.from_pretrained", "use_auth_token"),
    ("transformers.PreTrainedModel.from_pretrained", "use_flash_attention_2"),
    ("transformers.optimization.AdamW", ""),
}


def sides(row: Rename) -> tuple[Release, Release]:
    """The newest release before the boundary of a row, and a release of the minor version that begins there."""
    bound = Version(row.gone.lstrip("<>="))
    following = f"{bound.major}.{bound.minor + 1}"
    before = wheel(row.library, f"<{bound}")
    after = wheel(row.library, f">={bound},<{following}")
    return release(before, row.library), release(after, row.library)


def has(where: Release, row: Rename, argument: str) -> bool | None:
    """Whether a release has the argument, or the name, of a row; None when it has no such callable at all."""
    if not row.argument:
        return where.exports(argument)
    found = where.accepts(row.name, argument)
    if found is False and row.library == "trl" and where.inherits(row.name):
        above = release(wheel("transformers", ">=4.56.0,<4.57"), "transformers")
        return above.accepts("transformers.TrainingArguments", argument)
    return found


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.name}-{row.argument}".strip("-"))
def test_row(row: Rename) -> None:
    if (row.name, row.argument) in UNSEEN:
        pytest.skip("not to be seen in a signature; it was run, as the row's source says")
    before, after = sides(row)
    gone_after = row.gone.startswith(">=")
    asked = row.argument or row.name.split(".", 1)[1]
    there, lacking = (before, after) if gone_after else (after, before)
    assert has(there, row, asked) is not False, f"{there.path.name} should have it"
    assert not has(lacking, row, asked), f"{lacking.path.name} should not have it"
    if row.new and row.argument and gone_after:
        assert has(lacking, row, row.new), f"{lacking.path.name} should have {row.new}"
