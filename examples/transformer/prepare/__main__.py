"""Command: `python -m examples.transformer.prepare --help`."""

import argparse
import os
import sys
import time
from pathlib import Path

from ..core.settings import InputError
from ..core.token_file import Prepared, check_files, open_prepared
from .documents import Source
from .prepare import prepare
from .settings import Settings


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m examples.transformer.prepare",
        description="Make tokens on disk from text, for train --data OUTPUT. After an "
        "interruption the same command goes on.",
        formatter_class=lambda prog: argparse.HelpFormatter(prog, max_help_position=28),
    )
    add = parser.add_argument
    add(
        "--data",
        metavar="SOURCE",
        help="text file, folder of text files, or hf:NAME or hf:NAME:CONFIG of a "
        "Hugging Face dataset (needs the package datasets and a network); files in "
        ".jsonl hold an object on each line; default: the source code of this Python's "
        "standard library",
    )
    add("--output", metavar="FOLDER", help="folder of the tokens, which train reads")
    add(
        "--tokenizer",
        default=Settings.tokenizer,
        metavar="TEXT",
        help="bytes, train (a byte-pair tokenizer, on the text) or the path of a "
        "tokenizer.json [%(default)s]",
    )
    add(
        "--vocab-size",
        type=int,
        default=Settings.vocab_size,
        metavar="N",
        help="tokens of the tokenizer that is trained [%(default)s]",
    )
    add(
        "--train-bytes",
        type=int,
        default=Settings.train_bytes,
        metavar="N",
        help="text that it is trained on, from all over the source [%(default)s]",
    )
    add(
        "--end-token",
        metavar="TEXT",
        help="name of the token that ends a document, in a tokenizer.json that calls "
        "it otherwise than others do",
    )
    add(
        "--separator",
        metavar="TEXT",
        help=r"text between the documents of a file, such as '\n\n'; without it each "
        "file of a folder is a document, and a single file is cut into documents of "
        "64 KiB",
    )
    add(
        "--field",
        default="text",
        metavar="TEXT",
        help="field that holds the text, in JSON lines and datasets [%(default)s]",
    )
    add(
        "--split",
        default="train",
        metavar="TEXT",
        help="split of a dataset [%(default)s]",
    )
    add(
        "--heldout-fraction",
        type=float,
        default=Settings.heldout_fraction,
        metavar="X",
        help="share of the documents to hold out; which ones depends on a hash of "
        "each document [%(default)s]",
    )
    add(
        "--shard-tokens",
        type=int,
        default=Settings.shard_tokens,
        metavar="N",
        help="most tokens in a file [%(default)s]",
    )
    add(
        "--workers",
        type=int,
        metavar="N",
        help="threads that encode byte pairs; default: one for each core",
    )
    add("--overwrite", action="store_true", help="replace prepared tokens")
    add(
        "--check",
        metavar="FOLDER",
        help="instead, read all prepared tokens and compare their checksums",
    )
    return parser


def main(arguments: list[str] | None = None) -> int:
    parser = make_parser()
    options = parser.parse_args(arguments)
    try:
        if options.check:
            return check(Path(options.check).expanduser())
        if not options.output:
            parser.error("name the folder of the tokens with --output")
        if options.workers:  # read by the tokenizers library when it starts
            os.environ["RAYON_NUM_THREADS"] = str(options.workers)
        began = time.perf_counter()
        separator = options.separator and unescaped(options.separator)
        settings = Settings(
            Source(options.data, separator, options.field, options.split),
            tokenizer=options.tokenizer,
            vocab_size=options.vocab_size,
            train_bytes=options.train_bytes,
            end_token=options.end_token,
            heldout_fraction=options.heldout_fraction,
            shard_tokens=options.shard_tokens,
        )
        prepared = prepare(
            settings,
            Path(options.output).expanduser(),
            overwrite=options.overwrite,
            say=lambda line: print(line, flush=True),
        )
        print(describe(prepared))
        print(f"Took {time.perf_counter() - began:.0f} s")
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted: the same command goes on", file=sys.stderr)
        return 130
    return 0


def unescaped(text: str) -> str:
    return text.replace("\\n", "\n").replace("\\t", "\t")


def describe(prepared: Prepared) -> str:
    lines = []
    for split, name in (("train", "training"), ("heldout", "held out")):
        about = prepared.header["splits"][split]
        files = len(about["files"])
        lines.append(
            f"{name}: {about['tokens']:,} tokens of {about['bytes']:,} bytes in "
            f"{about['documents']:,} documents, {files} file{'s' * (files > 1)} of "
            f"{prepared.header['dtype']}"
        )
    size = f"{prepared.tokenizer.vocab_size:,} tokens"
    lines.append(f"tokenizer: {size}; train with --data {prepared.folder}")
    return "\n".join(lines)


def check(folder: Path) -> int:
    problems = check_files(open_prepared(folder))
    for problem in problems:
        print(f"error: {folder}: {problem}", file=sys.stderr)
    if not problems:
        print(f"{folder}: every file is as it was written")
    return 2 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
