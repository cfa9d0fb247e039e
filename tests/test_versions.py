"""Target versions: where they are read from, and how ranges are compared."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from lora_lint.errors import InputError
from lora_lint.requirement_files import install_line, poetry_range
from lora_lint.version_finder import VersionFinder
from lora_lint.versions import Target, TargetVersions, is_empty, relation

BUG = ">=0.20.0,<0.23.1"


def write(folder: Path, name: str, content: str) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    (tmp_path / ".git").mkdir()
    (tmp_path / "src").mkdir()
    return tmp_path


def found(folder: Path, *lines: str) -> TargetVersions:
    return VersionFinder().for_file(folder / "src" / "train.py", lines)


# --- ranges -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("choice", "query", "answer"),
    [
        (">=0.20,<0.23", BUG, True),
        ("==0.22.2", BUG, True),
        ("==0.23.1", BUG, False),
        ("==0.23.0", BUG, True),
        (">=0.24", BUG, False),
        ("<0.20", BUG, False),
        ("<=0.20", BUG, None),
        (">=0.20", BUG, None),
        ("", BUG, None),
        ("~=0.22.0", BUG, True),
        ("~=0.23.0", BUG, None),
        ("~=0.22", BUG, None),
        ("==0.22.*", BUG, True),
        ("==0.23.*", BUG, None),
        (">=0.20,<=0.23.0", BUG, True),
        (">0.23.0", BUG, False),
        (">0.19.1", BUG, None),
        (">=0.23,<0.23.1", BUG, True),
        ("!=0.21.0,>=0.20,<0.22", BUG, True),
        (">=0.20,<0.22", "!=0.21.0", None),
        (">=0.20,<0.22,!=0.21.0", "!=0.21.0", True),
        ("==0.21.0", "!=0.21.0", False),
        (">=1", "<2,>=1.5", None),
        (">=0.20,<0.22,!=0.20.*", ">=0.21", True),
        ("==2.1.0+cu118", ">=2.1,<2.2", True),
        ("==0.21.0.post1", BUG, True),
        # pre-releases stand between two releases
        ("==0.22.0.dev0", BUG, True),
        ("==0.22.0rc1", BUG, True),
        ("==0.20.0.dev0", BUG, None),
        ("==0.23.1.dev0", BUG, None),
        ("==0.24.0.dev0", BUG, False),
        ("==0.19.0rc1", BUG, False),
        # a development state behind a release grows into the next minor one
        ("==0.11.2.dev0", ">=0.12", None),
        ("==0.11.2.dev0", "<0.13", True),
        ("==0.12.0.dev0", "<0.13", True),
        ("==0.11.2rc1", ">=0.12", False),
        (">=0.20.0rc1,<0.23", BUG, True),
        ("===0.22.2", BUG, True),
    ],
)
def test_relation(choice: str, query: str, answer: bool | None) -> None:
    assert relation(SpecifierSet(choice), SpecifierSet(query)) is answer


def test_relation_agrees_with_counting_versions() -> None:
    """Against all releases of a small world: a sure answer is never wrong, and doubt means that both occur."""
    world = [Version(f"0.{minor}.{patch}") for minor, patch in itertools.product(range(5), range(4))]
    bounds = ["0.1", "0.1.2", "0.2.0", "0.3.1"]
    clauses = [f"{operator}{bound}" for operator in (">=", "<", "<=", ">", "==", "!=") for bound in bounds]
    clauses += ["==0.2.*", "!=0.2.*", "~=0.1.1", "~=0.2"]
    ranges = [",".join(pair) for pair in itertools.combinations(clauses, 2)][::3] + clauses
    for choice, query in itertools.product(ranges, ranges[::5]):
        one, other = SpecifierSet(choice), SpecifierSet(query)
        inside = [version for version in world if version in one]
        seen = {version in other for version in inside}
        answer = relation(one, other)
        if answer is not None and inside:
            assert seen == {answer}, (choice, query)
        if seen == {True, False}:
            assert answer is None, (choice, query)


@pytest.mark.parametrize(
    ("choice", "answer"),
    [(">=1,<1", True), (">2,<1", True), ("==1.0,>2", True), ("==1.*,>=2", True), (">=1", False), ("", False)],
)
def test_is_empty(choice: str, answer: bool) -> None:
    assert is_empty(SpecifierSet(choice)) is answer


def targets(**choices: str | tuple[str, ...]) -> TargetVersions:
    pairs = {name: (value,) if isinstance(value, str) else value for name, value in choices.items()}
    return TargetVersions({name: Target(tuple(map(SpecifierSet, value)), "x.txt") for name, value in pairs.items()})


def test_three_answers() -> None:
    versions = targets(trl="==0.22.2", peft="", torch=("==2.1.0", "==2.5.0"))
    assert versions.affected("trl", BUG) is True
    assert versions.affected("TRL", "<0.20") is False
    assert versions.affected("peft", ">=0.3") is None
    assert versions.affected("nowhere", ">=0.3") is None
    assert versions.affected("torch", ">=2") is True
    assert versions.affected("torch", ">=2.4") is None
    assert versions.may_be("torch", ">=2.4")
    assert versions.may_be("nowhere", ">=0.3")
    assert not versions.may_be("trl", "<0.20")
    assert [versions.known(name) for name in ("trl", "peft", "nowhere")] == [True, False, False]


def test_newest_likely() -> None:
    versions = targets(a="", b=">=1", c=">=1,<2", d="==1", e="!=3", f="~=1.2")
    assert [versions.newest_likely(name) for name in "abcdefg"] == [True, True, False, False, True, False, False]
    assert not versions.with_evidence("b", "<2", "old argument").newest_likely("b")


def test_evidence_narrows_the_versions() -> None:
    versions = targets(trl="", torch="==2.1").with_evidence("trl", "<0.20", "max_seq_length is gone in 0.20")
    assert versions.affected("trl", BUG) is False
    assert versions.affected("trl", "<0.23") is True
    assert versions.describe("trl") == "trl <0.20 (max_seq_length is gone in 0.20)"
    again = versions.with_evidence("trl", ">=0.10", "new argument")
    assert again.affected("trl", "<0.9") is False
    ranged = targets(trl=">=0.10").with_evidence("trl", "<0.20", "why")
    assert ranged.affected("trl", ">=0.10,<0.20") is True


def test_evidence_against_the_files_counts() -> None:
    versions = targets(trl="==1.16.0").with_evidence("trl", "<0.20", "max_seq_length is gone in 0.20")
    assert versions.affected("trl", BUG) is False
    assert versions.affected("trl", ">=1") is False  # there the code fails before anything else can happen
    assert versions.affected("trl", "<0.20") is None


def test_evidence_does_not_touch_the_original() -> None:
    versions = targets(trl=">=0.1")
    assert versions.affected("trl", "<0.20") is None
    assert versions.with_evidence("trl", "<0.20", "why").affected("trl", "<0.20") is True
    assert versions.affected("trl", "<0.20") is None


def test_describe() -> None:
    versions = targets(trl="==0.22.2", peft="<0.23,>=0.20", torch=("==2.1.0", "==2.5.0"), accelerate="")
    assert versions.describe("trl") == "trl 0.22.2 (x.txt)"
    assert versions.describe("peft") == "peft >=0.20,<0.23 (x.txt)"
    assert versions.describe("torch") == "torch 2.1.0 or 2.5.0 (x.txt)"
    assert versions.describe("accelerate") == "accelerate without a version (x.txt)"
    assert versions.describe("nowhere") is None


# --- sources ----------------------------------------------------------------------------------------------------------

LOCK = '[[package]]\nname = "trl"\nversion = "0.22.2"\n\n[[package]]\nname = "own"\nsource = {virtual = "."}\n'


@pytest.mark.parametrize("name", ["uv.lock", "poetry.lock", "pdm.lock"])
def test_lock_files(repository: Path, name: str) -> None:
    write(repository, name, LOCK)
    assert found(repository).describe("trl") == f"trl 0.22.2 ({name})"


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("uv.lock", 'source = { git = "https://github.com/someone/trl.git?rev=dev#6d703e88" }'),
        ("poetry.lock", '[package.source]\ntype = "git"\nurl = "https://github.com/someone/trl.git"\n'),
        ("pdm.lock", 'git = "https://github.com/someone/trl.git"\nrevision = "6d703e88"'),
    ],
)
def test_the_version_of_what_is_locked_to_a_repository_is_not_certain(repository: Path, name: str, source: str) -> None:
    write(repository, name, f'[[package]]\nname = "trl"\nversion = "0.20.0.dev0"\n{source}\n')
    assert found(repository).describe("trl") == f"trl 0.20.0.dev0 or of any version ({name})"
    assert found(repository).affected("trl", "<0.25") is None
    assert not found(repository).newest_likely("trl")


def test_a_lock_file_with_several_versions_leaves_them_open(repository: Path) -> None:
    write(repository, "uv.lock", LOCK + '[[package]]\nname = "trl"\nversion = "0.24.0"\n')
    assert found(repository).affected("trl", BUG) is None
    assert found(repository).affected("trl", ">=0.22") is True


def test_pipfile_lock(repository: Path) -> None:
    write(repository, "Pipfile.lock", '{"default": {"trl": {"version": "==0.22.2"}, "own": {"path": "."}}}')
    assert found(repository).describe("trl") == "trl 0.22.2 (Pipfile.lock)"


@pytest.mark.parametrize(
    ("content", "shown"),
    [
        ("trl==0.22.2\n", "0.22.2"),
        ("trl == 0.22.2  # pinned\n", "0.22.2"),
        ("trl[peft,vllm]>=0.20,<0.23\n", ">=0.20,<0.23"),
        ("trl==0.22.2 ; python_version >= '3.9'\n", "0.22.2"),
        ("trl==0.22.2 \\\n    --hash=sha256:aa \\\n    --hash=sha256:bb\n", "0.22.2"),
        ("-i https://example.org/simple\n--no-binary :all:\nTRL~=0.22.0\n", "~=0.22.0"),
        ("git+https://github.com/huggingface/trl.git@v0.22.2\n", "0.22.2"),
        ("trl @ git+https://github.com/huggingface/trl@v0.22.2\n", "0.22.2"),
        ("-e git+https://github.com/huggingface/trl.git@0.22.2#egg=trl\n", "0.22.2"),
        ("trl==0.20.0; python_version < '3.10'\ntrl==0.23.0; python_version >= '3.10'\n", "0.20.0 or 0.23.0"),
        ("\ufefftrl==0.22.2\r\n./local\nnot a requirement!!\n", "0.22.2"),
        ("trl\n", None),
        ("git+https://github.com/huggingface/trl\n", None),
    ],
)
def test_requirement_files(repository: Path, content: str, shown: str | None) -> None:
    write(repository, "requirements.txt", content)
    expected = f"trl {shown} (requirements.txt)" if shown else "trl without a version (requirements.txt)"
    assert found(repository).describe("trl") == expected


def test_included_requirements_and_constraints(repository: Path) -> None:
    write(repository, "requirements.txt", "-r base.txt\n-c constraints.txt\n-r gone.txt\ntrl\n")
    write(repository, "base.txt", "-r requirements.txt\npeft==0.17.0\n")
    write(repository, "constraints.txt", "trl==0.22.2\n")
    assert found(repository).describe("trl") == "trl 0.22.2 (requirements.txt)"
    assert found(repository).describe("peft") == "peft 0.17.0 (requirements.txt)"


def test_relatives_of_requirements_txt(repository: Path) -> None:
    write(repository, "requirements-dev.txt", "trl==0.1\npeft==0.1\n")
    write(repository, "requirements.txt", "trl==0.2\n")
    write(repository, "requirements/gpu.txt", "torch==2.5.0\n")
    versions = found(repository)
    assert versions.describe("trl") == "trl 0.2 (requirements.txt)"
    assert versions.describe("peft") == "peft 0.1 (requirements-dev.txt)"
    assert versions.describe("torch") == "torch 2.5.0 (gpu.txt)"


def test_a_requirement_file_in_the_singular(repository: Path) -> None:
    (repository / "requirement.txt").write_text("transformers==4.45.1\n")
    assert (
        VersionFinder().for_file(repository / "train.py").describe("transformers")
        == "transformers 4.45.1 (requirement.txt)"
    )


def test_a_folder_with_a_readme_may_be_a_project_of_its_own(repository: Path) -> None:
    """The outer files count there, but what is too new for them is no certain mistake."""
    (repository / "README.md").write_text("# all\n")
    (repository / "requirements.txt").write_text("transformers==4.45.1\npeft==0.13.0\n")
    (repository / "inner/src").mkdir(parents=True)
    finder = VersionFinder()
    assert not finder.for_file(repository / "train.py").outer("transformers")
    (repository / "inner/Readme.md").write_text("# a part, for transformers 4.50\n")
    (repository / "inner/requirements.txt").write_text("peft==0.15.0\n")
    inner = finder.for_file(repository / "inner/src/train.py")
    assert inner.outer("transformers")
    assert inner.describe("transformers") == "transformers 4.45.1 (requirements.txt)"
    assert not inner.outer("peft")
    assert not inner.outer("trl")


@pytest.mark.parametrize(
    ("name", "text", "apart"),
    [
        ("setup.py", "from setuptools import setup\nsetup()\n", True),
        ("setup.cfg", "[metadata]\nname = inner\n", True),
        ("setup.cfg", "[flake8]\nmax-line-length = 100\n", False),
        ("pyproject.toml", "[project]\nname = 'inner'\n", True),
        ("pyproject.toml", "[tool.black]\nline-length = 100\n", False),
    ],
)
def test_a_package_inside_is_installed_with_what_it_asks_for(
    repository: Path, name: str, text: str, apart: bool
) -> None:
    (repository / "requirements.txt").write_text("transformers==5.3.0\n")
    (repository / "setup.py").write_text("from setuptools import setup\nsetup()\n")
    write(repository, f"inner/{name}", text)
    assert VersionFinder().for_file(repository / "inner/src/train.py").apart("transformers") is apart
    assert not VersionFinder().for_file(repository / "train.py").apart("transformers")


def test_a_lock_file_covers_the_packages_inside(repository: Path) -> None:
    (repository / "uv.lock").write_text('[[package]]\nname = "transformers"\nversion = "5.3.0"\n')
    write(repository, "inner/pyproject.toml", "[project]\nname = 'inner'\n")
    assert not VersionFinder().for_file(repository / "inner/train.py").apart("transformers")


def test_a_conda_environment_under_its_short_name(repository: Path) -> None:
    (repository / "requirements.txt").write_text("transformers==5.3.0\n")
    write(repository, "inner/env.yaml", "name: x\ndependencies:\n  - pip:\n      - transformers==4.46.1\n")
    inner = VersionFinder().for_file(repository / "inner/train.py")
    assert inner.describe("transformers") == "transformers 4.46.1 (env.yaml)"


def test_requirement_files_in_a_folder_without_code_about_models(repository: Path) -> None:
    write(repository, "setup/requirements.txt", "trl==0.29.0\n")
    write(repository, "setup/requirements_gpu.txt", "trl==0.1\npeft==0.17.0\n")
    write(repository, "service/requirements.txt", "accelerate==1.0\n")
    write(
        repository,
        "service/src/main.py",
        "from transformers import AutoModel\n\nmodel = AutoModel.from_pretrained('gpt2')\n",
    )
    write(
        repository,
        "setup/fetch.py",
        "from huggingface_hub import snapshot_download\n\nsnapshot_download('some/data')\n",
    )
    versions = found(repository)
    assert versions.describe("trl") == "trl 0.29.0 (requirements.txt)"
    assert versions.describe("peft") == "peft 0.17.0 (requirements_gpu.txt)"
    assert versions.describe("accelerate") is None
    write(repository, "pyproject.toml", '[project]\ndependencies = ["trl==0.24.0"]\n')
    assert found(repository).describe("trl") == "trl 0.24.0 (pyproject.toml)"


def test_the_requirements_of_a_tutorial_are_for_the_code_in_its_text(repository: Path) -> None:
    write(repository, "old-model/requirements.txt", "transformers==4.30.2\n")
    assert found(repository).describe("transformers") == "transformers 4.30.2 (requirements.txt)"
    write(repository, "old-model/README.md", "Set up:\n```shell\npip install -r requirements.txt\n```\n")
    assert found(repository).describe("transformers") == "transformers 4.30.2 (requirements.txt)"
    write(repository, "old-model/lora.md", "Then:\n```python\nfrom peft import get_peft_model\n```\n")
    assert found(repository).describe("transformers") is None


# --- copies of libraries ----------------------------------------------------------------------------------------------


def with_copies(folder: Path) -> TargetVersions:
    return VersionFinder(libraries=("peft", "trl")).for_file(folder / "src" / "train.py")


@pytest.mark.parametrize("place", ["peft", "src/peft", "src/src/peft"])
def test_a_copy_that_imports_find_is_what_the_code_runs_with(repository: Path, place: str) -> None:
    write(repository, "requirements.txt", "peft==0.17.0\n")
    write(repository, f"{place}/__init__.py", '"""A copy."""\n\n__version__ = "0.9.1"\n')
    assert (with_copies(repository).describe("peft") or "").startswith("peft 0.9.1 (")
    assert with_copies(repository).affected("peft", ">=0.10") is False


def test_a_copy_in_a_checkout_counts_where_nothing_else_says_a_version(repository: Path) -> None:
    write(repository, "peft-fork/src/peft/__init__.py", "__version__ = '0.9.1'\n")
    assert with_copies(repository).describe("peft") == "peft 0.9.1 (peft-fork/src/peft/__init__.py)"
    write(repository, "requirements.txt", "peft\n")
    assert with_copies(repository).describe("peft") == "peft 0.9.1 (peft-fork/src/peft/__init__.py)"
    write(repository, "requirements.txt", "peft==0.17.0\n")
    assert with_copies(repository).describe("peft") == "peft 0.17.0 (requirements.txt)"


@pytest.mark.parametrize("text", ["", "__version__ = version('peft')\n", "__version__ = 'unknown'\n", "\udcff"])
def test_a_package_of_that_name_without_a_version_says_nothing(repository: Path, text: str) -> None:
    path = repository / "peft" / "__init__.py"
    path.parent.mkdir()
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    assert with_copies(repository).describe("peft") is None


def test_a_state_before_a_release_may_have_what_that_release_brought(repository: Path) -> None:
    write(repository, "peft/__init__.py", "__version__ = '0.3.0.dev0'\n")
    versions = with_copies(repository)
    assert versions.before_release("peft")
    assert versions.affected("peft", ">=0.3") is None
    assert versions.affected("peft", "<0.20") is True
    assert not versions.before_release("trl")


@pytest.mark.parametrize(
    ("content", "commit"),
    [
        ("git+https://github.com/huggingface/peft.git@13e53fc\n", True),
        ("peft @ git+https://github.com/huggingface/peft@e536616888d51b453ed354a6f1e243fecb02ea08\n", True),
        ("git+https://github.com/huggingface/peft.git@main\n", False),
        ("git+https://github.com/huggingface/peft.git\n", False),
        ("git+https://github.com/huggingface/peft.git@v0.4.0\n", False),
        ("peft\n", False),
    ],
)
def test_some_commit_is_of_no_known_version(repository: Path, content: str, commit: bool) -> None:
    write(repository, "requirements.txt", content)
    assert found(repository).some_commit("peft") is commit
    assert not found(repository).some_commit("trl")
    assert not found(repository).with_evidence("peft", ">=0.5", "it uses x=").some_commit("peft")


PYPROJECT = """
[project]
name = "own"
dependencies = ["trl>=0.20,<0.23", "peft"]
[project.optional-dependencies]
gpu = ["bitsandbytes>=0.43"]
[dependency-groups]
base = ["datasets==3.0"]
dev = [{include-group = "base"}, "accelerate~=1.0"]
"""


def test_pyproject(repository: Path) -> None:
    write(repository, "pyproject.toml", PYPROJECT)
    versions = found(repository)
    assert versions.describe("trl") == "trl >=0.20,<0.23 (pyproject.toml)"
    assert versions.describe("bitsandbytes") == "bitsandbytes >=0.43 (pyproject.toml)"
    assert versions.describe("datasets") == "datasets 3.0 (pyproject.toml)"
    assert versions.describe("accelerate") == "accelerate ~=1.0 (pyproject.toml)"
    assert versions.newest_likely("peft")


def test_the_library_itself(repository: Path) -> None:
    write(repository, "pyproject.toml", '[project]\nname = "trl"\nversion = "0.22.0.dev0"\n')
    assert found(repository).affected("trl", BUG) is True


def test_poetry_tables(repository: Path) -> None:
    write(
        repository,
        "pyproject.toml",
        """
        [tool.poetry.dependencies]
        python = "^3.10"
        trl = "^0.22"
        peft = {version = "~0.17.1", extras = ["x"]}
        torch = [{version = "2.1.0", markers = "a"}, {version = "2.5.0"}]
        bitsandbytes = "*"
        [tool.poetry.group.dev.dependencies]
        datasets = "2.0 || 3.0"
        """,
    )
    versions = found(repository)
    assert versions.affected("trl", ">=0.22,<0.23") is True
    assert versions.affected("peft", ">=0.17.1,<0.18") is True
    assert versions.describe("torch") == "torch 2.1.0 or 2.5.0 (pyproject.toml)"
    assert versions.newest_likely("bitsandbytes")
    assert versions.affected("datasets", "<2.5") is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("^1.2.3", ">=1.2.3,<2"),
        ("^0.2.3", ">=0.2.3,<0.3"),
        ("^0.0.3", ">=0.0.3,<0.0.4"),
        ("^0", ">=0,<1"),
        ("~1.2.3", ">=1.2.3,<1.3"),
        ("~1", ">=1,<2"),
        ("1.2.*", "==1.2.*"),
        ("1.2", "==1.2"),
        (">=1, <2", ">=1,<2"),
        (">=1 <2", ">=1,<2"),
        ("~=1.2", "~=1.2"),
        ("*", ""),
    ],
)
def test_poetry_range(text: str, expected: str) -> None:
    assert poetry_range(text) == SpecifierSet(expected)


def test_setup_py(repository: Path) -> None:
    """Literal lists count, whatever they are called on the way; what is computed, and other strings, do not."""
    write(
        repository,
        "setup.py",
        """
