"""Where a program in disguise is judged differently: because it is different, or because of a limit we know."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Known:
    """Under some disguises a code is lost or added; programs of the rule `shown_by` show it."""

    disguises: tuple[str, ...]
    code: str
    shown_by: str
    reason: str

    def __str__(self) -> str:
        return f"{self.code}-{self.disguises[0]}"


EXCEPTIONS = (
    # The program is another one: what was certain in it is an option now, which a command line may change.
    Known(("options_by_click", "options_by_fire"), "LL303", "LL303", "accumulation steps of 1 are only the default"),
    Known(("options_by_click", "options_by_fire"), "LL107", "LL107", "inference_mode=True is only the default"),
    Known(("options_by_hf_parser",), "LL705", "LL705", "the parser imports transformers in front of unsloth"),
    # Limits. Silence where there was a finding:
    Known(("behind_an_alias",), "LL108", "LL108", "a merged model under a second name counts as used"),
    Known(("by_a_lambda", "out_of_a_dict"), "LL304", "LL304", "an object out of a closure or a dict counts as lent"),
    Known(("by_a_methodcaller",), "LL115", "LL115", "a trainer that is made in the call of a methodcaller has no name"),
    Known(("by_a_methodcaller",), "LL307", "LL307", "nor has the loss, and its accumulation is not seen"),
    Known(("by_a_methodcaller",), "LL803", "LL803", "nor have the files that are loaded in such a call"),
    Known(("in_a_try", "loop_bodies_as_functions"), "LL103", "LL103", "layers[i] is followed in the loop itself only"),
    Known(
        ("loops_that_count",), "LL103", "LL103", "a counted generator of parameters is not filtered by its conditions"
    ),
    Known(("loops_with_a_bar",), "LL203", "LL203", "which turn a loop over a bar ends with is not known"),
    Known(("made_by_functions",), "LL115", "LL115", "what a function returns counts as used"),
    Known(("result_kept",), "LL203", "LL203", "set_grad_enabled(False) that is kept may be a context for later"),
)
