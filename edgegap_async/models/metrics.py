"""Metrics of a deployment: series of (label, value, time)."""

from ._wire import Answer, Labels, Numbers, Times


class MetricSeries(Answer, frozen=True, kw_only=True):
    """One series; the three tuples run in parallel."""

    labels: Labels = ()
    datasets: Numbers = ()
    timestamps: Times = ()


class TotalMetrics(Answer, frozen=True, kw_only=True):
    """What went over the network and the disk since the start."""

    receive_total: MetricSeries | None = None
    transmit_total: MetricSeries | None = None
    disk_read_total: MetricSeries | None = None
    disk_write_total: MetricSeries | None = None


class NetworkMetrics(Answer, frozen=True, kw_only=True):
    """What goes over the network at a time."""

    receive: MetricSeries | None = None
    transmit: MetricSeries | None = None


class DeploymentMetrics(Answer, frozen=True, kw_only=True):
    """All series of a deployment."""

    total: TotalMetrics | None = None
    cpu: MetricSeries | None = None
    mem: MetricSeries | None = None
    network: NetworkMetrics | None = None
