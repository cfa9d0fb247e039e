"""The report of a run for programs: one JSON object."""

from __future__ import annotations

import json
import math
from typing import Any

from lora_lint import __version__
from lora_lint.findings import Finding
from lora_lint.lifecycle.record import RankRecord
from lora_lint.verify import summary
from lora_lint.verify.places import place_data
from lora_lint.verify.verdict import Verdict, world_of


def render(verdict: Verdict) -> str:
    """The report as indented JSON. NaN and infinity are strings, so that every JSON reader can read it."""
    return json.dumps(_clean(as_data(verdict)), indent=2, ensure_ascii=False) + "\n"


def as_data(verdict: Verdict) -> dict[str, Any]:
    """The report as plain data."""
    rank = world_of(verdict.record)
    return {
        "tool": "lora-lint",
        "version": __version__,
        "verdict": verdict.verdict,
        "exit_code": verdict.exit_code,
        "reason": verdict.reason,
        "notes": list(verdict.notes),
        "seconds": round(verdict.observed.seconds, 2),
        "findings": [finding_data(f) for f in verdict.findings],
        "confirmations": [{"state": c.state, **finding_data(c.finding)} for c in verdict.confirmations],
        "steps": rank.cycles if rank is not None else 0,
        "chain": chain_data(rank),
        "ledger": ledger_data(rank),
        "losses": [
            {"step": loss.step, "value": loss.value, "graph": loss.graph} for loss in (rank.losses if rank else [])
        ],
        "gradients": gradient_data(rank),
        "probes": [
            {"name": p.name, "ok": p.ok, "text": p.text, "value": p.value}
            for p in (rank.probes if rank is not None else [])
        ],
        "data": summary.data(rank) if rank is not None else "",
        "weights": summary.weights(rank) if rank is not None else "",
        "memory_mb": [round(m, 1) for m in (rank.memory if rank is not None else [])],
        "step_seconds": [round(s, 3) for s in (rank.seconds if rank is not None else [])],
        "processes": [
            {"rank": r.rank, "world": r.world, "steps": r.steps, "backwards": r.backwards} for r in verdict.record.ranks
        ],
        "environment": verdict.observed.reports[0]["environment"] if verdict.observed.reports else {},
        "traceback": verdict.traceback,
        "output_tail": verdict.observed.output if verdict.exit_code == 2 else [],
        "stacks": verdict.observed.stacks,
        "internal_errors": list(verdict.faults),
    }


def chain_data(rank: RankRecord | None) -> dict[str, Any]:
    """The chain that proves learning, in tensors; empty when nothing stepped."""
    found = summary.chain(rank) if rank is not None else None
    return {} if found is None else {"tensors": found.what, "total": found.total, **dict(found.links)}


def finding_data(finding: Finding) -> dict[str, Any]:
    """One finding as plain data."""
    return {
        "code": finding.code,
        "name": finding.name,
        "severity": finding.severity.value,
        "message": finding.message,
        **place_data(finding.location),
        "help": finding.help,
        "related": [{**place_data(r.location), "message": r.message} for r in finding.related],
        "url": finding.url,
    }


def ledger_data(rank: RankRecord | None) -> list[dict[str, Any]]:
    """The ledger as plain data."""
    if rank is None:
        return []
    return [
        {
            "moment": row.moment,
            **{key: value for key, value in place_data(row.at).items() if key in ("path", "cell", "line")},
            "model": rank.models[row.model].type,
            "trainable": row.trainable,
            "total": row.total,
            "percent": round(100 * row.trainable / row.total, 4) if row.total else 0.0,
            "tensors": row.tensors,
            "groups": row.groups,
        }
        for row in rank.ledger
    ]


def gradient_data(rank: RankRecord | None) -> list[dict[str, Any]]:
    """Gradient norms and updates of the trained tensors, by step."""
    if rank is None:
        return []
    return [
        {
            "name": t.name,
            "part": t.part,
            "adapter": t.adapter,
            "in_optimizer": bool(t.optimizers),
            "ran": t.ran,
            "steps": [{"step": s.step, "grad": s.grad, "lr": s.lr, "update": s.delta} for s in t.samples],
        }
        for t in rank.tensors
        if t.trainable or t.samples
    ]


def _clean(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {key: _clean(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_clean(one) for one in value]
    return value
