# Values leave as valid UTF-8 whatever the database's encoding and whatever bytes it let in.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('encodings');
$node->init(extra => ['--no-locale', '--encoding=UTF8']);
$node->start;

sub database
{
	my ($name, $encoding) = @_;
	$node->safe_psql('postgres',
		"CREATE DATABASE $name ENCODING '$encoding' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0");
	$node->safe_psql($name, 'CREATE EXTENSION plank_test');
	return;
}

# What Plank sends for an SQL expression, as bytes; the session speaks the database's encoding, so nothing is converted
# on the way in.
sub sent
{
	my ($database, $expression) = @_;
	my $hex = $node->safe_psql($database,
		"SET client_encoding = 'SQL_ASCII'; SELECT encode(plank_test.value_bytes($expression), 'hex')");
	$hex =~ s/\s//g;
	return pack 'H*', $hex;
}

# What the worker makes of it again, when that differs: nothing for every value, also where U+FFFD was sent.
sub lost
{
	my ($database, @expressions) = @_;
	return join "\n", grep { $_ ne "" } map { $node->safe_psql($database,
		"SET client_encoding = 'SQL_ASCII'; SELECT plank_test.round_trip(v) FROM (SELECT $_ AS v) x WHERE plank_test.round_trip(v) IS NOT NULL") } @expressions;
}

