"""Hook of the child interpreter: Python imports this by itself at start-up, so the program stays unmodified."""

import importlib
import os

if os.environ.get("FIXTURE_PROOF_REPORT"):
    # Only the first process of the tree is observed; worker processes inherit the variable and see another owner.
    first = os.environ.setdefault("FIXTURE_PROOF_OWNER", str(os.getpid())) == str(os.getpid())
    if os.environ.get("FIXTURE_PROOF_EMULATE"):
        importlib.import_module(f"emulate_{os.environ['FIXTURE_PROOF_EMULATE']}").install()
    if first:
        import observe

        observe.install(os.environ["FIXTURE_PROOF_REPORT"])
