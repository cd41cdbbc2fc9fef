"""How large a configuration may be. The largest of the Model Zoo stay far below each of these."""

from __future__ import annotations

from typing import Any

from pipeline.config.refusal import ConfigRefused

LARGEST_JSON_BYTES = 1_000_000
#: YAML is parsed in Python, some twenty times slower than JSON
LARGEST_YAML_BYTES = 200_000
#: values and containers of a document, macros expanded
MOST_NODES = 50_000
#: containers within containers, and references to references
DEEPEST = 40
LONGEST_STRING = 20_000
LONGEST_EXPRESSION = 4_000
#: syntax within syntax; Python's own parser stops near 90
DEEPEST_EXPRESSION = 40
#: items of a string, list, tuple, set or dictionary that an expression makes
LARGEST_SEQUENCE = 20_000
#: magnitude of a whole number that an expression makes
LARGEST_INTEGER = 2**63
#: elements of a tensor that an operator of an expression makes by broadcasting
LARGEST_TENSOR = 2**31
#: an argument of a network: beyond lie no widths or depths, but attempts to exhaust the machine
LARGEST_ARGUMENT = 8192
#: nodes evaluated for all expressions of a document, or for one call of a lambda later
MOST_STEPS = 100_000
#: calls of lambdas within calls of lambdas
DEEPEST_CALL = 8

#: characters that cost one step more
_LINE = 100


class Budget:
    """What an evaluation may still spend: one step a node, one an item or a line of text read."""

    def __init__(self, steps: int = MOST_STEPS) -> None:
        self._left = steps
        self.calls = 0

    def spend(self, steps: int = 1) -> None:
        """Take steps.

        Raises:
            ConfigRefused: there are none left.

        """
        self._left -= steps
        if self._left < 0:
            raise ConfigRefused("the expressions take too many steps")

    def weigh(self, value: Any) -> None:
        """Spend a step for every item inside, so that no shared container is walked for free.

        Ten lists of ten references to the next one are small in memory and endless to compare.

        Raises:
            ConfigRefused: a number, text or container is too large, or the steps are used up.

        """
        waiting = [value]
        while waiting:
            self.spend()
            item = waiting.pop()
            if isinstance(item, int) and abs(item) > LARGEST_INTEGER:
                raise ConfigRefused(f"an expression makes a whole number beyond {LARGEST_INTEGER}")
            if not isinstance(item, str | list | tuple | set | frozenset | dict):
                continue
            if isinstance(item, str):
                self.spend(len(item) // _LINE)
            if len(item) > LARGEST_SEQUENCE:
                raise ConfigRefused(f"an expression makes more than {LARGEST_SEQUENCE} items")
            if isinstance(item, dict):
                waiting.extend(item)
                waiting.extend(item.values())
            elif not isinstance(item, str):
                waiting.extend(item)
