import csv
import io
import json
from pathlib import Path

import phonenumbers
import pytest
import typer
from typer.testing import CliRunner

from contatto.cli.files import detect_command

app = typer.Typer()
app.command()(detect_command)
run = CliRunner().invoke
GOOD = '{"id": "a", "text": "call 9123 4567", "country": "SG"}'


def lines(output: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in output.splitlines()]


def test_json_lines_in_give_json_lines_out() -> None:
    given = f'{GOOD}\n{{"id": 2, "text": "hello", "country": "SG"}}\n'
    done = run(app, input=given)
    assert done.exit_code == 0
    assert lines(done.stdout) == [
        {
            "id": "a",
            "contacts": [
                {
                    "field": "phone",
                    "value": "+6591234567",
                    "start": 5,
                    "end": 14,
                    "raw": "9123 4567",
                    "confidence": 0.95,
                    "rule": "phone.national",
                    "extension": "",
                }
            ],
        },
        {"id": 2, "contacts": []},
    ]


def test_plain_text_is_a_message_a_line() -> None:
    done = run(app, ["--country", "sg"], input="call 9123 4567\n\nig luna.decor\n")
    assert done.exit_code == 0
    assert [line["id"] for line in lines(done.stdout)] == [1, 3]


def test_a_table_in_gives_a_table_out(tmp_path: Path) -> None:
    source, target = tmp_path / "in.csv", tmp_path / "out.csv"
    source.write_text('id,text,country\nx,"hi, call\n9123 4567",SG\ny,ig luna.decor,\n', encoding="utf-8")
    done = run(app, [str(source), "--to", "csv", "--country", "SG", "--output", str(target)])
    assert done.exit_code == 0
    rows = list(csv.DictReader(io.StringIO(target.read_text(encoding="utf-8"))))
    assert [(row["id"], row["field"], row["value"]) for row in rows] == [
        ("x", "phone", "+6591234567"),
        ("y", "instagram", "luna.decor"),
    ]


def test_bad_lines_are_named_and_skipped_and_the_rest_goes_on() -> None:
    bad = ["not json", '{"id": 3, "text": 5}', '{"id": 4, "text": "x", "country": "XX"}', '{"id": 5}']
    given = "\n".join([GOOD, *bad, GOOD])
    done = run(app, input=given)
    assert done.exit_code == 1
    assert len(lines(done.stdout)) == 2
    for number in (2, 3, 4, 5):
        assert f"line {number}: " in done.stderr
    assert "4 lines skipped" in done.stderr


def test_bytes_that_are_no_text_are_a_bad_line(tmp_path: Path) -> None:
    source = tmp_path / "chat.txt"
    source.write_bytes(b"call 9123 4567\n\xff\xfe\n")
    done = run(app, [str(source), "--country", "SG"])
    assert done.exit_code == 1
    assert "line 2: is not UTF-8" in done.stderr
    assert len(lines(done.stdout)) == 1


def test_a_table_without_a_text_column_says_so(tmp_path: Path) -> None:
    source = tmp_path / "in.csv"
    source.write_text("id,message\n1,hi\n", encoding="utf-8")
    done = run(app, [str(source), "--country", "SG"])
    assert done.exit_code == 1
    assert "line 2: has no column `text`" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--country", "XX"], "'XX' is no ISO 3166 country code"),
        (["--to", "text"], "jsonl or csv"),
        (["/no/such/file"], "No such"),
    ],
)
def test_wrong_arguments_are_explained(arguments: list[str], says: str) -> None:
    done = run(app, arguments, input="")
    assert done.exit_code == 2
    assert says in " ".join(done.stderr.split())


@pytest.mark.parametrize(
    ("country", "text", "value"),
    [
        ("IT", "chiamami al 333 123 4567", "+393331234567"),
        ("de", "ruf an: 0151 23456789", "+4915123456789"),
        ("TR", "0532 123 45 67", "+905321234567"),
        ("US", "call (212) 555-2368", "+12125552368"),
    ],
)
def test_the_command_reads_national_numbers_of_countries_without_automatic_capture(
    country: str, text: str, value: str
) -> None:
    done = run(app, ["--country", country], input=text)
    assert done.exit_code == 0
    assert value in done.stdout
    typed = json.dumps({"text": text, "country": country})
    assert value in run(app, input=typed).stdout


def test_the_command_takes_every_country_with_a_phone_number_plan() -> None:
    for country in sorted(phonenumbers.SUPPORTED_REGIONS):
        assert run(app, ["--country", country], input="hi").exit_code == 0, country


@pytest.mark.parametrize("text", ["+65 8123 4567", "ig luna.decor", "luna@example.com"])
def test_what_needs_no_country_is_detected_without_one(text: str) -> None:
    done = run(app, input=f"{text}\n")
    assert done.exit_code == 0
    [line] = lines(done.stdout)
    assert line["contacts"]


def test_a_national_number_without_a_country_is_no_contact() -> None:
    done = run(app, input="call 9123 4567\n")
    assert done.exit_code == 0
    assert lines(done.stdout) == [{"id": 1, "contacts": []}]
