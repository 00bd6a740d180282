"""A report as one SVG: how long studies of each true class wait, and how many are open, a line a policy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from pipeline.simulation.department.report import PolicyReport, Report

# Okabe and Ito (2008): told apart with any colour vision; further policies repeat them dashed
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_WIDTH, _HEIGHT, _LEFT, _TOP, _GAP = 430, 240, 60, 60, 90
_LEAST = 0.001
_INK = "#444"


def svg(report: Report) -> str:
    """A document of its own, for light ground."""
    classes = list(report.policies[0].by_disease) if report.policies else []
    panels = [_waits(report, name) for name in classes] + [_open(report)]
    rows = math.ceil(len(panels) / 2)
    width, height = 2 * (_WIDTH + _GAP) + 20, _TOP + rows * (_HEIGHT + _GAP) + 22 * math.ceil(len(report.policies) / 3)
    body = [_text(20, 28, f"{report.title} ({report.studies:,} studies, load {report.load:.2f})", "start", 16)]
    for n, panel in enumerate(panels):
        x, y = _LEFT + (n % 2) * (_WIDTH + _GAP), _TOP + n // 2 * (_HEIGHT + _GAP)
        body.append(f'<g transform="translate({x} {y})">{panel}</g>')
    body.append(_legend(report.policies, width, _TOP + rows * (_HEIGHT + _GAP) - 20))
    label = escape(f"Waiting times of scenario {report.scenario}, by true class and policy")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" '
        f'font-family="system-ui, sans-serif"><title>{label}</title><rect width="100%" height="100%" fill="white"/>'
        + "\n".join(body)
        + "</svg>\n"
    )


def _waits(report: Report, name: str) -> str:
    """Share of the studies that wait longer, on a logarithmic scale: the tail is what harms."""
    curves = [(policy, policy.by_disease[name].curve) for policy in report.policies if name in policy.by_disease]
    longest = _round_up(max(max(curve) for _, curve in curves))
    lines = []
    for policy, curve in curves:
        points = [
            (_WIDTH * wait / longest, _HEIGHT * math.log(1 - share) / math.log(_LEAST))
            for share, wait in zip(report.shares, curve, strict=True)
            if 1 - share >= _LEAST * 0.999
        ]
        lines.append(_line(points, _style(report, policy)))
    marks = [(_HEIGHT * n / 3, f"{100 / 10**n:g} %") for n in range(4)]
    return _frame(f"{name}: share that waits longer", longest, "minutes", marks) + "".join(lines)


def _open(report: Report) -> str:
    last = max(policy.open_studies.minutes[-1] for policy in report.policies) or 1.0
    most = _round_up(max(max(policy.open_studies.trace) for policy in report.policies) or 1)
    lines = []
    for policy in report.policies:
        trace = zip(policy.open_studies.minutes, policy.open_studies.trace, strict=True)
        lines.append(_line([(_WIDTH * at / last, _HEIGHT * (1 - count / most)) for at, count in trace], _style(report, policy)))
    marks = [(_HEIGHT * (1 - n / 4), f"{most * n / 4:g}") for n in range(5)]
    return _frame("studies not yet read", last / 60, "hours", marks) + "".join(lines)


def _frame(title: str, longest: float, unit: str, marks: Sequence[tuple[float, str]]) -> str:
    parts = [_text(0, -8, title, "start", 13)]
    for y, label in marks:
        parts.append(f'<path d="M0 {y:.1f}H{_WIDTH}" stroke="#ddd"/>' + _text(-6, y + 4, label, "end"))
    for n in range(5):
        unit_label = f" {unit}" if n == 4 else ""
        parts.append(_text(_WIDTH * n / 4, _HEIGHT + 16, f"{longest * n / 4:.0f}{unit_label}", "middle"))
    return "".join(parts) + f'<path d="M0 0V{_HEIGHT}H{_WIDTH}" fill="none" stroke="{_INK}"/>'


def _legend(policies: Sequence[PolicyReport], width: int, top: int) -> str:
    parts = []
    for n, policy in enumerate(policies):
        x, y = _LEFT + n % 3 * (width - _LEFT) / 3, top + n // 3 * 22
        parts.append(f'<path d="M{x:.0f} {y}h26" fill="none" {_stroke(n)}/>' + _text(x + 32, y + 4, policy.name, "start", 12))
    return "".join(parts)


def _style(report: Report, policy: PolicyReport) -> str:
    return _stroke(report.policies.index(policy))


def _stroke(n: int) -> str:
    dash = "" if n < len(_COLOURS) else ' stroke-dasharray="6 3"'
    return f'stroke="{_COLOURS[n % len(_COLOURS)]}" stroke-width="1.8"{dash}'


def _line(points: Sequence[tuple[float, float]], style: str) -> str:
    return f'<polyline fill="none" {style} points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in points)}"/>'


def _text(x: float, y: float, words: str, anchor: str, size: int = 11) -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}" font-size="{size}" text-anchor="{anchor}" fill="{_INK}">{escape(words)}</text>'


def _round_up(value: float) -> float:
    """To 1, 2, 4 or 8 times a power of ten, so that quarters are short numbers."""
    power = 10.0 ** math.floor(math.log10(value)) if value > 0 else 1.0
    return next(factor * power for factor in (1, 2, 4, 8, 10) if value <= factor * power * (1 + 1e-9))
