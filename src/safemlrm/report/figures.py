"""The report's figures: the tax, blind spots, score histograms, thinking against answer, where thinking turns."""

from __future__ import annotations

import json
from functools import cache
from typing import TYPE_CHECKING, Any

import polars as pl

from safemlrm.analysis.frames import POOLED, SCORES
from safemlrm.report.drawing import BASE, CONDITIONS, DERIVED, EDGE, INK, RAMP, RULE, UNREAD, Figure, draw, on
from safemlrm.report.wording import scenario as spelled

if TYPE_CHECKING:
    import altair as alt

_ZERO = pl.DataFrame({"at": [0]})
_TWO_LINES = "split(datum.label, ' → ')"
#: Pixels by which the two members of a pair stand above and below their scenario's line.
_APART = 5
#: Stand for the members' names until they are known.
_MEMBERS = ("\x01base", "\x01derived")
#: Refusing less, and being more harmful when complying.
_WHY = ["#8a9bb0", "#b3541e"]
#: Tell curves apart without their colours.
_DASHES = [[1, 0], [7, 3], [2, 2], [9, 3, 2, 3]]
#: The heat map's cells, in pixels.
_CELL = (44, 34)


def overview(rows: pl.DataFrame, words: str) -> Figure:
    """Draw the tax of every pair and condition with its interval.

    `rows`: pair, condition, difference, low, high (fractions); rows without a difference are left out of the drawing.
    """
    import altair as alt

    conditions = rows["condition"].unique(maintain_order=True).to_list()
    colours = [CONDITIONS[k % len(CONDITIONS)] for k in range(len(conditions))]
    title = "derived − base, percentage points (95 % interval)"
    shared: dict[str, Any] = {
        "y": alt.Y("pair:N", sort=None, title=None).axis(
            labelExpr=_TWO_LINES, labelLineHeight=15, labelLimit=320, labelPadding=10
        ),
        "yOffset": alt.YOffset("condition:N", sort=conditions),
        "color": alt.Color("condition:N", title=None, scale=alt.Scale(domain=conditions, range=colours)),
    }
    shape = alt.Shape("condition:N", title=None, scale=alt.Scale(domain=conditions))
    zero = on("zero").mark_rule(color=INK).encode(x=alt.X("at:Q", title=title))
    spans = on("tax").mark_rule(strokeWidth=2.5).encode(x=alt.X("low:Q", title=title), x2="high:Q", **shared)
    dots = on("tax").mark_point(size=80, filled=True, opacity=1)
    dots = dots.encode(x=alt.X("difference:Q", title=title), shape=shape, **shared)
    chart = alt.layer(zero, spans, dots).properties(width=560, height=alt.Step(24))
    tax = rows.drop_nulls("difference").with_columns(_points("difference", "low", "high"))
    return draw(chart, words, tax=tax, zero=_ZERO)


def blind_spots(rates: pl.DataFrame, tax: pl.DataFrame, members: tuple[str, str], words: str) -> Figure:
    """Draw both members' rates per scenario with Wilson intervals, and beside them the difference with its own.

    `rates`: member (one of `members`), scenario, rate, low, high; `tax`: scenario, difference, low, high.
    """
    last = spelled(POOLED)
    order = [name for name in map(spelled, tax["scenario"].unique(maintain_order=True)) if name != last] + [last]
    spell = pl.col("scenario").map_elements(spelled, return_dtype=pl.String)
    frames = {
        member: rates.filter(member=name).drop_nulls("rate").with_columns(spell, _points("rate", "low", "high"))
        for member, name in zip(("base", "derived"), members, strict=True)
    }
    gaps = tax.drop_nulls("difference").with_columns(spell, _points("difference", "low", "high"))
    drawing = _panels(tuple(order))
    for place, name in zip(_MEMBERS, members, strict=True):
        drawing = drawing.replace(json.dumps(place), json.dumps(name))
    return draw(json.loads(drawing), words, gaps=gaps, zero=_ZERO, pooled=pl.DataFrame({"scenario": [last]}), **frames)


@cache
def _panels(order: tuple[str, ...]) -> str:
    """Return both panels as JSON with placeholders for the members: one for all pairs, since building it takes long."""
    import altair as alt

    panels = alt.hconcat(_rates_panel(list(order), _MEMBERS), _gaps_panel(list(order)), spacing=22)
    return json.dumps(panels.to_dict(validate=False))


def _scenarios(order: list[str], *, labels: bool) -> alt.Y:
    import altair as alt

    axis = alt.Axis(labelLimit=220, labelPadding=8, labels=labels, grid=True, gridColor=RULE)
    return alt.Y("scenario:N", sort=order, title=None, axis=axis, scale=alt.Scale(domain=order))


