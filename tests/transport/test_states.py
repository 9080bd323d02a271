"""The table of a connection's life, against the prose above it."""

from __future__ import annotations

from itertools import product

import pytest

from hubbub.transport.states import DEADLINES, TRANSITIONS, Deadline, Input, State, ViolationError

ALIVE = (State.POLLING, State.PROBING, State.WEBSOCKET)


def reachable(start: State) -> set[State]:
    found, new = {start}, {start}
    while new:
        new = {TRANSITIONS[state, each] for state in new for each in Input if (state, each) in TRANSITIONS} - found
        found |= new
    return found


class TestTable:
    @pytest.mark.parametrize("state", State)
    def test_every_state_can_end(self, state: State) -> None:
        assert State.CLOSED in reachable(state)

    @pytest.mark.parametrize("state", State)
    def test_every_state_can_come_about(self, state: State) -> None:
        assert state in reachable(State.POLLING)

    @pytest.mark.parametrize(("state", "happened"), list(product(State, [Input.CLOSE, Input.LOST])))
    def test_an_end_is_possible_in_every_state(self, state: State, happened: Input) -> None:
        assert (state, happened) in TRANSITIONS

    @pytest.mark.parametrize("state", State)
    def test_a_transport_that_is_gone_is_the_end(self, state: State) -> None:
        assert TRANSITIONS[state, Input.LOST] is State.CLOSED

    @pytest.mark.parametrize("state", ALIVE)
    def test_who_wants_an_end_is_closing(self, state: State) -> None:
        assert TRANSITIONS[state, Input.CLOSE] is State.CLOSING

    def test_the_closed_stay_closed(self) -> None:
        assert reachable(State.CLOSED) == {State.CLOSED}

    def test_the_closing_come_back_to_nothing(self) -> None:
        assert reachable(State.CLOSING) == {State.CLOSING, State.CLOSED}

    def test_a_websocket_does_not_go_back_to_polling(self) -> None:
        assert reachable(State.WEBSOCKET) == {State.WEBSOCKET, State.CLOSING, State.CLOSED}

    def test_only_who_polls_is_probed(self) -> None:
        assert [state for state in State if (state, Input.PROBE) in TRANSITIONS] == [State.POLLING]
        assert TRANSITIONS[State.POLLING, Input.PROBE] is State.PROBING

    def test_only_a_probe_becomes_the_transport(self) -> None:
        assert [state for state in State if (state, Input.UPGRADE) in TRANSITIONS] == [State.PROBING]
        assert TRANSITIONS[State.PROBING, Input.UPGRADE] is State.WEBSOCKET

    def test_a_probe_that_is_given_up_changes_nothing(self) -> None:
        assert TRANSITIONS[State.PROBING, Input.GIVE_UP] is State.POLLING


class TestDeadlines:
    def test_every_state_says_which_may_run(self) -> None:
        assert set(DEADLINES) == set(State)

    @pytest.mark.parametrize("state", ALIVE)
    def test_who_is_alive_has_a_heartbeat(self, state: State) -> None:
        assert {Deadline.PING, Deadline.PONG} <= DEADLINES[state]
        assert Deadline.CLOSE not in DEADLINES[state]

    def test_only_a_probe_has_the_time_of_one(self) -> None:
        assert [state for state in State if Deadline.UPGRADE in DEADLINES[state]] == [State.PROBING]

    def test_who_is_closing_has_the_time_of_that_alone(self) -> None:
        assert DEADLINES[State.CLOSING] == {Deadline.CLOSE, Deadline.END}

    def test_who_is_closed_has_no_time(self) -> None:
        assert DEADLINES[State.CLOSED] == set()

    def test_each_can_run_in_some_state(self) -> None:
        assert set().union(*DEADLINES.values()) == set(Deadline)


class TestFixed:
    def test_nobody_changes_the_tables(self) -> None:
        with pytest.raises(TypeError):
            TRANSITIONS[State.CLOSED, Input.PROBE] = State.PROBING  # type: ignore[index]
        with pytest.raises(TypeError):
            DEADLINES[State.CLOSED] = frozenset()  # type: ignore[index]

    def test_a_violation_says_why(self) -> None:
        violation = ViolationError("a clause")
        assert (violation.reason, str(violation)) == ("a clause", "a clause")
