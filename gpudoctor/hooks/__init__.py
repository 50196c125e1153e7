"""What calls gpudoctor by itself: before and after package upgrades, from time to time, before a CI job.

The files of a hook are made by `kinds` and written by `files`; what they call is `gpudoctor hook run` (`run`).
"""
