"""How long the reservoir at Upper Fenn lasts in a dry summer."""

from dataclasses import dataclass

LOCKFUL_M3 = 267.3  # 22.5 m long, 4.4 m wide, 2.7 m deep: what one passage sends downhill.
FISH_PASS_M3_PER_DAY = 0.090 * 86_400  # 90 litres a second, whatever happens.
EVAPORATION_M3_PER_DAY = 410.0  # Mean of the Julys since 2009.


@dataclass(frozen=True)
class Day:
    """What is asked of the canal on one day."""

    passages: int
    farms_m3: float
    inflow_m3: float


def daily_loss_m3(day: Day, leakage_l_per_s: float = 41.0) -> float:
    """Water that leaves the reservoir on this day, less what the brooks bring.

    Two boats that share the chamber count as one passage, which is why the keeper makes them wait for
    each other in a drought.
    """
    leakage = leakage_l_per_s / 1000 * 86_400
    used = day.passages * LOCKFUL_M3 + day.farms_m3 + FISH_PASS_M3_PER_DAY
    return used + leakage + EVAPORATION_M3_PER_DAY - day.inflow_m3


def days_until_restrictions(stored_m3: float, day: Day) -> int:
    """Days until a third of the 1.2 million cubic metres is left, and boats pass only twice a day."""
    threshold = 1_200_000 / 3
    loss = daily_loss_m3(day)
    return max(0, int((stored_m3 - threshold) / loss)) if loss > 0 else 10_000
