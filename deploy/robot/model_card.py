"""MODEL_CARD.md: what the policy can do, where it fails and how it was made, for whoever finds the bundle alone."""

from __future__ import annotations

from collections.abc import Sequence

from deploy.reporting.factors import FactorsReport
from deploy.robot.runtime.contract import Contract
from deploy.runs.report import Report
from deploy.runs.results import EvaluationResult

_PLACES = {"train": "training visuals", "held_out": "held-out visuals"}


def model_card(contract: Contract, report: Report | None, factors: FactorsReport | None) -> str:
    """The card in Markdown.

    Args:
        contract: of the bundle.
        report: of the run; None: it is not finished.
        factors: with each factor held out alone; None: that was not judged.
    """
    origin, action, camera = contract.origin, contract.action, contract.camera
    entries = ", ".join(f"{entry.name} ({entry.kind}, {entry.low:g} to {entry.high:g} m)" for entry in action.entries)
    surprise, arm = contract.surprise, contract.arm
    given = "image, proprioception" if contract.proprioception else "image"
    return "\n".join(
        [
            f"# {contract.task}: a policy that sees one camera",
            "",
            f"Run {origin.run_id}, seed {origin.seed}, {origin.step:,} environment steps, {origin.teacher_updates:,} "
            f"teacher and {origin.student_updates:,} student updates; twist {origin.twist}. Trained and judged in "
            "simulation alone: **no real arm has run this policy.**",
            *(
                [f"Its student was fitted to a recording of bundle {origin.adapted_from[:12]}."]
                if origin.adapted_from
                else []
            ),
            "",
            "## What it can do",
            "",
            *_results(report.evaluations if report is not None else ()),
            "",
            "## Where it fails",
            "",
            *_factors(factors),
            "",
            "## What it takes and gives",
            "",
            f"- One picture, {camera.width}x{camera.height} {camera.channels}, {action.rate_hz} times a second, from "
            f"{_vector(camera.eye_m)} m towards {_vector(camera.aim_m)} m, {camera.field_of_view_deg:g} degrees; "
            f"trained with up to {1e3 * camera.trained.eye_offset_m:g} mm beside that.",
            *(
                [f"- Beside it what the arm measures: {', '.join(contract.proprioception)}."]
                if contract.proprioception
                else []
            ),
            f"- Pictures up to {1e3 * contract.latency.oldest_frame_s:g} ms old.",
            f"- An arm that trails its target by {1e3 * arm.lag_s[0]:g} to {1e3 * arm.lag_s[1]:g} ms, with "
            f"{100 * arm.speed_share[0]:g} to {100 * arm.speed_share[1]:g} % of a Panda's joint speeds and "
            f"{100 * arm.acceleration_share[0]:g} to {100 * arm.acceleration_share[1]:g} % of their accelerations.",
            f"- An action: {entries}. Frame: {action.frame}.",
            f"- It stops where surprise is above {surprise.threshold:.2f} nats for {surprise.steps} steps in a row: "
            f"{surprise.false_stops_per_hour:g} times an hour in {surprise.episodes} normal episodes that the "
            "threshold was not chosen by; and where picture and arm disagree about the gripper for as long, "
            f"{contract.agreement.false_stops_per_hour:g} times an hour; and where pictures are unlike normal ones, "
            f"{contract.strangeness.false_stops_per_hour:g} times an hour.",
            "",
            "    from twist_runtime import load",
            f'    policy = load("."); policy.reset(); action = policy.select_action({given})  # {contract.name}',
            "",
        ]
    )


def _results(results: Sequence[EvaluationResult]) -> list[str]:
    if not results:
        return ["Not judged: there was no report of these weights when this was made."]
    rows = [
        f"| {each.policy} | {_PLACES.get(each.domain, each.domain)} | {100 * each.success:.1f} % | "
        f"{100 * each.interval[0]:.1f} to {100 * each.interval[1]:.1f} % | {each.episodes} |"
        for each in results
        if each.policy == "student"
    ]
    return ["| policy | worlds | success | 95 % interval | episodes |", "|---|---|---|---|---|", *rows]


def _factors(factors: FactorsReport | None) -> list[str]:
    if factors is None:
        return ["Not judged factor by factor (`twist factors RUN` does it)."]
    conditions = {"training visuals": factors.train, **factors.factors, "all of the held-out domain": factors.held_out}
    rows = [
        f"| {name} | {100 * each.success:.1f} % | {100 * each.interval[0]:.1f} to {100 * each.interval[1]:.1f} % |"
        for name, each in conditions.items()
    ]
    return ["| held out | success | 95 % interval |", "|---|---|---|", *rows]


def _vector(values: Sequence[float]) -> str:
    return "(" + ", ".join(f"{value:g}" for value in values) + ")"
