"""Places of LibCST nodes are those that LibCST's own provider gives."""

from __future__ import annotations

from pathlib import Path

import libcst as cst
import pytest
from libcst.metadata import CodeRange, MetadataWrapper, PositionProvider

import lora_lint
from lora_lint.fix.edits import Lines
from lora_lint.fix.places import places

ODD = """
# a comment
@ decorate  # here
class A ( B , metaclass = M ) :

    x : int = ( 1
      + 2 ) ; y = [ * a , { ** b } ]  # more
    async def f (self, *, a = 1, **k ) -> None :
        if ( a ) : pass
        elif b : await ( c )
        else :
            with ( open ( p ) as q , r ) : return ( yield ( x ) )
        # at the end of the block
try : f'{x !r:>{w}}' "b"
except* E as e : raise X from ( None )
lambda * a , b = 1 : { k : v for k in ( b ) if c } [ a : b , ... ]
match x :
    case { "a" : [ 1 , * _ ] , ** rest } | A ( b = - 1 ) if z : del ( a ) , b
"""
TEXTS = [ODD, ODD.strip(), ODD.replace("\n", "\r\n"), "", "\n", "# only a comment", "x", "é = 'ü'; b = é"]


def _own(module: cst.Module, text: str, place: CodeRange) -> tuple[int, int]:
    lines = Lines(text)

    def offset(line: int, column: int) -> int:
        return lines.starts[line - 1] + column if line <= len(lines.starts) else len(text)

    return offset(place.start.line, place.start.column), offset(place.end.line, place.end.column)


@pytest.mark.parametrize("text", [*TEXTS, Path(lora_lint.__file__).with_name("pipeline.py").read_text("utf-8")])
def test_places_are_those_of_the_position_provider(text: str) -> None:
    module = cst.parse_module(text)
    told = MetadataWrapper(module, unsafe_skip_copy=True).resolve(PositionProvider)
    found = places(module)
    inner = [node for node in found.nodes if node is not module]
    assert {id(node) for node in inner} == {id(node) for node in told if node is not module}
    assert [found.spans[id(node)] for node in inner] == [_own(module, text, told[node]) for node in inner]


@pytest.mark.parametrize("text", TEXTS)
def test_parents_are_the_nodes_around(text: str) -> None:
    module = cst.parse_module(text)
    found = places(module)
    told = {id(child): node for node in found.nodes for child in node.children}
    assert all(found.parents[id(node)] is told[id(node)] for node in found.nodes if node is not module)
    assert id(module) not in found.parents
