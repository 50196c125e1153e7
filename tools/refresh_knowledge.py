"""Shows what a package index tells differently from the tables of gpudoctor/knowledge, and with --write changes them.

    pip install -e '.[refresh]'
    python tools/refresh_knowledge.py [--table NAME]... [--cache DIR] [--write]

The index is the one that pip is configured for. New releases get rows; rows of known ones are kept (people have those
releases), but for the Pythons that have wheels. What a person keeps is not touched: drivers, GPUs, nvcc, forward
compatibility, CUDA variants, tested combinations, families of colliding wheels. What cannot be read stays as it is and
is named as not refreshed.

Exit codes: 0 no difference, or written; 1 there is a difference; 3 the index, or a part of it, could not be read.
"""

import argparse
import copy
import datetime
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence

try:
    from refresh.companions import companions, triton
    from refresh.cuda_wheels import cuda_components, cudnn, wheel_collisions
    from refresh.frameworks import cupy, jax, onnxruntime, tensorflow, torch
    from refresh.index import Index, Unreachable, Unreadable, configured_index
    from refresh.releases import Left
    from refresh.rows import Table, as_text, differences
except ModuleNotFoundError as missing:
    print(f"{missing.name} is not installed: pip install -e '.[refresh]'", file=sys.stderr)
    sys.exit(3)

KNOWLEDGE = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "gpudoctor", "knowledge")

Renew = Callable[[Table, Index, int], Iterator[Left]]
TABLES: dict[str, Renew] = {
    "torch": torch,
    "tensorflow": tensorflow,
    "jax": jax,
    "onnxruntime": onnxruntime,
    "cupy": cupy,
    "cudnn": cudnn,
    "cuda_components": cuda_components,
    "companions": companions,
    "triton": triton,
    "wheel_collisions": wheel_collisions,
}


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options().parse_args(arguments)
    url, certificates = (options.index_url, "") if options.index_url else configured_index()
    try:
        index = Index(url, cache=options.cache, pause=options.pause, most=options.most, certificates=certificates)
    except Unreachable as reason:
        print(reason, file=sys.stderr)
        return 3
    today = datetime.date.today().isoformat()
    different = failed = False
    for name in dict.fromkeys(options.table or TABLES):
        path = os.path.join(options.knowledge, f"{name}.json")
        with open(path, encoding="utf-8") as file:
            old: Table = json.load(file)
        new = copy.deepcopy(old)
        try:
            left = list(TABLES[name](new, index, options.again))
        except Unreadable as reason:
            print(f"{name}: {reason}; the table stays as it is.", file=sys.stderr)
            failed = True
            continue
        except Unreachable as reason:
            print(f"{reason} From {name} on the tables stay as they are.", file=sys.stderr)
            failed = True
            break
        lines = list(differences(old, new))
        print(f"{name} ({old['date']}): {len(lines) or 'no'} {'difference' if len(lines) == 1 else 'differences'}")
        print("".join(f"  {line}\n" for line in lines), end="")
        for one in left:
            print(f"  {'kept by hand' if one.by_hand else 'not refreshed'}: {one.what}")
        different = different or bool(lines)
        if lines and options.write:
            # A table that was read only in part keeps its date, so that nobody takes it for complete.
            if all(one.by_hand for one in left):
                new["date"] = today
            with open(f"{path}.new", "w", encoding="utf-8") as file:
                file.write(as_text(new))
            os.replace(f"{path}.new", path)
    print(f"{index.requests_made} requests to {index.shown} and the place of its files")
    return 3 if failed else 1 if different and not options.write else 0


def _options() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--table", action="append", choices=TABLES, help="only this table; may be given again")
    options.add_argument("--write", action="store_true", help="change the tables instead of only showing how")
    options.add_argument("--cache", default="", metavar="DIR", help="keep there what was read, and take it from there")
    options.add_argument("--index-url", default="", metavar="URL", help="instead of the index that pip uses")
    options.add_argument("--again", type=int, default=0, metavar="N", help="read the newest N known releases again")
    options.add_argument("--pause", type=float, default=0.5, metavar="S", help="seconds between requests (%(default)s)")
    options.add_argument("--most", type=int, default=300, metavar="N", help="no more than N requests (%(default)s)")
    options.add_argument("--knowledge", default=KNOWLEDGE, metavar="DIR", help=argparse.SUPPRESS)
    return options


if __name__ == "__main__":
    sys.exit(main())
