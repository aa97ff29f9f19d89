"""Cases of the matrix on four virtual devices: run by tests/test_matrix.py.

matrix_meshes.py few                the pairwise cases that have a mesh
matrix_meshes.py some COUNT SEED    so many of the full product
"""

import sys
import traceback
import warnings
from pathlib import Path

import jax

sys.path.insert(0, str(Path(__file__).parent.parent / "support"))
import matrix  # noqa: E402
import matrix_cases  # noqa: E402


def main(which, *numbers):
    assert jax.device_count() == 4
    warnings.simplefilter("error")  # such as: a donated buffer was not used
    cases = (
        matrix_cases.few() if which == "few" else matrix_cases.some(*map(int, numbers))
    )
    failed = []
    for name, case in cases.items():
        if case["mesh"] == "one":
            continue
        try:
            matrix.check(case)
        except Exception:
            failed.append(name)
            print(f"--- {name}\n{traceback.format_exc()}")
    print("failed: " + "; ".join(failed) if failed else "ok")


if __name__ == "__main__":
    main(*sys.argv[1:])
