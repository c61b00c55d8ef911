"""Learning curves on a frozen enhancer: what in the policy's training matters, over several seeds.

``python -m agents.study --config configs/studies/policy-synthetic.yaml`` trains every variant of a table with
every seed, measures it on fixed faces as it learns, and draws figure and tables.
"""

from agents.study.configuration import StudyConfig, VariantConfig
from agents.study.run import Study

__all__ = ["Study", "StudyConfig", "VariantConfig"]
