"""The script that a CI runner starts before each job."""

from gpudoctor.hooks.files import HookFile, mark
from gpudoctor.hooks.wish import Wish

SCRIPT = "/etc/gpudoctor/job-started.sh"

# What a person does so that the runner calls it.
USE = (
    f"GitHub: put ACTIONS_RUNNER_HOOK_JOB_STARTED={SCRIPT} into the file .env of the runner, and start it again.",
    f'GitLab, shell executor: put pre_build_script = "{SCRIPT}" under [[runners]] in config.toml.',
)


# Seconds for the whole check, which by itself ends after 20: for what hangs before it, as a Python on a dead disk.
LIMIT = 90


def job_started(wish: Wish) -> tuple[HookFile, ...]:
    """A broken gpudoctor fails no job, nor one that hangs: only its verdict does, exit code 2 of `check`.

    Silent where the GPU works. GitHub shows the cause as an annotation of the job. The check runs in the root folder:
    settings that lie in a checkout must not have a say in it.
    """
    expect = "" if wish.expect_gpus is None else f" --expect-gpus {wish.expect_gpus}"
    advice = (
        "" if expect else ' The job needs a number of GPUs? "gpudoctor hook ci --install --expect-gpus N" asks for it.'
    )
    comments = "\n".join(f"# {line}" for line in USE)
    # The codes that are judged below, whatever settings may ask for.
    check = " ".join((*wish.command, f"check{expect} --quiet --exit-map nagios --fail-on unknown"))
    return (
        HookFile(
            SCRIPT,
            f"""#!/bin/sh
{mark("ci")}
{comments}
# Exit code: 1, so that the job fails, where the GPU does not work; 0 where it does, and where that could not be told.
cd /
code=0 format=text limit=
[ "$GITHUB_ACTIONS" != true ] || format=github
! command -v timeout >/dev/null || limit='timeout -k 10 {LIMIT}'
GITHUB_STEP_SUMMARY='' $limit {check} --format $format || code=$?
case $code in
    0) exit 0 ;;
    2) said='the GPU of this runner does not work: gpudoctor names the cause above.{advice}' level=error ;;
    124 | 137) said='gpudoctor gave no answer in {LIMIT} s: the job goes on' level=warning ;;
    *) said="gpudoctor could not tell whether the GPU works (exit code $code): the job goes on" level=warning ;;
esac
if [ "$GITHUB_ACTIONS" = true ]; then
    echo "::$level title=gpudoctor::$said"
else
    echo "gpudoctor: $said" >&2
fi
[ $level = warning ]
""",
            0o755,
        ),
    )
