"""Metrics of a deployment: series of labels, values and times."""

from ._wire import Answer, Labels, Maybe, Numbers, Times


class MetricSeries(Answer, frozen=True, kw_only=True):
    """A series. Items with the same index in the three tuples belong together."""

    labels: Labels = ()
    datasets: Numbers = ()
    timestamps: Times = ()


class TotalMetrics(Answer, frozen=True, kw_only=True):
    """Network and disk traffic since the deployment started."""

    receive_total: Maybe[MetricSeries] = None
    transmit_total: Maybe[MetricSeries] = None
    disk_read_total: Maybe[MetricSeries] = None
    disk_write_total: Maybe[MetricSeries] = None


class NetworkMetrics(Answer, frozen=True, kw_only=True):
    """Network traffic over time."""

    receive: Maybe[MetricSeries] = None
    transmit: Maybe[MetricSeries] = None


class DeploymentMetrics(Answer, frozen=True, kw_only=True):
    """All series of a deployment.

    The reference page does not document the two series of `cpu_throttle_`, the newer
    specification does.
    """

    total: Maybe[TotalMetrics] = None
    cpu: Maybe[MetricSeries] = None
    cpu_throttle_rate: Maybe[MetricSeries] = None
    cpu_throttle_total: Maybe[MetricSeries] = None
    mem: Maybe[MetricSeries] = None
    network: Maybe[NetworkMetrics] = None