# Where worker and PostgreSQL differ over a column of these texts.
sub misjudged
{
	my ($database, $values, $conditions) = @_;
	return $node->safe_psql($database, "SET client_encoding = 'SQL_ASCII'; CREATE TABLE judged AS SELECT v FROM unnest(ARRAY[$values]) v;
		SELECT plank_test.filter_mismatches('judged', ARRAY[$conditions]); DROP TABLE judged");
}

my $bad = "\xEF\xBF\xBD";

database('latin1', 'LATIN1');
is(sent('latin1', q{E'caf\\xe9 "q"'::text}), qq{"caf\xC3\xA9 \\"q\\""}, 'LATIN1 text is converted');
is(sent('latin1', q{E'\\x80\\x9f\\xff\\xa0'::text}), qq{"\xC2\x80\xC2\x9F\xC3\xBF\xC2\xA0"}, 'all of its high bytes are');
is(sent('latin1', q{repeat(E'\\xe9\\n\\xe8', 3000)}), '"' . "\xC3\xA9\\n\xC3\xA8" x 3000 . '"', 'text of many pieces');
is(sent('latin1', q{E'{"\\xe9" :  [1,"\\\\u0000"], "\\xe9": 2}'::json}), qq({"\xC3\xA9" :  [1,"\\u0000"], "\xC3\xA9": 2}),
	'json is converted and otherwise verbatim');
is(sent('latin1', q{E'{"b":"\\xe9\\\\n"}'::jsonb}), qq({"b": "\xC3\xA9\\n"}), 'jsonb');
is(sent('latin1', q{'plain'::text}), '"plain"', 'ASCII');
is(sent('latin1', q{E'\\xe9'::name}), qq{"\xC3\xA9"}, 'name');
is(sent('latin1', q{E'<a>\\xe9</a>'::xml}), qq{"<a>\xC3\xA9</a>"}, 'xml');
$node->safe_psql('latin1', q{SET client_encoding = 'SQL_ASCII';
	CREATE TYPE "t} . "\xE9" . q{" AS ENUM ('} . "\xE9" . q{');
	CREATE TABLE named ("k} . "\xE9" . q{" int, m "t} . "\xE9" . q{"); INSERT INTO named VALUES (1, '} . "\xE9" . q{')});
is(sent('latin1', '(SELECT n FROM named n)'), qq({"k\xC3\xA9":1,"m":"\xC3\xA9"}), 'keys and enum labels');

database('ascii', 'SQL_ASCII');
is(sent('ascii', q{E'caf\\xc3\\xa9 \\xf0\\x9f\\x98\\x80'::text}), qq{"caf\xC3\xA9 \xF0\x9F\x98\x80"}, 'UTF-8 in SQL_ASCII stays');
is(sent('ascii', q{E'a\\xff\\xfeb"\\xe9'::text}), qq{"a$bad${bad}b\\"$bad"}, 'each byte that is not text becomes U+FFFD');
is(sent('ascii', q{E'\\xc0\\x80 \\xed\\xa0\\x80 \\xf4\\x90\\x80\\x80 \\xe2\\x82'::text}),
	'"' . join(' ', $bad x 2, $bad x 3, $bad x 4, $bad x 2) . '"', 'overlong, surrogate, beyond Unicode, cut off');
is(sent('ascii', q{repeat(E'\\xe9', 5000)}), '"' . $bad x 5000 . '"', 'much of it');
is(sent('ascii', q{E'["\\xe9", "\\xc3\\xa9"]'::json}), qq(["$bad", "\xC3\xA9"]), 'json');
is(sent('ascii', q{E'{"\\xe9": "\\xc3\\xa9\\\\n"}'::jsonb}), qq({"$bad": "\xC3\xA9\\n"}), 'jsonb');
is(sent('ascii', q{ROW(E'\\xe9'::text, ARRAY[E'\\xff'::varchar, NULL])}), qq({"f1":"$bad","f2":["$bad",null]}), 'nested');

database('eucjp', 'EUC_JP');
is(sent('eucjp', q{'a' || repeat(E'\\xa4\\xa2', 3000)}), '"a' . "\xE3\x81\x82" x 3000 . '"',
	'characters cut by a piece of the conversion are whole');
is(sent('eucjp', q{'aa' || repeat(E'\\x8f\\xb0\\xa2', 2000)}), '"aa' . "\xE4\xB8\x84" x 2000 . '"', 'three-byte ones too');
is(sent('eucjp', q{E'a\\xa9\\xa1b'::text}), qq{"a${bad}b"}, 'a character that Unicode lacks is one U+FFFD');

database('win1252', 'WIN1252');
is(sent('win1252', q{E'\\x80\\x81\\x41'::text}), qq{"\xE2\x82\xAC${bad}A"}, 'a byte without a character');

database('mule', 'MULE_INTERNAL');
is(sent('mule', q{E'a"\\x81\\xe9b\\n'::text}), qq{"a\\"${bad}b\\n"}, 'an encoding without a conversion to UTF-8');
is(sent('mule', q{E'["\\x81\\xe9"]'::json}), qq(["$bad"]), 'its json');

is(lost('latin1', q{E'caf\\xe9'::text}, q{E'\\x80\\x9f\\xff'::varchar}, q{E'\\xe9'::name}, q{E'"\\xe9"'::json}, q{E'"\\xe9"'::jsonb}, q{E'<a>\\xe9</a>'::xml},
	q{ARRAY[E'\\xe9']}, q{E'\\xe9'::tsvector}, q{'plain'::text}, q{''::text}, qq{'\xe9'::"t\xe9"}), '', 'LATIN1 values come back');
is(lost('ascii', q{E'a\\xff\\xfeb"\\xe9'::text}, q{E'\\xc0\\x80'::bpchar}, q{E'["\\xe9"]'::json}, q{E'{"\\xe9": 1}'::jsonb}, q{ARRAY[E'\\xff'::varchar, NULL]}), '', 'bytes in SQL_ASCII do');
is(lost('eucjp', q{E'a\\xa9\\xa1b'::text}, q{repeat(E'\\xa4\\xa2', 3000)}), '', 'characters that Unicode lacks do');
is(lost('win1252', q{E'\\x80\\x81\\x41'::text}), '', 'bytes without a character do');
is(lost('mule', q{E'a"\\x81\\xe9b\\n'::text}, q{E'["\\x81\\xe9"]'::json}), '', 'an encoding without a conversion does');
is(misjudged('latin1', q{E'\\xe9', 'e', E'\\xc9x'}, q{E'v = \\'\\xe9\\'', E'v LIKE \\'\\xc9%\\'', 'length(v) = 1', E'v IN (\\'\\xe9\\', \\'e\\')'}), '', 'conditions in LATIN1');

$node->stop;
unlike(slurp_file($node->logfile), qr/terminated by signal|PANIC/, 'nothing crashed');
done_testing();
