#!/usr/bin/env bash
# The steps of the composite action in action.yml: `action.sh install`, then `action.sh run`.
#
# What the workflow says comes in variables INPUT_*, and never as a part of this text. Exit code: by fail-on and
# exit-map; 3 where gpudoctor itself could not be installed or was called wrongly.
set -euo pipefail

annotate() { # LEVEL MESSAGE: a fixed sentence, without line breaks
    echo "::$1 title=gpudoctor::$2"
}

output() { # NAME VALUE: of one line
    printf '%s=%s\n' "$1" "$2" >>"$GITHUB_OUTPUT"
}

group() { # TITLE FILE: shown in the log, where no line of it is taken for a command of the workflow
    local token
    token=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
    echo "::group::$1"
    echo "::stop-commands::$token"
    cat "$2"
    echo
    echo "::$token::"
    echo "::endgroup::"
}

install() {
    if [ -n "${INPUT_GPUDOCTOR:-}" ]; then
        output gpudoctor "$INPUT_GPUDOCTOR"
        return
    fi
    local here source venv="$RUNNER_TEMP/gpudoctor-venv" log="$RUNNER_TEMP/gpudoctor-install.log"
    here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
    # Built in a copy: the checkout of a job is left as it is.
    source=$(mktemp -d "$RUNNER_TEMP/gpudoctor-source.XXXXXX")
    cp -R "$here"/{pyproject.toml,README.md,LICENSE,gpudoctor,checks,fixes} "$source"
    mkdir "$source/docs"
    cp "$here/docs/gpudoctor.1" "$source/docs"
    if ! { "${INPUT_INTERPRETER:-python3}" -m venv --clear "$venv" &&
        "$venv/bin/python" -m pip install --quiet --disable-pip-version-check "$source${INPUT_EXTRAS:+[$INPUT_EXTRAS]}"; } >"$log" 2>&1; then
        group "gpudoctor could not be installed" "$log"
        annotate error "gpudoctor could not be installed, so nothing is known of the GPU; the log of this step says why"
        exit 3
    fi
    rm -rf "$source"
    output gpudoctor "$venv/bin/gpudoctor"
}

run() {
    local arguments=() more=() code=0 work status file
    case ${INPUT_BENCH:-no} in
        no | false | quick | full) ;; # YAML's own word for no is meant as that
        *)
            annotate error "The input bench is no, quick or full; nothing was looked at."
            output exit-code 3
            exit 3
            ;;
    esac
    work=$(mktemp -d "$RUNNER_TEMP/gpudoctor.XXXXXX")
    [ -z "${INPUT_EXPECT_GPUS:-}" ] || arguments+=(--expect-gpus "$INPUT_EXPECT_GPUS")
    [ -z "${INPUT_PYTHON:-}" ] || arguments+=(--python "$INPUT_PYTHON")
    [ -z "${INPUT_JUNIT_FILE:-}" ] || arguments+=(--also "junit=$INPUT_JUNIT_FILE")
    [ -z "${INPUT_SARIF_FILE:-}" ] || arguments+=(--also "sarif=$INPUT_SARIF_FILE")
    [ -z "${INPUT_FAIL_ON:-}" ] || arguments+=(--fail-on "$INPUT_FAIL_ON")
    [ -z "${INPUT_EXIT_MAP:-}" ] || arguments+=(--exit-map "$INPUT_EXIT_MAP")
    read -r -a more <<<"${INPUT_ARGS:-}" || true
    # One diagnosis, written in every form: a GPU that comes and goes must not tell each reader another story. Of two
    # formats the last one counts, and this step reads its own.
    "$GPUDOCTOR" check ${arguments[@]+"${arguments[@]}"} ${more[@]+"${more[@]}"} \
        --format github --output "$work/annotations" --also "text=$work/text" --also "json=$work/json" || code=$?
    if [ ! -e "$work/annotations" ]; then # the last that is written
        annotate error "gpudoctor check could not look (exit code $code): the log of this step says why"
        output exit-code "$code"
        exit "$code"
    fi
    group "gpudoctor check" "$work/text"
    cat "$work/annotations"
    status=$(sed -n 's/^ "status": "\([a-z]*\)",$/\1/p' "$work/json")
    output status "$status"
    output cause "$(sed -n '1s/^::\(error\|warning\) title=gpudoctor \([a-z0-9.-]*\)::.*/\2/p' "$work/annotations")"
    [ ! -s "${INPUT_SARIF_FILE:-}" ] || output sarif-file "$INPUT_SARIF_FILE"
    for file in "${INPUT_SARIF_FILE:-}" "${INPUT_JUNIT_FILE:-}"; do
        if [ -n "$file" ] && [ ! -s "$file" ]; then
            annotate error "A report of gpudoctor could not be written: the log of this step says why."
        fi
    done
    # A GPU with which something is wrong already is not made to train: what the check says is the cause.
    case ${INPUT_BENCH:-no} in
        quick | full)
            if [ "$code" = 0 ] && [ "$status" != error ]; then
                bench "$work" || code=$?
            fi
            ;;
    esac
    output exit-code "$code"
    exit "$code"
}

bench() {
    local arguments=(--backend "${INPUT_BACKEND:-auto}") code=0
    [ "$INPUT_BENCH" != quick ] || arguments+=(--quick)
    # CuPy is beside gpudoctor, torch is in the environment that trains.
    [ -z "${INPUT_PYTHON:-}" ] || [ "${INPUT_BACKEND:-}" = cupy ] || arguments+=(--python "$INPUT_PYTHON")
    "$GPUDOCTOR" bench "${arguments[@]}" --output "$1/bench" || code=$?
    if [ -s "$1/bench" ]; then
        group "gpudoctor bench" "$1/bench"
        if [ -n "${GITHUB_STEP_SUMMARY:-}" ]; then
            { printf '\n### gpudoctor bench\n\n'; sed 's/^/    /' "$1/bench"; } >>"$GITHUB_STEP_SUMMARY"
        fi
    fi
    case $code in
        0) return 0 ;;
        2)
            annotate error "The GPU of this runner does not train as it should: the log of this step tells where."
            code=$(exit_code_of error "$1")
            ;;
        *)
            # Without a report it was called wrongly, or broke: that is no verdict, and fails as it does in a check.
            [ ! -s "$1/bench" ] || code=$(exit_code_of unknown "$1")
            annotate "$([ "$code" = 0 ] && echo warning || echo error)" \
                "gpudoctor bench could not run, which proves nothing: the log of this step says why."
            ;;
    esac
    return "$code"
}

exit_code_of() { # error or unknown, FOLDER: what the check would have ended with, as its report says
    local code
    code=$(sed -n '/^ "exit_codes": {$/,/^ }/s/^  "'"$1"'": \([0-9]*\),\{0,1\}$/\1/p' "$2/json")
    # The input `gpudoctor` may name an older one, which does not say so.
    [ -n "$code" ] || code=$([ "$1" = error ] && echo 2 || echo 3)
    echo "$code"
}

"${1:?install or run}"
