"""The language: what is taken, what is refused and where, what is written again."""

import pytest

from gshell.jdl.errors import JdlError
from gshell.jdl.parse import parse, parse_expression
from gshell.jdl.syntax import conjuncts, constant, write, write_file


def value(text):
    return constant(parse_expression(text))


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", "f.jdl:1:1: there is nothing in it"),
        ("// only this", "f.jdl:1:13: there is nothing in it"),
        ("Executable \"x\";", "f.jdl:1:11: expected = after Executable"),
        ("a = 1;\nExecutable\n\"x\";", "f.jdl:2:11: expected = after Executable"),
        ("Executable == \"x\";", "f.jdl:1:12: expected = after Executable but found =="),
        ("Executable = ;", "f.jdl:1:13: Executable has no value"),
        ("Executable =", "f.jdl:1:13: Executable has no value"),
        ("Executable = \"x\"\nRank = 1;", "f.jdl:1:17: expected ; before Rank"),
        ("a = 1 2;", "f.jdl:1:7: expected ; but found 2"),
        ("a = \"x\", \"y\";", "f.jdl:1:8: expected ; but found , (a list is written {a, b})"),
        ("a = \"x;\nb = \"y\";", 'f.jdl:1:5: this string has no end in its line: " is missing'),
        ("a = x\";\n", 'f.jdl:1:6: " right after x: is the one before it missing?'),
        ("a = \"x", 'f.jdl:1:5: this string has no end in its line: " is missing'),
        ("a = 'x", "f.jdl:1:5: this quoted name has no end in its line: ' is missing"),
        ("a = {1, 2", "f.jdl:1:10: expected , or } (for the { of 1:5)"),
        ("a = {\"x\" y}", "f.jdl:1:9: expected , or } (for the { of 1:5)"),
        ("a = (1;", "f.jdl:1:7: expected ) for the ( of 1:5"),
        ("a = x[1;", "f.jdl:1:8: expected ]"),
        ("a = f(1;", "f.jdl:1:8: expected , or ) (for the ( of 1:5)"),
        ("[ a = 1;\n b = 2;", "f.jdl:2:8: expected ] for the [ of line 1"),
        ("[a=1]\n[b=2]", "f.jdl:2:1: [ after the end of the job description"),
        ("[a=1]; b", "f.jdl:1:8: b after the end of the job description"),
        ("a = /bin/sh;", "f.jdl:1:5: expected a value but found / (a text stands in quotes)"),
        ("a = 1 +;", "f.jdl:1:8: expected a value but found ;"),
        ("a = is;", "f.jdl:1:5: expected a value but found is"),
        ("a = b = 1;", "f.jdl:1:7: = inside an expression: to compare write =="),
        ("a = b ? 1;", "f.jdl:1:10: expected : for this ?"),
        ("a = b.1;", "f.jdl:1:7: expected a name after the dot but found 1"),
        ("a = b.;", "f.jdl:1:7: expected a name after the dot but found ;"),
        ("a = 12abc;", "f.jdl:1:5: 12abc is neither a number nor a name (a text stands in quotes)"),
        ("a = file-01.txt;", "f.jdl:1:10: 01 is neither a number nor a name (a text stands in quotes)"),
        ("a = gsiftp://h/x\n;", "f.jdl:1:11: expected ; but found : (a text stands in quotes)"),
        ("Parameters.B 3;", "f.jdl:1:13: expected = after Parameters.B"),
        ("Colour.B = 3;", "f.jdl:1:7: expected = after Colour"),
        ("a = 99999999999999999999;", "f.jdl:1:5: 99999999999999999999 is too large a number"),
        ("a = 9223372036854775808;", "f.jdl:1:5: 9223372036854775808 is too large a number"),
        ("a = /* x", "f.jdl:1:5: this comment has no end: */ is missing"),
        ("a = \u201cx\u201d;", "f.jdl:1:5: \u201c is a typographic quote: write \" instead"),
        ("a = 1 @ 2;", "f.jdl:1:7: '@' means nothing here"),
        ("3 = a;", "f.jdl:1:1: expected an attribute's name but found 3"),
        ("a = " + "(" * 40 + "1;", "f.jdl:1:34: brackets in brackets, more than 30 deep"),
        ("a = \"x\\0y\";", "f.jdl:1:5: this string has a NUL in it"),
    ],
)  # fmt: skip
def test_an_error_says_file_line_and_column(text, error):
    with pytest.raises(JdlError) as caught:
        parse(text, "f.jdl")
    assert caught.value.message == error


