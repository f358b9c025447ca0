//! Which node a pod runs on: a pure choice in `place` and a thin loop around it.
