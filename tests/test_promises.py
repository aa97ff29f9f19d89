"""The page of promises is what the table says, and the tests it names exist."""

import ast
from pathlib import Path

import pytest
import write_promises
from promises import PROMISES

TESTS = Path(__file__).parent
NAMED = sorted({test for promise in PROMISES for test in promise.tests})


def names_of_tests(file: str) -> set[str]:
    tree = ast.parse((TESTS / file).read_text())
    names = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    return {name for name in names if name.startswith("test_")}


@pytest.mark.parametrize("test", NAMED)
def test_the_tests_of_a_promise_exist(test):
    file, _, name = test.partition("::")
    assert names_of_tests(file)
    assert not name or name in names_of_tests(file)


def test_the_page_is_up_to_date():
    message = "run python tests/tools/write_promises.py"
    assert write_promises.PAGE.read_text() == write_promises.page(), message


def test_each_promise_is_said_once_and_has_tests():
    assert len({promise.text for promise in PROMISES}) == len(PROMISES)
    for promise in PROMISES:
        assert promise.tests, promise.text
        assert "|" not in promise.text + promise.gap