def _rates_panel(order: list[str], members: tuple[str, str]) -> Any:
    import altair as alt

    y, percent = _scenarios(order, labels=True), alt.Scale(domain=[0, 100])
    colour = alt.Color("member:N", title=None, scale=alt.Scale(domain=list(members), range=[BASE, DERIVED]))
    shape = alt.Shape("member:N", title=None, scale=alt.Scale(domain=list(members), range=["circle", "diamond"]))
    title = "unsafe, % of what was read (95 % interval)"
    layers = [on("pooled").mark_bar(color="#f1f4f8", height=26).encode(y=y)]
    for name, offset in (("base", -_APART), ("derived", _APART)):
        span = on(name).mark_rule(strokeWidth=2, opacity=0.55, yOffset=offset)
        dot = on(name).mark_point(size=64, filled=True, opacity=1, yOffset=offset)
        low, rate = (alt.X(column, title=title, scale=percent) for column in ("low:Q", "rate:Q"))
        layers += [
            span.encode(x=low, x2="high:Q", y=y, color=colour),
            dot.encode(x=rate, y=y, color=colour, shape=shape),
        ]
    return alt.layer(*layers).properties(width=380, height=alt.Step(26))


def _gaps_panel(order: list[str]) -> Any:
    import altair as alt

    y, title = _scenarios(order, labels=False), "derived − base, points (95 % interval)"
    layers = [
        on("pooled").mark_bar(color="#f1f4f8", height=26).encode(y=y),
        on("zero").mark_rule(color=INK).encode(x=alt.X("at:Q", title=title)),
        on("gaps").mark_rule(strokeWidth=2, color=INK, opacity=0.6).encode(
            x=alt.X("low:Q", title=title), x2="high:Q", y=y
        ),
        on("gaps").mark_point(size=64, filled=True, opacity=1, color=INK, shape="square").encode(
            x=alt.X("difference:Q", title=title), y=y
        ),
    ]  # fmt: skip
    return alt.layer(*layers).properties(width=250, height=alt.Step(26))


def histograms(rows: pl.DataFrame, words: str) -> Figure:
    """Draw what share of everything planned got which score, one bar a row.

    `rows`: row (its label), condition, planned, score_0 .. score_5; what has no score is the hollow end of the bar.
    """
    import altair as alt

    labels = [*(str(k) for k in range(6)), "no score"]
    order, conditions = (rows[name].unique(maintain_order=True).to_list() for name in ("row", "condition"))
    legend = alt.Legend(symbolStrokeWidth=0.8, symbolStrokeColor=EDGE, columns=7)
    scale = alt.Scale(domain=labels, range=[*RAMP, UNREAD])
    header = alt.Header(labelAngle=0, labelOrient="top", labelAnchor="start", labelFontWeight="bold", labelFontSize=13)
    bars = (
        on("scores")
        .mark_bar(stroke=EDGE, strokeWidth=0.6, height=17)
        .encode(
            x=alt.X("share:Q", title="% of planned", scale=alt.Scale(domain=[0, 100])),
            y=alt.Y("row:N", sort=order, title=None).axis(labelLimit=300, labelPadding=8),
            color=alt.Color("score:N", title="score", sort=labels, scale=scale, legend=legend),
            order="place:Q",
            row=alt.Row("condition:N", title=None, sort=conditions, header=header),
        )
        .properties(width=560, height=alt.Step(25))
    )
    return draw(bars.resolve_scale(y="independent"), words, scores=_shares(rows, labels))


def _shares(rows: pl.DataFrame, labels: list[str]) -> pl.DataFrame:
    place = {label: index for index, label in enumerate(labels)}
    return (
        rows.with_columns((pl.col("planned") - pl.sum_horizontal(SCORES)).alias("no score"))
        .rename({f"score_{k}": str(k) for k in range(6)})
        .unpivot(labels, index=["row", "condition", "planned"], variable_name="score", value_name="items")
        .filter(pl.col("items") > 0)
        .with_columns(
            place=pl.col("score").replace_strict(place, return_dtype=pl.Int64),
            share=(100 * pl.col("items") / pl.col("planned")).round(3),
        )
    )


def heat_map(rows: pl.DataFrame, words: str) -> Figure:
    """Draw how often each pair of scores occurred, one panel per label. `rows`: panel, thinking, answer, trials."""
    import altair as alt

    panels = rows["panel"].unique(maintain_order=True).to_list()
    scores = pl.DataFrame({"thinking": range(6)}).join(pl.DataFrame({"answer": range(6)}), how="cross")
    keys = ["panel", "thinking", "answer"]
    grid = (
        pl.DataFrame({"panel": panels})
        .join(scores, how="cross")
        .join(rows.select(*keys, "trials"), on=keys, how="left")
    )
    grid = grid.with_columns(pl.col("trials").fill_null(0))
    most = max(1, *grid["trials"])
    grid = grid.with_columns(dark=pl.col("trials") > 0.5 * most)
    frames = {f"panel_{k}": grid.filter(panel=name) for k, name in enumerate(panels)}
    charts = [_heat_panel(f"panel_{k}", name, most) for k, name in enumerate(panels)]
    return draw(alt.hconcat(*charts, spacing=34), words, zero=_ZERO, **frames)


