#!/usr/bin/env python3
"""Puts figures into target/figures.json, one flat map: figures.py NAME=VALUE..."""

import json
import pathlib
import sys


def put(figures):
    path = pathlib.Path(__file__).resolve().parent.parent / "target" / "figures.json"
    path.parent.mkdir(exist_ok=True)
    known = json.loads(path.read_text()) if path.exists() else {}
    known.update(figures)
    path.write_text(json.dumps(known, indent=2, sort_keys=True) + "\n")


if __name__ == "__main__":
    pairs = (argument.split("=", 1) for argument in sys.argv[1:])
    put({name: float(value) if "." in value else int(value) for name, value in pairs})
