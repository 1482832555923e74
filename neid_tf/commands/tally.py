"""What a command over many files tells of each, and of all."""

import collections
import contextlib
import traceback
from collections.abc import Iterator

from neid_tf.commands import common, terminal
from neid_tf.jobs.outcome import Outcome
from neid_tf.jobs.plan import Plan
from neid_tf.jobs.transfer import Skipped
from neid_tf.support.errors import FileError


class Tally:
    """Tells and counts what became of inputs.

    Args:
        output: where they were written to.
        plan: its failures are told at once, what it left out at the end.
    """

    def __init__(self, output: str, plan: Plan) -> None:
        self.output, self.plan, self.counts = output, plan, collections.Counter()
        self._tell_failures(plan)

    def add(self, plan: Plan) -> None:
        """Take a further plan: its failures are told at once, what it left out at the end."""
        self._tell_failures(plan)
        self.plan.left_out += plan.left_out

    def _tell_failures(self, plan):
        for name, reason in plan.failures:
            self.counts["failed"] += 1
            terminal.report(str(FileError(name, reason)))

    def note(self, outcome: Outcome) -> bool:
        """Take what became of a job.

        Returns:
            Whether the job failed.
        """
        job, error, notes = outcome
        for note in notes:
            terminal.report(f"{job.source}: {note}")
        if isinstance(error, Skipped):
            self.counts["skipped"] += 1
        elif error:
            self.counts["failed"] += 1
            terminal.report(str(error))
            if common.DEBUG.value and error.__cause__:
                traceback.print_exception(error)
        else:
            self.counts["written"] += 1
        return bool(error) and not isinstance(error, Skipped)

    def note_all(self, outcomes: Iterator[Outcome]) -> None:
        """Take what becomes of the plan's jobs, under a progress bar.

        Args:
            outcomes: a generator, which is closed.
        """
        total = len(self.plan.jobs)
        with (
            contextlib.closing(outcomes),
            terminal.progress(outcomes, total, shown=total > 1) as bar,
        ):
            try:
                for outcome in bar:
                    self.note(outcome)
            except KeyboardInterrupt:
                if total > 1:
                    terminal.report("what is written is whole; --existing=skip does the rest")
                raise

    def close(self) -> int:
        """Tell the sums; return the exit code."""
        left_out = self.plan.describe_left_out()
        if left_out:
            terminal.report(left_out)
        rest = {**self.counts, "left out": sum(self.plan.left_out.values())}
        names = [name for name in ("skipped", "failed", "left out") if rest.get(name)]
        sums = ", ".join(f"{rest[name]} {name}" for name in names)
        if self.plan.jobs or self.counts or left_out:
            written = f"{self.counts['written']} written to {self.output}"
            terminal.show(f"{written}, {sums}" if sums else written)
        return 1 if self.counts["failed"] else 0
