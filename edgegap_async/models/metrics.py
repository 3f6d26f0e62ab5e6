"""Metrics of a deployment: series of (label, value, time)."""

from ._wire import Answer, Labels, Maybe, Numbers, Times


class MetricSeries(Answer, frozen=True, kw_only=True):
    """One series; the three tuples run in parallel."""

    labels: Labels = ()
    datasets: Numbers = ()
    timestamps: Times = ()


class TotalMetrics(Answer, frozen=True, kw_only=True):
    """What went over the network and the disk since the start."""

    receive_total: Maybe[MetricSeries] = None
    transmit_total: Maybe[MetricSeries] = None
    disk_read_total: Maybe[MetricSeries] = None
    disk_write_total: Maybe[MetricSeries] = None


class NetworkMetrics(Answer, frozen=True, kw_only=True):
    """What goes over the network at a time."""

    receive: Maybe[MetricSeries] = None
    transmit: Maybe[MetricSeries] = None


class DeploymentMetrics(Answer, frozen=True, kw_only=True):
    """All series of a deployment."""

    total: Maybe[TotalMetrics] = None
    cpu: Maybe[MetricSeries] = None
    mem: Maybe[MetricSeries] = None
    network: Maybe[NetworkMetrics] = None
