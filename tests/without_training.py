"""Loaded by ``run.py test --no-training``: tests that need the training extra are skipped.

A module or test that fails because one of these packages is not installed counts as skipped,
with the reason; any other failure stays a failure.
"""

from __future__ import annotations

from collections.abc import Generator

import pytest

TRAINING = (
    "torch",
    "monai",
    "lightning",
    "safetensors",
    "onnx",
    "onnxscript",
    "tensorboard",
    "blosc2",
    "matplotlib",
    "submitit",
    "optuna",
)


def _missing(error: BaseException | None) -> str | None:
    """Return which training package an exception, or one behind it, says is missing."""
    while error is not None:
        if isinstance(error, ModuleNotFoundError):
            name = (error.name or "").partition(".")[0]
            return name if name in TRAINING else None
        error = error.__cause__ or error.__context__
    return None


def _reason(name: str) -> str:
    return f"Skipped: {name} is not installed (run.py test --no-training)"


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    text = str(report.longrepr)
    if report.outcome == "failed":
        for name in TRAINING:
            if f"No module named '{name}'" in text or f"No module named '{name}." in text:
                report.outcome = "skipped"
                report.longrepr = (str(collector.path), 0, _reason(name))
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    name = _missing(call.excinfo.value) if call.excinfo is not None else None
    if report.outcome == "failed" and name is not None:
        report.outcome = "skipped"
        report.longrepr = (str(item.path), item.location[1] or 0, _reason(name))
    return report
