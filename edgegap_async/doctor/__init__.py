"""Finds out how the API behaves for your account, where its documentation is silent.

    async with EdgegapSession() as edgegap:
        diagnosis = await doctor.examine(edgegap)
    for finding in diagnosis.findings:
        print(finding.question, finding.found, finding.assumed)

It only reads. `life` deploys one server, watches it, and stops it. `limits` sends more
lists than the limit allows. `edgegap doctor` does all of it. `simulator_options` makes a
`Simulator` behave as what was found.
"""

from .findings import FORMAT, Diagnosis, Finding
from .life import life
from .like import simulator_options
from .limits import limits
from .questions import examine

__all__ = [
    "FORMAT",
    "Diagnosis",
    "Finding",
    "examine",
    "life",
    "limits",
    "simulator_options",
]
