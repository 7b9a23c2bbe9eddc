"""Who finds what patterns do not: a Presidio server, asked over HTTP, and a small model in this process.

Both are bounded in everything: the size of what they are asked about, the time, how many ask at once, the size and the
number of the findings. What they say is not believed: a finding outside its text is a failure, like no answer at all.
Whatever goes wrong is `InspectionFailed`; what then becomes of the exchange is for the guardrail to say.
"""

from extproc.inspection.inspectors import Inspectors

__all__ = ["Inspectors"]
