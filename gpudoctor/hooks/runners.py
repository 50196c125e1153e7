"""The script that a CI runner starts before each job."""

from gpudoctor.hooks.files import HookFile, mark
from gpudoctor.hooks.wish import Wish

SCRIPT = "/etc/gpudoctor/job-started.sh"

# What a person does so that the runner calls it.
USE = (
    f"GitHub: put ACTIONS_RUNNER_HOOK_JOB_STARTED={SCRIPT} into the file .env of the runner, and start it again.",
    f'GitLab, shell executor: put pre_build_script = "{SCRIPT}" under [[runners]] in config.toml.',
)


def job_started(wish: Wish) -> tuple[HookFile, ...]:
    """A broken gpudoctor fails no job: only its verdict does, exit code 2 of `check`."""
    expect = "" if wish.expect_gpus is None else f" --expect-gpus {wish.expect_gpus}"
    advice = (
        "" if expect else ' The job needs a number of GPUs? "gpudoctor hook ci --install --expect-gpus N" asks for it.'
    )
    comments = "\n".join(f"# {line}" for line in USE)
    # Settings of the folder that the job starts in may ask for other codes than the ones that are judged below.
    check = " ".join((*wish.command, f"check --exit-map nagios{expect}"))
    return (
        HookFile(
            SCRIPT,
            f"""#!/bin/sh
{mark("ci")}
{comments}
code=0
{check} || code=$?
case $code in
    0 | 1) exit 0 ;;
    2) said='the GPU of this runner does not work: gpudoctor names the cause above.{advice}' level=error ;;
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
