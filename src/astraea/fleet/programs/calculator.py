"""``calculator.py LEFT OPERATOR RIGHT``: whole numbers, and nothing is evaluated that is not one of four operators."""

import operator
import sys

_OPERATORS = {"+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.floordiv}

if __name__ == "__main__":
    left, sign, right = sys.argv[1:]
    sys.stdout.write(f"{_OPERATORS[sign](int(left), int(right))}\n")
