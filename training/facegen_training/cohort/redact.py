"""Reasons without names: what is written about a scan that was refused.

Sentences of the program may quote files, series and patients.  Of such a sentence only words
remain that the program's own sentences are made of, and short numbers; everything else becomes
an ellipsis.  What is known of the scan (its path, patient and series) is taken out first.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable

GAP = "…"
_WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")
_NUMBER = re.compile(r"[+\-−]?\d{1,4}(?:\.\d{1,3})?(?:×\d{1,4}(?:\.\d{1,3})?)*(?:mm|HU|GB|%|°)?")
_EDGES = "\"'“”‘’()[]{}<>.,;:!?"


@cache
def vocabulary() -> frozenset[str]:
    """Return the words of all sentences in inference's and training's code, in small letters."""
    words: set[str] = set()
    for package in ("facegen_inference", "facegen_training"):
        for source in _modules(files(package)):
            tree = ast.parse(source.read_text(encoding="utf-8"))
            for text in _sentences(tree):
                words.update(word.casefold() for word in _WORD.findall(text))
    return frozenset(words)


def _modules(folder: Traversable) -> Iterator[Traversable]:
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _modules(entry)
        elif entry.name.endswith(".py"):
            yield entry


def _sentences(tree: ast.AST) -> Iterator[str]:
    """Yield the string constants of code, docstrings left out."""
    docstrings = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for node in ast.walk(tree):
        text = node.value if isinstance(node, ast.Constant) else None
        if isinstance(text, str) and id(node) not in docstrings:
            yield text


def without_names(sentence: str, known: Iterable[str] = ()) -> str:
    """Return a sentence in which no name, path or identifier is left.

    Parameters
    ----------
    sentence
        Of a `UserError`.
    known
        Texts that must not appear as words of their own, whatever they consist of; their parts
        neither, single letters excepted.  Inside other words they are no word of the program's.
    """
    parts = {part.strip() for text in known for part in (text, *re.split(r"[\^/\\]", text))}
    for text in sorted((part for part in parts if len(part) > 1), key=len, reverse=True):
        whole = rf"(?<!\w){re.escape(text)}(?!\w)"
        sentence = re.sub(whole, f" {GAP} ", sentence, flags=re.IGNORECASE)
    kept: list[str] = []
    for token in sentence.split():
        if token == GAP and kept and kept[-1] == GAP:
            continue
        if _harmless(token):
            kept.append(token)
        elif kept and kept[-1] == GAP:
            kept[-1] = GAP + _ending(token)
        else:
            kept.append(GAP + _ending(token))
    return re.sub(r" ([.,;:!?])(?= |$)", r"\1", " ".join(kept))


def _harmless(token: str) -> bool:
    core = token.strip(_EDGES)
    if not any(sign.isalnum() for sign in core) or _NUMBER.fullmatch(core):
        return True
    return bool(_WORD.fullmatch(core)) and core.casefold() in vocabulary()


def _ending(token: str) -> str:
    """Return the punctuation with which a token ends a sentence or part of one."""
    return token[-1] if token[-1] in ".,;:" else ""