def test_the_first_error_in_the_file_counts_whatever_kind_it_is():
    with pytest.raises(JdlError, match=r"f.jdl:1:2: expected = after a"):
        parse('a "x";\nb = "no end', "f.jdl")


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        ("a=1;\nA=2;", "f:2:1: warning: A was given in line 1 already: this one counts"),
        ("IS = 3;", "f:1:1: warning: IS is a word of the language: as a name write 'IS'"),
        (
            'a = {"x" "y"};',
            "f:1:10: warning: two strings side by side are one: is a comma missing?",
        ),
    ],
)
def test_what_would_be_lost_in_silence_is_warned_of(text, warning):
    _, found = parse(text, "f")
    assert [one.shown("f") for one in found] == [warning]


def test_the_last_of_two_with_a_name_counts():
    ad, _ = parse("a=1; b=2; A=3")
    assert [(one.name, write(one.value)) for one in ad.entries] == [("b", "2"), ("A", "3")]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("1K", 1024), ("10M", 10 << 20), ("2g", 2 << 30), ("0x1F", 31), ("007", 7), ("1.", 1.0),
        (".5", 0.5), ("1e3", 1000.0), ("-3", -3), ("TRUE", True), ("False", False),
        (r'"a\tb\n\"\\ \101 \q"', 'a\tb\n"\\ A q'), ('"# // /* no comment"', "# // /* no comment"),
        ('"over\n lines"', "over\n lines"), ("{1, {2}, [a = 3],}", [1, [2], {"a": 3}]),
    ],
)  # fmt: skip
def test_literals(text, found):
    assert value(text) == found


@pytest.mark.parametrize(
    "text",
    [
        "a || b && c", "(a || b) && c", "a - b - c", "a - (b - c)", "-(-3)", "!(a && b)", "~1 & 2",
        "a ? b : c ? d : e", "(a ? b : c) ? d : e", "a.b.c[1][2]", "f(a, {1, [x = 2]}, g())",
        "other.x =?= undefined", "a isnt error", ".top", "'odd name'", "[a = 1].a", "1 << 2 >> 3",
        '"x\\ty\\"\\\\"', "a == (b == c)", "{}", "-2.5", "1.0e300",
    ],
)  # fmt: skip
def test_what_is_written_means_the_same(text):
    expr = parse_expression(text)
    assert parse_expression(write(expr)) == expr


def test_a_file_is_written_with_a_line_for_each_attribute():
    ad, _ = parse("[ b = {1,\"x\"}; 'is' = 1; C = other.q>1&&true; ]")
    assert write_file(ad) == "b = {1, \"x\"};\n'is' = 1;\nC = other.q > 1 && true;\n"


def test_a_chain_may_be_long():
    text = " && ".join(f"other.x{i} > {i}" for i in range(1500))
    expr = parse_expression(text)
    assert write(expr) == text
    assert len(conjuncts(expr)) == 1500


def test_an_expression_ends_where_its_text_does():
    with pytest.raises(JdlError, match="x:1:3: 2 after the end of the expression"):
        parse_expression("1 2", "x")


@pytest.mark.parametrize("text", ["!" * 25 + "a", "- -1", "- + -b", "!-(a + 1)"])
def test_signs_in_a_row_are_written_without_brackets_of_ours(text):
    assert write(parse_expression(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        '\ufeffExecutable = "x";',
        'Executable\u00a0= "x";\u200b\u3000',
        'Executable = "x";\r\n\t\r\n',
        '[Executable = "x"];;\n; # the end',
        '// a "quote\n# it\'s\n/* /* \' */ Executable = "x" // "\n',
    ],
)
def test_what_is_no_text_of_it_does_not_count(text):
    assert parse(text)[0].get("executable").value == "x"


def test_no_comment_begins_within_a_string():
    text = 'A = "a // b # c /* d */ \'e\' \\"f\\"";'
    assert parse(text)[0].get("A").value == "a // b # c /* d */ 'e' \"f\""
