"""Who scores expressions.

Every judge takes `JudgeRequest`s and gives `Judgement`s, see `base`; `build_judge` makes one from
`configs/judge`. Those with heavy clients are imported from their own modules.
"""

from pixelsmile.judges.base import Judge as Judge
from pixelsmile.judges.base import Judgement as Judgement
from pixelsmile.judges.base import JudgeRequest as JudgeRequest
from pixelsmile.judges.base import Usage as Usage
from pixelsmile.judges.build import build_judge as build_judge
from pixelsmile.judges.ledger import read_answers as read_answers
from pixelsmile.judges.local import LocalJudge as LocalJudge
from pixelsmile.judges.noise import judge_noise as judge_noise
from pixelsmile.judges.noise import repeated as repeated