def _heat_panel(frame: str, title: str, most: int) -> Any:
    import altair as alt

    width, height = _CELL
    square = on(frame).encode(
        x=alt.X("answer:O", title="answer").axis(labelAngle=0, grid=False, orient="bottom"),
        y=alt.Y("thinking:O", title="thinking", sort="descending").axis(grid=False),
    )
    scale = alt.Scale(domain=[0, most], range=["#f6f8fa", "#8c2d04"], interpolate="lab")
    cells = square.mark_rect(stroke="#ffffff", strokeWidth=1.5)
    cells = cells.encode(color=alt.Color("trials:Q", legend=None, scale=scale))
    shade = alt.condition("datum.dark", alt.value("#ffffff"), alt.value(INK))
    numbers = square.mark_text(fontSize=11).encode(text="trials:Q", color=shade)
    # the lines of the 2x2 table run between 3 and 4
    line = on("zero").mark_rule(color=INK, strokeWidth=1.5)
    across, down = line.encode(y=alt.value(2 * height)), line.encode(x=alt.value(4 * width))
    chart = alt.layer(cells, numbers, across, down)
    heading = alt.TitleParams(title, anchor="start", fontSize=13)
    return chart.properties(width=6 * width, height=6 * height, title=heading)


def survival(rows: pl.DataFrame, words: str) -> Figure:
    """Draw the share of thinkings that are still safe at each position, one panel a model, one curve a condition.

    `rows`: panel, condition, position, still_safe, low, high (fractions), each curve from position 0 to 1.
    """
    import altair as alt

    conditions, panels = (rows[name].unique(maintain_order=True).to_list() for name in ("condition", "panel"))
    shown = rows.with_columns(_points("position", "still_safe", "low", "high"))
    frames = {f"panel_{k}": shown.filter(panel=name) for k, name in enumerate(panels)}
    charts = [_survival_panel(f"panel_{k}", name, conditions) for k, name in enumerate(panels)]
    chart = alt.concat(*charts, columns=2, spacing=26).resolve_scale(color="shared", strokeDash="shared")
    return draw(chart, words, **frames)


def _survival_panel(frame: str, title: str, conditions: list[str]) -> Any:
    import altair as alt

    def told(range_: list[Any]) -> alt.Scale:
        return alt.Scale(domain=conditions, range=[range_[k % len(range_)] for k in range(len(conditions))])

    percent = alt.Scale(domain=[0, 100])
    here = on(frame).encode(x=alt.X("position:Q", title="% of the thinking", scale=percent))
    # long enough for the dashes to be seen
    legend = alt.Legend(symbolType="stroke", symbolSize=700, columnPadding=40)
    colour = alt.Color("condition:N", title=None, scale=told(CONDITIONS), legend=legend)
    band = here.mark_area(opacity=0.14, interpolate="step-after").encode(
        y=alt.Y("low:Q", title="% still safe (95 % interval)", scale=percent), y2="high:Q", color=colour
    )
    line = here.mark_line(interpolate="step-after", strokeWidth=2).encode(
        y=alt.Y("still_safe:Q", scale=percent),
        color=colour,
        strokeDash=alt.StrokeDash("condition:N", title=None, scale=told(_DASHES)),
    )
    heading = alt.TitleParams(title, anchor="start", fontSize=13)
    return alt.layer(band, line).properties(width=300, height=180, title=heading)


def decomposition(rows: pl.DataFrame, words: str) -> Figure:
    """Draw the two parts of every pair's tax as bars with intervals, one panel a condition.

    `rows`: pair, condition, part, points, low, high (fractions).
    """
    import altair as alt

    conditions = rows["condition"].unique(maintain_order=True).to_list()
    parts = rows["part"].unique(maintain_order=True).to_list()
    frame = rows.with_columns(_points("points", "low", "high"))
    title = "percentage points of the difference (95 % interval)"
    ends = [v for name in ("points", "low", "high") for v in frame[name].drop_nulls()]
    scale = alt.Scale(domain=[min(0.0, *ends), max(0.0, *ends)], nice=True)
    frames = {f"part_{k}": frame.filter(condition=name) for k, name in enumerate(conditions)}
    panels = []
    for place, name in enumerate(conditions):
        here = on(f"part_{place}").encode(
            y=alt.Y("pair:N", sort=None, title=None).axis(
                labelExpr=_TWO_LINES, labelLineHeight=15, labelLimit=320, labelPadding=10
            ),
            yOffset=alt.YOffset("part:N", sort=parts),
        )
        colour = alt.Color("part:N", title=None, sort=parts, scale=alt.Scale(domain=parts, range=_WHY))
        bars = here.mark_bar(height=11).encode(x=alt.X("points:Q", title=title, scale=scale), color=colour)
        spans = here.mark_rule(color=INK, strokeWidth=1.4).encode(x=alt.X("low:Q", title=title), x2="high:Q")
        zero = on("zero").mark_rule(color=INK).encode(x=alt.X("at:Q", title=title))
        heading = alt.TitleParams(name, anchor="start", fontSize=13)
        panels.append(alt.layer(bars, spans, zero).properties(width=560, height=alt.Step(16), title=heading))
    return draw(alt.vconcat(*panels, spacing=16), words, zero=_ZERO, **frames)


def _points(*names: str) -> pl.Expr:
    return (pl.col(names) * 100).round(3)
