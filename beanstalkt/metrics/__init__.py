"""What servers and runners count, for Prometheus. Needs the extra ``beanstalkt[metrics]``.

``beanstalkt work --metrics HOST:PORT`` serves the metrics of a runner, ``beanstalkt metrics``
those of servers. Both have registries of their own.
"""
