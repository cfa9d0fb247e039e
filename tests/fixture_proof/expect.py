"""What a run must show, as the small vocabulary of `fixture.yaml`, checked against the evidence.

- error: REGEX; the run ends with this exception (absent: it ends well)
- output: REGEX; the run prints this
- loss: constant | falls; over all backward passes: constant to 1e-6, or lower in the last quarter than in the first
- graph: all | none; whether the losses that backward() got had a graph
- steps: N; the optimizer stepped at least so often (0: never)
- dropout: [train, eval]; every mode in which adapter dropout stood at the optimizer steps, in order of first use
- targets: {asked: [ID], never: [ID]}; class ids that the losses of the training asked for, and ids that none asked for
- tensors: [{match: REGEX, count: N, PROPERTY: all | none}]; parameters by name, each PROPERTY one of `PROPERTIES`
- files: [{path: GLOB, exists: BOOL, match: REGEX, tensors: N, nonzero: all | none}]; what was saved (safetensors): how
  many tensors match, and whether they hold anything but zeros
"""

from __future__ import annotations

import re
from pathlib import Path
from statistics import fmean
from typing import Any

from tests.fixture_proof.run import Evidence

PROPERTIES = ("trainable", "in_optimizer", "grad", "nonzero_grad", "changed", "zero_at_start")


def problems(expected: dict[str, Any], evidence: Evidence) -> list[str]:
    """Where `evidence` differs from `expected`; empty when it shows all of it."""
    found = [*_ending(expected, evidence), *_losses(expected, evidence.report["losses"])]
    steps = evidence.report["steps"]
    if "steps" in expected and (steps < expected["steps"] or (expected["steps"] == 0 and steps)):
        found.append(f"{steps} optimizer steps, expected {expected['steps']}")
    if "dropout" in expected:
        modes = list(dict.fromkeys(mode for step in evidence.report["dropout"] for mode, n in step.items() if n))
        if modes != expected["dropout"]:
            found.append(f"adapter dropout stood in {modes} at the steps, expected {expected['dropout']}")
    asked = {int(value) for value in evidence.report["targets"]}
    for key, wrong in (("asked", lambda ids: ids - asked), ("never", lambda ids: ids & asked)):
        if ids := wrong(set(expected.get("targets", {}).get(key, []))):
            found.append(f"targets {key}: fails for {sorted(ids)}; the losses asked for {sorted(asked)}")
    for wanted in expected.get("tensors", []):
        found += _tensors(wanted, evidence.report["tensors"])
    for wanted in expected.get("files", []):
        found += _files(wanted, evidence.folder)
    return found


def _ending(expected: dict[str, Any], evidence: Evidence) -> list[str]:
    found = []
    error = evidence.report["error"]
    text = f"{error['type']}: {error['text']}" if error else ""
    if "error" not in expected and (error or evidence.status):
        found.append(f"the run failed with status {evidence.status}: {text}")
    if "error" in expected and not re.search(expected["error"], text):
        found.append(f"the run ended with {text or 'no exception'!r}, expected {expected['error']!r}")
    if "output" in expected and not re.search(expected["output"], evidence.output):
        found.append(f"the output lacks {expected['output']!r}")
    return found


def _losses(expected: dict[str, Any], losses: list[dict[str, Any]]) -> list[str]:
    found = []
    values = [entry["value"] for entry in losses]
    if "loss" in expected:
        quarter = max(1, len(values) // 4)
        if len(values) < 3:
            found.append(f"only {len(values)} losses")
        elif expected["loss"] == "constant" and max(values) - min(values) > 1e-6:
            found.append(f"the loss moved: {values}")
        elif expected["loss"] == "falls" and fmean(values[-quarter:]) >= fmean(values[:quarter]):
            found.append(f"the loss did not fall: {values}")
    if "graph" in expected:
        wanted = {"all": True, "none": False}[expected["graph"]]
        if not losses or any(entry["graph"] is not wanted for entry in losses):
            found.append(f"losses with a graph: {[entry['graph'] for entry in losses]}, expected {expected['graph']}")
    return found


def _tensors(wanted: dict[str, Any], tensors: dict[str, dict[str, bool]]) -> list[str]:
    chosen = {name: entry for name, entry in tensors.items() if re.search(wanted["match"], name)}
    if "count" in wanted and len(chosen) != wanted["count"]:
        return [f"{len(chosen)} parameters match {wanted['match']!r}, expected {wanted['count']}"]
    if not chosen and wanted.get("count") != 0:
        return [f"no parameter matches {wanted['match']!r}"]
    found = []
    for key in PROPERTIES:
        if key in wanted:
            truth = {"all": True, "none": False}[wanted[key]]
            wrong = sorted(name for name, entry in chosen.items() if entry[key] is not truth)
            if wrong:
                found.append(f"{key}: {wanted[key]} of {wanted['match']!r} fails for {wrong[:4]} ({len(wrong)})")
    return found


def _files(wanted: dict[str, Any], folder: Path) -> list[str]:
    paths = sorted(folder.glob(wanted["path"]))
    if bool(paths) is not wanted.get("exists", True):
        return [f"{wanted['path']}: found {[str(p.relative_to(folder)) for p in paths]}"]
    found: list[str] = []
    if not {"tensors", "nonzero"} & set(wanted):
        return found
    from safetensors import safe_open

    for path in paths:
        with safe_open(path, framework="pt") as stored:
            names = [name for name in stored.keys() if re.search(wanted.get("match", ""), name)]  # noqa: SIM118
            filled = [bool(stored.get_tensor(name).any()) for name in names]
        if "tensors" in wanted and len(names) != wanted["tensors"]:
            found.append(f"{path.name}: {len(names)} tensors match, expected {wanted['tensors']}")
        if "nonzero" in wanted and (not names or any(f is not (wanted["nonzero"] == "all") for f in filled)):
            found.append(f"{path.name}: non-zero {sum(filled)} of {len(filled)}, expected {wanted['nonzero']}")
    return found
