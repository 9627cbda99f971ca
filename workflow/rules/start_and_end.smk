"""What happens before the first job of a run, and when one has failed."""


def refuse_missing_sources(jobs):
    """Stop before the first job if the folder or archive of a dataset does not exist.

    With --keep-going, only datasets that already have arrays stop the run: a fetch that fails would delete these.
    """
    fetched = sorted(job.wildcards.data for job in jobs if job.rule.name == "fetch")
    if workflow.execution_settings.keep_going:
        fetched = [data for data in fetched if Path(f"data/{data}/arrays.safetensors").exists()]
    problems = [problem for data in fetched for problem in PLAN.missing_source(data)]
    if problems:
        raise WorkflowError(plain("config: " + "\n".join(problems)))


def refuse_second_snakemake():
    """Stop before the first job if another Snakemake runs jobs in this folder; --nolock allows it, as a cluster job."""
    if workflow.is_main_process and workflow.execution_settings.lock:
        try:
            hold_folder(Path(), workflow.snakemake_tmp_dir)
        except FolderInUse as error:
            raise WorkflowError(str(error)) from None


def tell_failures(jobs):
    """Print the last message of each failed job. Jobs that never began get a state file that says so."""
    logs = [Path(log) for job in jobs for log in job.log]
    for log in logs:
        tell_never_began(log, RUN_BEGAN)
    states = [read_state(state_path(log)) for log in logs]
    print(*dict.fromkeys(state.message for state in states if state and state.message), sep="\n")


def write_specs(jobs):
    """Write the files that the jobs read with `--spec`. A Snakemake inside a cluster job writes none."""
    if workflow.is_main_process:
        for job in jobs:
            if "spec" in job.params.keys():
                SPECS.write(job.params.spec)


def fork_jobs(jobs):
    """Start the process from which the jobs on this machine are forked, so that they share its imports."""
    num_jobs = sum(job.is_shell for job in jobs)
    if num_jobs > 2 and workflow.is_main_process and workflow.local_exec and not workflow.touch:
        start_fork_server(PLAN.job_modules(), Path(".snakemake/boundcheck/fork_server.log"))