from setuptools import setup

extras = {"dpo": ["trl==0.8.0"], "all": []}
extras["train"] = ["accelerate>=0.26"] + ["torch>=2"]
with open("requirements.txt") as file:
    install_requires = [line.strip() for line in file]
setup(name="lm", install_requires=["peft>=0.10,<0.12", f"bitsandbytes=={1}"], extras_require=extras, packages=["datasets"])
""",
    )
    assert found(repository).describe("trl") == "trl 0.8.0 (setup.py)"
    assert found(repository).describe("peft") == "peft >=0.10,<0.12 (setup.py)"
    assert found(repository).describe("torch") == "torch >=2 (setup.py)"
    assert found(repository).describe("datasets") is None


def test_setup_cfg(repository: Path) -> None:
    write(
        repository,
        "setup.cfg",
        "[options]\ninstall_requires =\n    trl==0.22.2  # pin\n    peft\n[options.extras_require]\ngpu = torch>=2\n",
    )
    assert found(repository).describe("trl") == "trl 0.22.2 (setup.cfg)"
    assert found(repository).describe("torch") == "torch >=2 (setup.cfg)"


def test_conda_environment(repository: Path) -> None:
    write(
        repository,
        "environment.yml",
        "dependencies:\n  - python=3.11\n  - pytorch=2.1\n  - conda-forge::peft>=0.5,<0.6\n  - accelerate==1.2.0=py_0\n"
        "  - pip\n  - pip:\n    - trl==0.22.2\n    - -r other.txt\n",
    )
    versions = found(repository)
    assert versions.describe("trl") == "trl 0.22.2 (environment.yml)"
    assert versions.affected("torch", ">=2.1,<2.2") is True
    assert versions.affected("peft", "<0.6") is True


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("%pip install trl==0.22.2", ["trl==0.22.2"]),
        ("!pip install -q -U 'trl>=0.20' peft", ["trl>=0.20", "peft"]),
        ("pip install --index-url https://x.org/simple trl==0.22.2", ["trl==0.22.2"]),
        ("!uv pip install trl==0.22.2 && ls peft", ["trl==0.22.2"]),
        ("!python -m pip install trl==0.22.2  # note", ["trl==0.22.2"]),
        ("!pip install git+https://github.com/huggingface/peft.git", ["peft"]),
        ("!pip install -r requirements.txt", []),
        ("!pip uninstall trl", []),
        ("!ls", []),
        ("!pip install 'unclosed", []),
    ],
)
def test_install_lines(line: str, names: list[str]) -> None:
    assert [f"{one.name}{one.specifier}" for one in install_line(line)] == names


# --- which source counts ----------------------------------------------------------------------------------------------


def test_settings_come_first(repository: Path) -> None:
    write(repository, "uv.lock", LOCK)
    finder = VersionFinder({"TRL": "0.24.0", "peft": ">=0.17", "torch": "2.1.*"})
    versions = finder.for_file(repository / "src" / "train.py", ["%pip install trl==0.1"])
    assert versions.describe("trl") == "trl 0.24.0 (target-versions)"
    assert versions.describe("peft") == "peft >=0.17 (target-versions)"
    assert versions.affected("torch", "<2.2") is True


def test_a_setting_that_is_no_version_is_an_error() -> None:
    with pytest.raises(InputError, match="target-versions: 'new' is no version or range for trl"):
        VersionFinder({"trl": "new"})


def test_lock_files_before_requirements_before_project(repository: Path) -> None:
    write(
        repository,
        "pyproject.toml",
        '[project]\nname = "own"\ndependencies = ["trl==0.1", "peft==0.1", "torch==1.0"]\n',
    )
    write(repository, "requirements.txt", "trl==0.2\npeft==0.2\n")
    write(repository, "uv.lock", '[[package]]\nname = "trl"\nversion = "0.3"\n')
    versions = found(repository)
    assert [versions.describe(name) for name in ("trl", "peft", "torch")] == [
        "trl 0.3 (uv.lock)",
        "peft 0.2 (requirements.txt)",
        "torch 1.0 (pyproject.toml)",
    ]


def test_the_nearest_folder_counts_and_names_without_versions_do_not_hide_others(repository: Path) -> None:
    write(repository, "uv.lock", LOCK)
    write(repository, "src/requirements.txt", "trl==0.24.0\n")
    assert found(repository).describe("trl") == "trl 0.24.0 (requirements.txt)"
    write(repository, "src/requirements.txt", "trl\n")
    assert found(repository).describe("trl") == "trl 0.22.2 (uv.lock)"
    write(repository, "src/requirements.txt", "trl>=0.20\n")
    assert found(repository).describe("trl") == "trl 0.22.2 (uv.lock)"
    write(repository, "src/requirements.txt", "trl>=0.23\n")
    assert found(repository).describe("trl") == "trl >=0.23 (requirements.txt)"


def test_lines_of_a_notebook_bind_it(repository: Path) -> None:
    write(repository, "uv.lock", LOCK)
    assert found(repository, "%pip install trl==0.24.0").describe("trl") == "trl 0.24.0 (pip install)"
    assert found(repository, "%pip install peft").newest_likely("peft")
    bare = found(
        repository, "%pip install trl"
    )  # on a fresh machine, where nothing of the project is installed, the newest
    assert bare.describe("trl") == "trl 0.22.2 or of any version (uv.lock)"
    assert bare.affected("trl", "<0.23") is None
    assert not bare.newest_likely("trl")


def test_the_search_stops_at_the_repository(repository: Path) -> None:
    inner = repository / "inner"
    (inner / ".git").mkdir(parents=True)
    write(repository, "uv.lock", LOCK)
    assert VersionFinder().for_file(inner / "train.py").describe("trl") is None


def test_without_a_repository_the_search_stops_at_the_root(tmp_path: Path) -> None:
    write(tmp_path, "uv.lock", LOCK)
    script = tmp_path / "a" / "b" / "train.py"
    assert VersionFinder().for_file(script).describe("trl") is None
    assert VersionFinder(root=tmp_path).for_file(script).describe("trl") == "trl 0.22.2 (uv.lock)"
    assert VersionFinder(root=tmp_path / "elsewhere").for_file(script).describe("trl") is None


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("uv.lock", "[[package"),
        ("uv.lock", 'package = "x"\n'),
        ("uv.lock", '[[package]]\nversion = "1"\n'),
        ("uv.lock", '[[package]]\nname = "trl"\nversion = "new"\n'),
        ("Pipfile.lock", "{"),
        ("Pipfile.lock", '{"default": []}'),
        ("pyproject.toml", "= 1"),
        ("pyproject.toml", "[project]\ndependencies = 1\n"),
        ("pyproject.toml", '[tool.poetry.dependencies]\ntrl = "^new"\n'),
        ("setup.cfg", "install_requires"),
        ("environment.yml", "a: [\n"),
        ("environment.yml", "- x\n"),
    ],
)
def test_broken_files_are_noted_and_ignored(repository: Path, name: str, content: str) -> None:
    write(repository, "requirements.txt", "trl==0.22.2\n")
    write(repository, name, content)
    versions = found(repository)
    assert versions.describe("trl") == "trl 0.22.2 (requirements.txt)"
    [note] = versions.notes
    assert note.startswith(f"{repository / name}: ignored for library versions: ")


def test_a_requirement_file_in_no_encoding_is_noted(repository: Path) -> None:
    (repository / "requirements.txt").write_bytes(b"trl==0.22.2 # \xff\n")
    assert len(found(repository).notes) == 1


def test_every_folder_is_read_once(repository: Path) -> None:
    write(repository, "uv.lock", LOCK)
    finder = VersionFinder()
    first = finder.for_file(repository / "src" / "a.py")
    (repository / "uv.lock").unlink()
    assert finder.for_file(repository / "src" / "b.py").describe("trl") == first.describe("trl")
    assert VersionFinder().for_file(repository / "src" / "b.py").describe("trl") is None
