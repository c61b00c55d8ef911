"""The steps of structured face hallucination (`agents.baselines.sfh`), one a module."""
