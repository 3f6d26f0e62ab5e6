"""Decodes mutated answers of all operations: the samples of the reference page with other
types, nulls, nesting, truncation and encodings.

    python benchmarks/mutations.py [--count 1000000] [--seed 0]

Each answer must become the struct of its operation, which can be encoded and decoded
again without a difference, or an error of the SDK. No decoding may take more than 10 ms
of CPU time of its thread, best of three. The exit code is 1 if one of that is not so.
"""

import argparse
import sys
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
from support.mutations import problems


def main() -> int:
    """Print the results."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    kinds: Counter[str] = Counter()
    wrong = 0
    for each in problems(options.count, options.seed, kinds):
        wrong += 1
        if wrong <= 20:
            print(each)
    for kind, count in kinds.most_common():
        print(f"{count:>9,}  {kind}")
    print(f"{wrong:>9,}  problems")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
