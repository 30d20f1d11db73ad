"""The intervals of the runner: how long its parts wait, and for what."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import InvalidArgument
from ..protocol.arguments import MAX_NUMBER


@dataclass(frozen=True)
class WorkerTiming:
    """Hold the intervals of the runner, in seconds. Raises InvalidArgument.

    :ivar back_off_delay: before a slot repeats what has just failed, for the first time
    :ivar max_back_off_delay: up to which that delay grows, doubling
    :ivar max_reconnect_delay: up to which the delay between two attempts to connect grows
    :ivar recovery_delay: between two attempts to take back a job that another worker holds
    :ivar parking_delay: by which a job is put off that another slot of this runner got while it
        was still running; longer than reconnecting takes
    :ivar age_tolerance: by which the age of a job may be off, since the server counts it in whole
        seconds, and clocks are set; may be 0
    :ivar tube_scan_interval: between two looks at the server's list of tubes
    :ivar burst_check_interval: before a slot of a burst that found no job asks for one again,
        while other slots still work
    :ivar blocking_report_interval: between two reports that the jobs of a tube block the loop
    :ivar kill_timeout: for the slots to end after they were killed
    :ivar observer_timeout: for the events that a blocking observer has not seen, at the end
    """

    back_off_delay: float = 1.0
    max_back_off_delay: float = 60.0
    max_reconnect_delay: float = 10.0
    recovery_delay: float = 0.2
    parking_delay: int = 15
    age_tolerance: float = 2.0
    tube_scan_interval: float = 5.0
    burst_check_interval: float = 1.0
    blocking_report_interval: float = 60.0
    kill_timeout: float = 3.0
    observer_timeout: float = 5.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            # Without a pause, what fails would be repeated without end.
            least = "at least 0" if name == "age_tolerance" else "above 0"
            number = isinstance(value, (int, float)) and not isinstance(value, bool)
            if (
                not number
                or not 0 <= value <= MAX_NUMBER
                or (value == 0 and name != "age_tolerance")
            ):
                raise InvalidArgument(
                    f"{name} must be {least} and at most {MAX_NUMBER} seconds, not {value!r}"
                )
        if not isinstance(self.parking_delay, int):
            raise InvalidArgument(
                f"parking_delay must be a whole number of seconds, not {self.parking_delay!r}: "
                "the server counts delays so"
            )
