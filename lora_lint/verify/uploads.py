"""Nothing of an observed run is uploaded: calls that would create or change something on the hub answer as if they had."""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING, Any

from lora_lint.verify.places import shown

if TYPE_CHECKING:
    from lora_lint.verify.slot import Slot

_HUB = "https://huggingface.co"
_WRITING = (
    "create_repo",
    "create_commit",
    "upload_file",
    "upload_folder",
    "upload_large_folder",
    "create_branch",
    "create_tag",
    "update_repo_settings",
    "delete_file",
    "delete_folder",
    "delete_repo",
)


def patch_hub(watch: Slot, module: ModuleType) -> None:
    """huggingface_hub.hf_api: its module functions are the methods of one object."""
    for name in _WRITING:
        original = getattr(module.HfApi, name, None)
        if original is None:
            continue
        setattr(module.HfApi, name, _held_back(watch, module, name, original))
        if hasattr(module, name) and hasattr(module, "api"):
            setattr(module, name, getattr(module.api, name))


def _held_back(watch: Slot, module: ModuleType, name: str, original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        current = watch.current
        if current.in_process or not current.recorder.active:
            return original(self, *args, **kwargs)
        repo = str(kwargs.get("repo_id", args[0] if args and isinstance(args[0], str) else "?"))
        place = shown(current.recorder.frames.here())
        current.held_back.append(f"{name}({repo}) at {place} was held back: verify uploads nothing")
        return _answer(self, module, name, repo, bool(kwargs.get("run_as_future")))

    return call


def _answer(api: Any, module: ModuleType, name: str, repo: str, later: bool) -> Any:
    if name == "create_repo":
        full = repo if "/" in repo else f"user/{repo}"
        return module.RepoUrl(f"{_HUB}/{full}")
    result: Any = None
    if name in ("create_commit", "upload_file", "upload_folder"):
        url = f"{_HUB}/{repo}/commit/{'0' * 40}"
        result = module.CommitInfo(commit_url=url, commit_message=name, commit_description="", oid="0" * 40)
    return api.run_as_future(lambda: result) if later else result


PATCHERS: dict[str, Callable[[Any, ModuleType], None]] = {"huggingface_hub.hf_api": patch_hub}
