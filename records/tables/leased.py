"""What a row carries that one worker at a time may hold."""

from sqlalchemy.orm import Mapped, mapped_column

from records.base import Name, Time


class Leased:
    """What a row carries that one worker at a time may hold: a lease and a fencing token."""

    attempt: Mapped[int] = mapped_column(default=0, comment="counted when the row is claimed")
    token: Mapped[int] = mapped_column(default=0, comment="fencing token; grows with every claim")
    owner: Mapped[Name | None] = mapped_column(comment="host:pid:nonce of the holder")
    lease_until: Mapped[Time | None] = mapped_column(comment="by the clock of the database")
    not_before: Mapped[Time | None] = mapped_column(comment="earliest next claim, for back-off")
    published_at: Mapped[Time | None] = mapped_column(comment="last wake-up sent to the broker")
    publish_count: Mapped[int] = mapped_column(default=0)
    cancel_requested: Mapped[bool] = mapped_column(default=False)
    lane: Mapped[Name] = mapped_column(
        default="shared", comment="which broker wakes it: 'shared', or the id of one embedded run"
    )
