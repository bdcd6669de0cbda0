"""Recorders keep what they are asked to keep, and notes become lines."""

from __future__ import annotations

from netsim.base.cause import Stage
from netsim.capture.record import CapturedPacket, Recorder, packet_from_record, reasons_from_notes
from tests.capture.sample import DNAT, JUMP, RECORDS, SEARCH, UPLINK, VETH, note


def recorded(recorder: Recorder) -> Recorder:
    for record in RECORDS:
        recorder.record(record)
    return recorder


def test_a_recorder_without_ports_keeps_every_record_in_order() -> None:
    assert recorded(Recorder()).records == RECORDS


def test_a_recorder_keeps_the_records_of_its_ports() -> None:
    recorder = recorded(Recorder([UPLINK, VETH]))
    assert recorder.records == [record for record in RECORDS if record.port == UPLINK]
    assert len(recorder) == 3


def test_a_recorder_of_no_ports_keeps_nothing() -> None:
    assert len(recorded(Recorder([]))) == 0


def test_reasons_are_lines_in_reading_order_without_identical_neighbours() -> None:
    assert reasons_from_notes((SEARCH, DNAT, DNAT, SEARCH)) == (str(SEARCH), str(DNAT), str(SEARCH))


def test_a_reason_is_one_line() -> None:
    assert reasons_from_notes((note("pod a", Stage.PROGRAM, "two\nlines"),)) == ("pod a: program: two lines",)


def test_a_record_reads_like_a_packet_of_a_file() -> None:
    assert packet_from_record(RECORDS[3]) == CapturedPacket(
        0.00021, "node1/eth0", True, RECORDS[3].data, (str(SEARCH), str(DNAT)), 3
    )
    assert RECORDS[3].port != JUMP


def test_probes_are_kept_only_when_they_are_asked_for() -> None:
    probe = note("node node1", Stage.PROBE, "readiness probe of dev/web, container web")
    asked, answered = (RECORDS[0]._replace(notes=(probe, *notes)) for notes in ((), (SEARCH,)))
    mentioned = RECORDS[0]._replace(notes=(SEARCH, probe))
    for recorder, kept in ((Recorder(), [mentioned]), (Recorder(probes=True), [asked, answered, mentioned])):
        for record in (asked, answered, mentioned):
            recorder.record(record)
        assert recorder.records == kept


def test_what_became_of_a_packet_is_told_by_its_last_record_on_that_host() -> None:
    recorder = recorded(Recorder())
    last = RECORDS[-1]
    notes = (*last.notes, note("node node1", Stage.FILTER, "dropped"))
    twin = last._replace(outbound=not last.outbound)
    recorder.record(twin)
    recorder.amend(last.port.host, last.serial, notes, last.time)
    assert recorder.records == [*RECORDS, twin._replace(notes=notes)]


def test_a_record_from_before_or_of_another_host_is_left_as_it_is() -> None:
    recorder, last = recorded(Recorder()), RECORDS[-1]
    recorder.amend("elsewhere", last.serial, (), last.time)
    recorder.amend(last.port.host, last.serial, (), last.time + 1.0)
    recorder.amend(last.port.host, 10**6, (), last.time)
    assert recorder.records == RECORDS
