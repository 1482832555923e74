"""neid watch FOLDER --output=PATH [--settle=S] [--existing=skip|overwrite]

Brightens the pictures and videos of a folder, those that are there and then those that arrive,
until it is ended (Ctrl-C, SIGTERM).

A file is taken when it is complete: when its size and time have not changed for --settle seconds,
or it was moved in. Each is done once, also after a restart: one whose output exists is done. With
--existing=overwrite it is done again when it has changed since. What can't be done is named on
stderr, listed in PATH/failures.jsonl, and tried again when it changes; a restart tries it too. When
it is ended, pictures that were begun are finished, and a video is given up until the next start.

  neid watch incoming --output=bright

PATH is a folder, and not FOLDER itself; it may lie below it. The other flags are as for neid
enhance.

Needs: {install watch}

Exit codes: 0 ended by a signal, all done; 1 some file failed; 2 wrong usage.
"""

import contextlib
import functools
import os
import threading

from absl import flags

from neid_tf.commands import common, enhance, terminal
from neid_tf.commands.tally import Tally
from neid_tf.jobs import failures, local, watch
from neid_tf.jobs import plan as planning
from neid_tf.jobs.outcome import Outcome
from neid_tf.jobs.storage import is_address
from neid_tf.jobs.transfer import Skipped, Transfer
from neid_tf.support.errors import NeidError, reason_of
from neid_tf.support.signals import on_signal

_SETTLE = flags.DEFINE_float(
    "settle", 2.0, "Seconds for which a file must not have changed, to be complete.", lower_bound=0
)
FORGETS_FROM = 10_000
"""Of so many files that it has seen, it looks which are gone."""
common.declare(__name__, common.EXISTING, common.MAX_PIXELS, common.OUTPUT, common.OVERWRITE)
common.declare(__name__, common.WEIGHTS, common.METHOD, *enhance.FILES)


def main(arguments: list[str]) -> int:
    """Enhance what arrives until a signal says to end; return the exit code."""
    folder, output = _folders([common.expanded(item) for item in arguments])
    enhance.check()
    if (existing := common.existing("skip")) == "fail":
        raise flags.ValidationError("--existing is skip or overwrite here, not fail")
    job = _Watch(folder, output, existing)
    with on_signal(job.stop.set), contextlib.suppress(KeyboardInterrupt):
        arriving = watch.complete_files(folder, output, _SETTLE.value, job.stop, job.cannot)
        terminal.show(f"watching {folder} (Ctrl-C ends)")
        job.record()  # All that an earlier list names is tried again.
        for paths in arriving:
            job.do(paths)
    return job.tally.close()


def _folders(arguments):
    """Return the folder to watch, and the one to write to."""
    output = common.required(common.OUTPUT)
    if len(arguments) != 1:
        raise flags.ValidationError("name one folder to watch")
    [folder] = arguments
    for item in (folder, output):
        if is_address(item):
            raise flags.ValidationError(f"{item} is no folder of this machine")
    if not os.path.isdir(folder):
        raise common.Failure(f"{folder}: no such folder")
    if os.path.lexists(output) and not os.path.isdir(output):
        raise flags.ValidationError(f"{output} is no folder")
    if os.path.realpath(folder) == os.path.realpath(output):
        raise flags.ValidationError("--output is the folder itself: name another one")
    return os.path.abspath(folder), output


