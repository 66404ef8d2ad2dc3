# Tracking and exposed channels survive pg_dump and pg_restore: whole, schema and data apart, by a superuser and by an
# ordinary role that owns the database.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('dump_restore');
$node->init(extra => ['--no-locale', '--encoding=UTF8']);
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'plank'");
$node->start;
$node->safe_psql('postgres', 'CREATE ROLE app LOGIN; CREATE ROLE web; CREATE ROLE gone; CREATE DATABASE shop OWNER app');
$node->safe_psql('shop', 'CREATE EXTENSION plank');

sub as_app
{
	my ($database, $sql) = @_;
	return $node->safe_psql($database, $sql, extra_params => ['-U', 'app']);
}

# The role that owns the database needs no help for any of this.
as_app('shop', <<'SQL');
CREATE SCHEMA shop;
SET search_path = shop;
CREATE FUNCTION is_cheap(numeric) RETURNS boolean IMMUTABLE RETURN $1 OPERATOR(pg_catalog.<) 10;
CREATE TABLE plain (id int PRIMARY KEY, name text);
CREATE TABLE fine ("the id" int PRIMARY KEY, "na,me""s" text, price numeric, secret text);
CREATE TABLE disabled (id int PRIMARY KEY);
CREATE TABLE parts (id int, day int, kind text, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (10);
CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM (10) TO (20) PARTITION BY RANGE (day);
CREATE TABLE parts_2a PARTITION OF parts_2 FOR VALUES FROM (10) TO (20);
CREATE TABLE parent (id int PRIMARY KEY, name text);
CREATE TABLE child (extra int) INHERITS (parent);
SELECT plank.track('plain');
SELECT plank.track('fine', '{insert,delete,update}', '{"na,me\"s"}', 'is_cheap(price) AND "na,me""s" <> ''it''''s''', 'fine "changes"');
SELECT plank.track('disabled');
ALTER TABLE disabled DISABLE TRIGGER plank_insert;
SELECT plank.track('parts', columns => '{kind}', filter => 'kind IS DISTINCT FROM ''noise''');
CREATE TABLE parts_3 PARTITION OF parts FOR VALUES FROM (20) TO (30);
ALTER TABLE parts_3 DISABLE TRIGGER plank_update;
SELECT plank.track('parent', '{insert}'), plank.track('child', '{delete}');
INSERT INTO plain SELECT i, 'name ' || i FROM generate_series(1, 100) i;
INSERT INTO fine VALUES (1, 'one', 1, 'x');
INSERT INTO parts SELECT i, i, 'x' FROM generate_series(0, 29) i;
SELECT plank.expose('open'), plank.expose('web "only"', 'web'), plank.expose('both', 'web'), plank.expose('both', 'app'),
	plank.expose('stale', 'gone');
SQL
$node->safe_psql('postgres', 'DROP ROLE gone');

# Everything a restored database must agree on.
sub state_of
{
	my ($database) = @_;
	return $node->safe_psql($database, <<'SQL');
SELECT * FROM plank.tracked ORDER BY relation::text;
SELECT tgrelid::regclass, tgname, tgenabled, tgparentid <> 0, pg_get_triggerdef(oid), (plank._arguments(tgargs)).*
FROM pg_trigger WHERE tgfoid = 'plank.capture()'::regprocedure ORDER BY tgrelid::regclass::text, tgname;
SQL
}
sub channels_of { return $node->safe_psql($_[0], 'SELECT channel, role FROM plank.channel ORDER BY 1, 2::text') }
sub rows_of { return $node->safe_psql($_[0], 'SELECT count(*) FROM shop.plain UNION ALL SELECT count(*) FROM shop.parts') }

my $state = state_of('shop');
like($state, qr/^shop\.fine\|\{insert,update,delete\}\|\{"the id","na,me\\"s"\}\|.*is_cheap.*\|fine "changes"\|\{"the id"\}\|t$/m,
	'what is to be restored is there');
like($state, qr/^shop\.disabled\|.*\|f$/m, 'a disabled trigger shows');
like($state, qr/^shop\.parts\|.*\|f$/m, 'one of a partition too');
my $channels = "both|app\nboth|web\nopen|\nweb \"only\"|web";

my $dump = $node->backup_dir . '/shop.dump';
mkdir $node->backup_dir;
$node->command_ok(['pg_dump', '-U', 'app', '-Fc', '-f', $dump, 'shop'], 'the owner of the database can dump it');
$node->command_ok(['pg_restore', '-l', $dump], 'the dump is readable');
my ($listing) = run_command(['pg_restore', '-f', '-', $dump]);
unlike($listing, qr/SCHEMA plank/, 'the extension\'s schema is left to the extension');
unlike($listing, qr/^stale\t/m, 'a channel exposed to a role that was dropped is not dumped');

sub new_database
{
	my ($name, $owner, $with_extension) = @_;
	$node->safe_psql('postgres', "CREATE DATABASE $name OWNER $owner");
	$node->safe_psql($name, 'CREATE EXTENSION plank') if $with_extension;
	return;
}
sub restore { my ($name, @options) = @_; $node->command_ok(['pg_restore', '--exit-on-error', @options, $dump], $name); return }

new_database('whole', 'postgres', 0);
restore('a superuser restores all of it', '-d', 'whole');
is(state_of('whole'), $state, 'tracking is back');
is(channels_of('whole'), $channels, 'channels are back');
is(rows_of('whole'), "100\n30", 'rows are back');

new_database('owned', 'app', 1);
restore('an ordinary owner restores all of it', '-U', 'app', '--no-comments', '-d', 'owned');
is(state_of('owned'), $state, 'tracking is back');
is(channels_of('owned'), $channels, 'channels are back');

new_database('apart', 'postgres', 0);
restore('the schema alone', '--schema-only', '-d', 'apart');
is(state_of('apart'), $state, 'tracking is back without rows');
is(channels_of('apart'), '', 'channels are data');
restore('the data later', '--data-only', '-d', 'apart');
is(channels_of('apart'), $channels, 'channels are back');
is(rows_of('apart'), "100\n30", 'rows are back');

new_database('quiet', 'postgres', 0);
restore('the schema alone', '--schema-only', '-d', 'quiet');
restore('the data with triggers disabled', '--data-only', '--disable-triggers', '-d', 'quiet');
is($node->safe_psql('quiet', 'SELECT bool_and(tgenabled <> \'D\') FROM pg_trigger WHERE tgrelid = \'shop.plain\'::regclass'),
	't', 'triggers are enabled again');
is(rows_of('quiet'), "100\n30", 'rows are back');

# What was restored can be changed and dropped like the original.
as_app('owned', <<'SQL');
INSERT INTO shop.plain VALUES (101, 'after');
SELECT plank.track('shop.plain', '{insert}');
SELECT plank.untrack('shop.parts');
SELECT plank.expose('later');
SQL
is($node->safe_psql('owned', q{SELECT string_agg(relation::text || events::text, ' ' ORDER BY relation::text) FROM plank.tracked}),
	'shop.child{delete} shop.disabled{insert,update,delete,truncate} shop.fine{insert,update,delete}'
	  . ' shop.parent{insert} shop.plain{insert}', 'and the owner goes on');

$node->stop;
done_testing();
