"""The report of a run as one HTML page that needs nothing else: no network, no scripts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lora_lint.errors import InputError
from lora_lint.verify import summary
from lora_lint.verify.report_json import as_data, finding_data
from lora_lint.verify.report_text import code_of, symptoms
from lora_lint.verify.verdict import Verdict, world_of

TEMPLATES = Path(__file__).parent / "templates"


def render(verdict: Verdict, title: str = "") -> str:
    """The page. Raises InputError when the libraries that draw it are not installed."""
    try:
        from jinja2 import Environment, FileSystemLoader, StrictUndefined
        from markupsafe import Markup

        from lora_lint.verify.plots import curves, heat_maps
    except ImportError as error:
        raise InputError(f"the HTML report needs {error.name}: pip install 'lora-lint[verify]'") from error
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    rank = world_of(verdict.record)
    drawn: list[list[tuple[str, Any]]] = [[], []]
    if rank is not None:
        try:
            found = (curves(rank), heat_maps(rank))
        except ImportError as error:
            raise InputError(f"the HTML report needs {error.name}: pip install 'lora-lint[verify]'") from error
        drawn = [[(name, Markup(svg)) for name, svg in plots] for plots in found]
    page: str = environment.get_template("report.html.j2").render(
        data=as_data(verdict),
        title=title,
        findings=[
            {
                "data": finding_data(f),
                "code": "\n".join(code_of(f, lambda colour, text: text)[1:]),
                "seen": symptoms(f),
            }
            for f in verdict.findings
        ],
        chain=summary.chain(rank) if rank is not None else None,
        where=_where,
        plots=drawn[0],
        maps=drawn[1],
    )
    return page


def _where(place: dict[str, Any]) -> str:
    cell = f" cell {place['cell']}" if "cell" in place else ""
    return f"{place['path']}{cell}:{place['line']}"