class _Watch:
    """What has become of the files so far.

    Args:
        folder: that is watched.
        output: that is written to.
        existing: as for :class:`neid_tf.jobs.transfer.Transfer`.
    """

    def __init__(self, folder: str, output: str, existing: str) -> None:
        self.folder, self.output, self.existing = folder, output, existing
        self.tally, self.stop = Tally(output, planning.Plan()), threading.Event()
        self._failed: dict[str, dict] = {}
        self._targets: dict[str, str] = {}
        self._left_out: set[str] = set()
        self._begun: set[str] = set()
        self._unlisted, self._most = "", FORGETS_FROM
        self._first, self._how = True, enhance.how()
        self._names = enhance.SUFFIX.value, enhance.extensions()

    def do(self, paths: list[str]) -> None:
        """Enhance files; a signal ends it after those that were begun.

        Args:
            paths: below the folder.
        """
        plan = self._planned(paths)
        self._add(plan)
        self._targets |= {os.path.normcase(job.target): job.source for job in plan.jobs}
        transfer = Transfer(existing=self.existing)
        function, clip, *rest = self._how
        # What was begun here comes again because it has changed since, maybe before it was written.
        jobs = [job for job in plan.jobs if job.source in self._begun or not self._is_done(job)]
        self._begun |= {job.source for job in jobs}
        how = (function, self._ending(clip), *rest)
        outcomes = local.enhance(jobs, transfer, *how, stop=self.stop.is_set)
        try:
            with contextlib.closing(outcomes):
                for outcome in outcomes:
                    self._note(outcome)
        finally:
            self.record()
        self._first = False
        self._forget()

    def _forget(self):
        """Let go of what is kept of files that are gone, whenever there is twice as much of it."""
        if len(self._begun) + len(self._left_out) < self._most:
            return
        there = os.path.lexists
        self._begun, self._left_out = (set(filter(there, p)) for p in (self._begun, self._left_out))
        self._targets = {t: source for t, source in self._targets.items() if there(source)}
        self._most = 2 * (len(self._begun) + len(self._left_out)) + FORGETS_FROM

    def _planned(self, paths):
        """Return what becomes of files; one that was left out before is not counted again."""
        below = functools.partial(planning.plan_below, self.folder)
        how = (self.output, *self._names, self._targets)
        plan, again = below(paths, *how), below(self._left_out.intersection(paths), *how)
        plan.left_out -= again.left_out
        done = {job.source for job in plan.jobs} | {source for source, _ in plan.failures}
        self._left_out |= set(paths) - done
        return plan

    def cannot(self, name: str, reason: str) -> None:
        """Take note of what can't be looked into."""
        self._add(planning.Plan(failures=[(name, reason)]))
        self.record()

    def record(self) -> None:
        """List what could not be done; where that can't be written either, tell it and go on."""
        self._failed = {s: row for s, row in self._failed.items() if os.path.lexists(s)}
        try:
            failures.record(self._failed.values(), self.output)
            self._unlisted = ""
        except (OSError, NeidError) as error:
            place = os.path.join(self.output, failures.NAME)
            line = f"{place}: not written: {reason_of(error)}"
            if line != self._unlisted:
                terminal.report(line)
            self._unlisted = line

    def _add(self, plan):
        self.tally.add(plan)
        for source, reason in plan.failures:
            self._failed[source] = failures.row(source, None, reason)

    def _is_done(self, job):
        """Tell whether the output of a file is newer than the file, where it may be replaced."""
        if self.existing != "overwrite":
            return False
        with contextlib.suppress(OSError):
            source = os.stat(job.source)
            changed = max(source.st_mtime, source.st_ctime)
            return os.stat(job.target).st_mtime >= changed
        return False

    def _note(self, outcome: Outcome) -> None:
        job, error, _ = outcome
        if error and not os.path.lexists(job.source):
            terminal.report(f"{job.source}: gone before its turn")
        elif self.tally.note(outcome):
            self._failed[job.source] = failures.row(job.source, job.target, reason_of(error))
            return
        self._failed.pop(job.source, None)
        if isinstance(error, Skipped) and not self._first:
            terminal.report(f"{job.source}: left alone, {job.target} is there already")

    def _ending(self, clip):
        """Return a function that enhances a video, and gives it up when a signal comes."""

        def ending(job):
            try:
                return clip(job, self._check)
            except KeyboardInterrupt:
                terminal.report(f"{job.source}: given up: it is done at the next start")
                raise

        return ending

    def _check(self):
        if self.stop.is_set():
            raise KeyboardInterrupt
