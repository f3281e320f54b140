"""Tests that would catch any loss of an acknowledged key: whole systems under faults, judged by what callers were told.

``history`` judges, ``systems`` is what is judged, ``schedules`` what is done to it. No test here knows how keys are
kept; what it looks at beside the answers is what lies on the key servers in the end.

``test_three_nodes`` judges real nodes on a PostgreSQL that fails over, by the same history: ``callers`` call them, and
``cluster_faults`` is what happens to them.
"""
