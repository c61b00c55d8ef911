"""Watching a policy: its episodes as film strips, videos, curves and a page to step through.

`trace` records episodes of the agents that `looking` and `stable_baselines` open; `strip`, `video`, `curves`,
`attention` and `page` draw them; `rollout` does it all and is behind ``python evaluate.py rollout``.
"""
